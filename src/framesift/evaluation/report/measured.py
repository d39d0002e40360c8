"""Evaluation results as rows that can be compared: which systems, on exactly which queries, with which scores.

Three forms of files are read: ``slices`` (several splits, each with systems), ``evaluation`` (one split), and what has
no ``kind`` but matchers (the first Storyboard results). ``docs/results.md`` describes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, TypeAlias, cast

from .numbers import as_number

__all__ = [
    "METRICS",
    "Difference",
    "Group",
    "Metric",
    "Score",
    "System",
    "groups_of",
    "same_queries",
    "scores_of",
]

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of a table of results.

    Attributes:
        key: as in result files, without the direction.
        aliases: other keys for the same.
    """

    key: str
    label: str
    higher_is_better: bool = True
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Everything it is called in result files."""
        return (self.key, self.label, *self.aliases)


METRICS = (
    Metric(key="r1", label="R@1"),
    Metric(key="r5", label="R@5"),
    Metric(key="r10", label="R@10"),
    Metric(key="mdr", label="MdR", higher_is_better=False, aliases=("median_rank",)),
    Metric(key="mnr", label="MnR", higher_is_better=False, aliases=("mean_rank",)),
    Metric(key="pair", label="pair accuracy", aliases=("pair_accuracy",)),
)
DIRECTIONS = ("t2v", "v2t")


@dataclass(frozen=True, kw_only=True)
class Score:
    """A value with its 95 % interval and its standard deviation over seeds, where they are known."""

    value: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None


@dataclass(frozen=True, kw_only=True)
class System:
    """What one system reached.

    Attributes:
        result: name of the file.
        scores: by ``t2v_r1``, ``v2t_mdr`` and so on: direction and :class:`Metric`.
        beside: label of a normalization -> where its other queries come from, and the scores with it.
        others: means of what is no :class:`Metric`, such as recall of moments, by the file's own keys.
    """

    name: str
    result: str
    scores: Mapping[str, Score]
    beside: Mapping[str, tuple[str, Mapping[str, Score]]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    others: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired comparison of two systems on the same queries: how much higher the value of the second is."""

    first: str
    second: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval leaves out zero; without one, whether p is below 0.05."""
        if self.low is not None and self.high is not None:
            return self.low > 0 or self.high < 0
        return self.p is not None and self.p < 0.05


@dataclass(frozen=True, kw_only=True)
class Group:
    """Systems measured on the same queries and gallery; the only ones that one table may hold.

    Attributes:
        split: what the file says of its data.
        content_hash: None where the file names none: then the group is comparable with no other.
    """

    name: str
    systems: tuple[System, ...]
    split: Json = field(default_factory=dict)
    content_hash: str | None = None
    differences: tuple[Difference, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether accuracies of choosing one of two are among the scores."""
        return any("t2v_pair" in system.scores for system in self.systems)


def groups_of(result: str, document: Json) -> list[Group]:
    """The groups of one file, in its order; empty where the file holds no systems with metrics."""
    slices = document.get("slices")
    if isinstance(slices, Mapping):
        held = [(str(name), part) for name, part in cast("Json", slices).items() if isinstance(part, Mapping)]
        return [
            group for name, part in held if (group := _group(result, name, cast("Json", part))) is not None
        ]
    name = str(document.get("slice") or _split_name(_mapping(document.get("split"))) or result)
    group = _group(result, name, document)
    return [] if group is None else [group]


def same_queries(groups: Iterable[Group]) -> list[Group]:
    """Groups of the same content hash as one; the others as they are, in the order of the first of each."""
    found: dict[object, Group] = {}
    for number, group in enumerate(groups):
        key: object = number if group.content_hash is None else group.content_hash
        if key not in found:
            found[key] = group
            continue
        one = found[key]
        found[key] = replace(
            one,
            systems=(*one.systems, *group.systems),
            differences=(*one.differences, *group.differences),
            results=tuple(dict.fromkeys((*one.results, *group.results))),
        )
    return list(found.values())


def _group(result: str, name: str, part: Json) -> Group | None:
    systems = part.get("systems") or part.get("matchers")
    if not isinstance(systems, Mapping):
        if not isinstance(part.get("t2v"), Mapping):
            return None
        systems = {str(part.get("system") or part.get("model") or result): part}
    rows = [
        row
        for label, held in cast("Json", systems).items()
        if isinstance(held, Mapping) and (row := _system(result, str(label), cast("Json", held))) is not None
    ]
    if not rows:
        return None
    split = _mapping(part.get("split")) or {
        key: part[key] for key in ("videos", "captions", "texts_with_several_answers") if key in part
    }
    stated = split.get("content_hash") or part.get("content_hash")
    return Group(
        name=name,
        systems=tuple(rows),
        split=split,
        content_hash=None if stated is None else str(stated),
        differences=tuple(_differences(part.get("differences"))),
        results=(result,),
    )


