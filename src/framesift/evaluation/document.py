"""The JSON document of an evaluation, and the comparison of two: metrics, intervals, and the rank of every query."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..data.compare import require_same
from ..errors import InputError
from .evaluate import Answers, Evaluation
from .significance import Difference, metric_intervals, paired_differences

__all__ = ["KEYS", "compare", "compare_ranks", "document", "read_document"]

Direction = Literal["t2v", "v2t"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

KEYS = {"MdR": "median_rank", "MnR": "mean_rank"}
"""Names of metrics in a document, where they are not ``r1``, ``r5`` and so on."""


def document(
    done: Evaluation,
    *,
    system: str,
    split: Mapping[str, Any],
    notes: Sequence[str] = (),
    seed: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Everything that a result file says of an evaluation.

    Args:
        system: what was measured.
        split: what it was measured on (:meth:`.Split.to_dict`).
        notes: what a reader must know; the report shows them as warnings.
        seed: of the bootstrap.
        more: further keys of the document.
    """
    plain = done.to_dict()
    for way in DIRECTIONS:
        plain[way] |= _surroundings(done.answers[way], seed=seed)
        for label, other in done.beside.items():
            plain["beside"][label][way] |= _surroundings(other.answers[way], seed=seed)
    videos = done.answers["t2v"].video
    ranks: dict[str, Any] = {way: _packed(done.answers[way].rank) for way in DIRECTIONS}
    ranks |= {"ties": "pessimistic", "t2v_video": None if videos is None else _packed(videos)}
    return {
        "kind": "evaluation",
        "title": f"{system} on {split.get('benchmark')} {split.get('split', '')}".rstrip(),
        "system": system,
        "split": dict(split),
        **plain,
        "warnings": list(notes),
        "leak_check": None if done.leaks is None else done.leaks.to_dict(),
        **more,
        "ranks": ranks,
    }


def _surroundings(answers: Answers, *, seed: int) -> dict[str, Any]:
    clusters = answers.query if answers.video is None else answers.video[answers.query]
    alone = answers.video is None and len(answers.entry) == len(answers.rank)
    intervals = metric_intervals(answers.entry, clusters=None if alone else clusters, seed=seed)
    return {
        "intervals": {_key(name): list(ends) for name, ends in intervals.items()},
        "tied_queries": answers.tied,
    }


def _key(name: str) -> str:
    return KEYS.get(name, name.replace("R@", "r"))


def _packed(numbers: np.ndarray) -> str:
    """Whole numbers as one string: a line of the file, not one line each."""
    return " ".join(map(str, numbers.tolist()))


def read_document(path: str | Path) -> dict[str, Any]:
    """A result file that holds the rank of every query.

    Raises:
        InputError: it cannot be read, or holds no ranks.
    """
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON: {error}") from None
    if not isinstance(held, dict) or not isinstance(held.get("split"), dict):
        raise InputError(f"{str(path)!r} is no result of an evaluation: it does not say its split")
    return held


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[Direction, dict[str, Difference]]:
    """How the metrics of two results differ, second minus first, by direction and name.

    Args:
        first, second: result documents of the same split.

    Raises:
        DatasetError: their splits have different hashes, or none.
        InputError: one holds no ranks, or their ranks are of other queries.
    """
    require_same(first["split"], second["split"])
    return compare_ranks(first, second)


def compare_ranks(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[Direction, dict[str, Difference]]:
    """The same of two results whose splits the caller knows to be one.

    Raises:
        InputError: one holds no ranks, or their ranks are of other queries.
    """
    found: dict[Direction, dict[str, Difference]] = {}
    for way in DIRECTIONS:
        a, b = _ranks(first, way), _ranks(second, way)
        if len(a) != len(b):
            raise InputError(
                f"{way}: the results rank {len(a)} and {len(b)} queries; they are not of one split"
            )
        clusters = _unpacked(first["ranks"].get("t2v_video")) if way == "t2v" else None
        found[way] = paired_differences(a, b, clusters=clusters)
    return found


def _ranks(result: Mapping[str, Any], way: str) -> np.ndarray:
    ranks = result.get("ranks")
    found = _unpacked(ranks.get(way)) if isinstance(ranks, Mapping) else None
    if found is None or not len(found):
        raise InputError(
            f"the result of {result.get('system', 'a system')} does not hold the rank of every query; evaluate it again"
            " with framesift evaluate --output FILE"
        )
    return found


def _unpacked(numbers: Any) -> np.ndarray | None:
    if not isinstance(numbers, str):
        return None
    try:
        return np.array([int(number) for number in numbers.split()], dtype=np.int64)
    except ValueError:
        raise InputError(f"the ranks of a result hold {numbers[:20]!r}; expected whole numbers") from None