def _system(result: str, name: str, held: Json) -> System | None:
    seeds = [cast("Json", seed) for seed in _sequence(held.get("seeds")) if isinstance(seed, Mapping)]
    scores = _over_seeds([scores_of(seed) for seed in seeds]) if seeds else scores_of(held)
    scores = {**scores, **_flat(_mapping(held.get("mean")))}
    for part in ("sd", "low", "high"):
        for key, score in _flat(_mapping(held.get(part))).items():
            if key in scores:
                scores[key] = replace(scores[key], **{part: score.value})
    beside = _beside(seeds or [held])
    if not scores and not beside:
        return None
    numbers = tuple(int(number) for seed in seeds if (number := as_number(seed.get("seed"))) is not None)
    others = _others(held, known=scores)
    return System(name=name, result=result, scores=scores, beside=beside, seeds=numbers, others=others)


def _others(held: Json, *, known: Mapping[str, Score]) -> dict[str, Score]:
    ends = {part: _mapping(held.get(part)) for part in ("sd", "low", "high")}
    return {
        key: Score(value=value, **{part: as_number(values.get(key)) for part, values in ends.items()})
        for key, named in _mapping(held.get("mean")).items()
        if key not in known and not _flat({key: named}) and (value := as_number(named)) is not None
    }


def scores_of(held: Json) -> dict[str, Score]:
    """Scores of an evaluation (``t2v``, ``v2t`` as in :meth:`.Metrics.to_dict`) or of flat keys (``t2v_r1``)."""
    found = _flat(held)
    for direction in DIRECTIONS:
        metrics = _mapping(held.get(direction))
        recall = _mapping(metrics.get("recall_at"))
        values = {f"r{k}": value for k, value in recall.items()} | dict(metrics)
        for metric in METRICS:
            named = next((values[name] for name in metric.names if name in values), None)
            if (score := _score(named)) is not None:
                low, high = _interval(metrics, metric, direction, held)
                known = score if low is None else replace(score, low=low, high=high)
                found[f"{direction}_{metric.key}"] = known
        pair = _score(_mapping(held.get("pair_accuracy")).get(direction))
        if pair is not None:
            found[f"{direction}_pair"] = pair
    return found


def _score(value: Any) -> Score | None:
    """A number; or a mapping with ``mean`` or ``value``, and perhaps ``sd``, ``low``, ``high``."""
    held = _mapping(value)
    number = as_number(held.get("mean", held.get("value")) if held else value)
    if number is None:
        return None
    return Score(
        value=number,
        low=as_number(held.get("low")),
        high=as_number(held.get("high")),
        sd=as_number(held.get("sd")),
    )


def _interval(metrics: Json, metric: Metric, direction: str, held: Json) -> tuple[float | None, float | None]:
    intervals = _mapping(held.get("intervals"))
    places = (_mapping(metrics.get("intervals")), _mapping(intervals.get(direction)))
    for name in metric.names:
        stated = metrics.get(f"{name}_interval") or intervals.get(f"{direction}_{name}")
        stated = stated or next((place[name] for place in places if name in place), None)
        ends = [as_number(end) for end in _sequence(stated)]
        if len(ends) == 2:
            return ends[0], ends[1]
    return None, None


def _flat(held: Json) -> dict[str, Score]:
    found: dict[str, Score] = {}
    for key, value in held.items():
        number = as_number(value)
        matched = re.fullmatch(r"(?:(pair_accuracy)_)?(t2v|v2t)(?:_(\w+))?", str(key))
        if number is None or matched is None:
            continue
        named = matched[1] or matched[3]
        for metric in METRICS:
            if named in metric.names:
                found[f"{matched[2]}_{metric.key}"] = Score(value=number)
    return found


def _over_seeds(seeds: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    found: dict[str, Score] = {}
    for key in dict.fromkeys(key for seed in seeds for key in seed):
        scores = [seed[key] for seed in seeds if key in seed]
        values = [score.value for score in scores]
        if len(scores) == 1:
            found[key] = scores[0]
        else:
            found[key] = Score(value=fmean(values), sd=stdev(values))
    return found


def _beside(held: Sequence[Json]) -> dict[str, tuple[str, Mapping[str, Score]]]:
    found: dict[str, tuple[str, Mapping[str, Score]]] = {}
    parts = [_mapping(one.get("beside")) for one in held]
    for label in dict.fromkeys(label for part in parts for label in part):
        given = [_mapping(part.get(label)) for part in parts if label in part]
        source = next((str(one["source"]) for one in given if one.get("source")), "")
        found[str(label)] = (source, _over_seeds([scores_of(one) for one in given]))
    return found


def _differences(held: Any) -> Iterable[Difference]:
    for one in _sequence(held):
        if not isinstance(one, Mapping):
            continue
        given = cast("Json", one)
        value = as_number(given.get("value", given.get("difference")))
        first, second = given.get("a", given.get("first")), given.get("b", given.get("second"))
        if value is not None and first is not None and second is not None:
            yield Difference(
                first=str(first),
                second=str(second),
                metric=str(given.get("metric", "t2v_r1")),
                value=value,
                low=as_number(given.get("low")),
                high=as_number(given.get("high")),
                p=as_number(given.get("p")),
            )


def _split_name(split: Json) -> str:
    return " ".join(str(split[key]) for key in ("benchmark", "split") if split.get(key))


def _mapping(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
