"""Does a score depend on anything but its own text and its own video?

A published evaluation of this field pooled every video with its own caption before comparing it with the other
texts: on noise that finds the right video far more often than chance. Such a leak, and every other one that comes from
the company in which a pair is scored, moves scores when the company changes. So a sample of pairs is scored again in
other orders, among fewer texts and videos, and alone; no score may move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import FramesiftError, InputError, ShapeError
from ..features import TextFeatures, VideoFeatures

__all__ = ["Check", "LeakReport", "Scoring", "compare_permuted", "find_leaks", "suspicious"]

Scoring: TypeAlias = Callable[[TextFeatures, VideoFeatures], Tensor]
"""Texts and videos -> similarity ``[text, video]``: a matcher, or anybody's function."""

SAMPLE = 8  # texts and videos: 64 pairs tell every kind of company apart, and cost nothing
ALONE = 6  # pairs that are scored alone
ROUNDING = 1e-4  # of the largest score: float32 in another order of summation moves a hundredth of that
ROUNDING_STEPS = 8  # the same for shorter types, in steps of the type
SAME_SUM = 1e-3  # a softmax over texts or videos sums to 1 this closely in float16


@dataclass(frozen=True, kw_only=True)
class Check:
    """One way to change the company of a pair.

    Attributes:
        name: what was changed.
        pairs: how many pairs were scored again.
        moved: how many of them got another score.
        largest: by how much at most.
        example: the pair that moved most, as text and video, with both scores.
        error: why it could not be scored at all, or "".
    """

    name: str
    pairs: int
    moved: int = 0
    largest: float = 0.0
    example: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Nothing moved."""
        return not self.moved and not self.error

    def __str__(self) -> str:
        if self.error:
            return f"{self.name}: scoring failed: {self.error}"
        if not self.moved:
            return f"{self.name}: none of {self.pairs:,} pairs moved"
        moved = f"{self.name}: {self.moved:,} of {self.pairs:,} pairs moved"
        return f"{moved}, by up to {self.largest:.3g} ({self.example})"


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """What moved when pairs were scored in other company.

    Attributes:
        checks: one for every change of company.
        tolerance: the move of a score that counts as rounding.
    """

    checks: tuple[Check, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """No score moved."""
        return all(check.ok for check in self.checks)

    @property
    def lines(self) -> tuple[str, ...]:
        """A sentence for every check."""
        return tuple(str(check) for check in self.checks)

    def refuse(self) -> None:
        """Raise InputError if a score moved."""
        if not self.ok:
            found = "; ".join(str(check) for check in self.checks if not check.ok)
            raise InputError(
                f"the scores leak: a score must depend on its own text and its own video only, but {found}. Score pairs"
                " independently (in evaluation mode, without dropout), and report what needs other queries as a"
                " normalization beside the plain numbers"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ok": self.ok,
            "tolerance": self.tolerance,
            "checks": [asdict(check) for check in self.checks],
        }

    def __str__(self) -> str:
        return "\n".join(self.lines)


@torch.no_grad()
def find_leaks(
    scores: Scoring,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    relevance: Bool[Tensor, "text video"] | Bool[np.ndarray, "text video"] | None = None,
    similarity: Tensor | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> LeakReport:
    """Score a sample of pairs in other company, and report which scores move.

    Args:
        scores: in evaluation mode.
        relevance: which videos answer which texts, so that the sample holds true pairs; default: text i, video i.
        similarity: the finished matrix, if there is one: the sample must score as it does there.
        sample: texts and videos taken.
        seed: of the choice of the sample and of the orders.

    Raises:
        InputError: there is no text or no video, or the sample is smaller than 2.
        ShapeError: what ``scores`` gives for the sample is not ``[text, video]``.
    """
    if sample < 2 or not len(text) or not len(video):
        raise InputError(
            f"a leak check needs texts, videos and a sample of at least 2; got {len(text)} texts, {len(video)} videos"
            f" and sample={sample}"
        )
    generator = np.random.default_rng(seed)
    rows, columns = _sample(len(text), len(video), relevance, sample, generator)
    text_part, video_part = text[rows.tolist()], video[columns.tolist()]
    base = scores(text_part, video_part).double().cpu()
    expected = (len(rows), len(columns))
    if tuple(base.shape) != expected:
        raise ShapeError("scores", expected=f"{list(expected)}, [text, video]", got=list(base.shape))
    tolerance = _tolerance(base, text.sentence.dtype)
    n, m = expected
    every_row, every_column = np.arange(n), np.arange(m)
    fewer_rows, fewer_columns = every_row[: max(1, n // 2)], every_column[: max(1, m // 2)]
    companies: list[tuple[str, np.ndarray, np.ndarray]] = [
        ("scored twice", every_row, every_column),
        ("texts in another order", _derangement(n, generator), every_column),
        ("fewer texts", fewer_rows, every_column),
        ("videos in another order", every_row, _derangement(m, generator)),
        ("fewer videos", every_row, fewer_columns),
    ]
    checks = [
        _compare(
            name, base[r][:, c], _attempt(scores, text_part, video_part, r, c), rows[r], columns[c], tolerance
        )
        for name, r, c in companies
    ]
    checks.append(_alone(scores, text_part, video_part, base, rows, columns, tolerance, generator))
    if similarity is not None:
        full = similarity[rows.tolist()][:, columns.tolist()].double().cpu()
        checks.append(
            _compare("in the company of all texts and videos", base, full, rows, columns, tolerance)
        )
    return LeakReport(checks=tuple(checks), tolerance=tolerance)


def compare_permuted(
    similarity: Tensor,
    permuted: Tensor,
    permutation: Sequence[int] | np.ndarray,
    *,
    tolerance: float | None = None,
) -> LeakReport:
    """The same test for a system that only its owner can run: the matrix made again with its texts in another order.

    Args:
        similarity: ``[text, video]``.
        permuted: row i is for text ``permutation[i]``; texts may be left out.
        tolerance: the move of a score that counts as rounding; default: a ten-thousandth of the largest score.

    Raises:
        InputError: the permutation names a text that is not there, or one twice, or leaves all in their places.
        ShapeError: the matrices do not fit.
    """
    rows = np.asarray(permutation)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise ShapeError(
            "permutation", expected="one row of whole numbers", got=f"{rows.dtype} {list(rows.shape)}"
        )
    if tuple(permuted.shape) != (len(rows), similarity.shape[1]):
        raise ShapeError(
            "permuted matrix", expected=[len(rows), similarity.shape[1]], got=list(permuted.shape)
        )
    wrong = (rows < 0) | (rows >= len(similarity))
    if wrong.any():
        raise InputError(
            f"the permutation names text {rows[wrong][0]}; there are texts 0 to {len(similarity) - 1}"
        )
    if len(np.unique(rows)) != len(rows):
        raise InputError("the permutation names a text twice; every text may come once")
    if np.array_equal(rows, np.arange(len(rows))) and len(rows) == len(similarity):
        raise InputError(
            "the permutation leaves every text in its place, which proves nothing; shuffle the texts"
        )
    before, after = similarity[rows.tolist()].double(), permuted.double()
    allowed = _tolerance(similarity.double(), torch.float32) if tolerance is None else tolerance
    columns = np.arange(similarity.shape[1])
    check = _compare("texts in another order, by their owner", before, after, rows, columns, allowed)
    return LeakReport(checks=(check,), tolerance=allowed)


def suspicious(similarity: Tensor, *, texts: Sequence[str] | None = None) -> tuple[str, ...]:
    """Signs, in a finished matrix alone, that scores depend on other queries; no sign proves nothing.

    A matrix made by the leak that this module speaks of looks like any good matrix: only scoring again tells
    (:func:`find_leaks`, :func:`compare_permuted`).

    Args:
        texts: the sentences of the rows: equal ones must have equal rows.

    Raises:
        ShapeError: there are not as many sentences as rows.
    """
    signs: list[str] = []
    x = similarity.double()
    tolerance = _tolerance(x, torch.float32)
    if texts is not None:
        if len(texts) != len(x):
            raise ShapeError("texts", expected=f"{len(x)} sentences", got=len(texts))
        signs += _unequal_twins(x, texts, tolerance)
    for what, sums, count in (("texts", x.sum(dim=0), len(x)), ("videos", x.sum(dim=1), x.shape[1])):
        if count > 1 and bool((x >= 0).all()) and bool(((sums - 1).abs() < SAME_SUM).all()):
            signs.append(f"scores sum to 1 over the {what}: this looks like a softmax over all {what}")
        elif count > 1 and float(x.std()) > 0 and bool((sums.abs() / count < 1e-6 * x.std()).all()):
            signs.append(
                f"scores have mean 0 over the {what}: this looks like a matrix centred over all {what}"
            )
    return tuple(signs)


def _unequal_twins(x: Tensor, texts: Sequence[str], tolerance: float) -> list[str]:
    """One sentence for all pairs of rows that should be equal and are not."""
    first: dict[str, int] = {}
    twins = [(first.setdefault(text, row), row) for row, text in enumerate(texts)]
    twins = [(a, b) for a, b in twins if a != b]
    moved = [(float((x[a] - x[b]).abs().max()), a, b) for a, b in twins]
    moved = [entry for entry in moved if not entry[0] <= tolerance]
    if not moved:
        return []
    largest, a, b = max(moved)
    sign = (
        f"{len(moved)} of {len(twins)} repeated sentences have rows of their own, so a score depends on more than its"
        f" text (rows {a} and {b} differ by up to {largest:.3g})"
    )
    return [sign]


def _sample(
    texts: int, videos: int, relevance: Any, sample: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of texts and columns of videos, where it can be with the true pairs in the same places."""
    rows = generator.choice(texts, size=min(sample, texts), replace=False)
    if relevance is None:
        if texts == videos:
            return rows, rows
        return rows, generator.choice(videos, size=min(sample, videos), replace=False)
    relevant = torch.as_tensor(relevance)[rows.tolist()]
    answers = relevant.int().argmax(dim=1).tolist()
    chosen: dict[int, int] = {}
    for row, answer in zip(rows.tolist(), answers, strict=True):
        chosen.setdefault(answer, row)  # captions of one video: the first of them
    if len(chosen) < 2 <= min(texts, videos):
        return rows, generator.choice(videos, size=min(sample, videos), replace=False)
    return np.array(list(chosen.values())), np.array(list(chosen))


def _derangement(count: int, generator: np.random.Generator) -> np.ndarray:
    """An order in which nothing keeps its place (of one, the only order)."""
    order = generator.permutation(count)
    result = np.empty(count, dtype=np.int64)
    result[order] = np.roll(order, 1)
    return result


def _tolerance(base: Tensor, dtype: torch.dtype) -> float:
    finite = base[base.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 1.0
    return max(ROUNDING, ROUNDING_STEPS * torch.finfo(dtype).eps) * largest


def _attempt(
    scores: Scoring, text: TextFeatures, video: VideoFeatures, rows: np.ndarray, columns: np.ndarray
) -> Tensor | str:
    """The scores, or why there are none: a function that needs as many texts as videos fails in its own way."""
    try:
        found = scores(text[rows.tolist()], video[columns.tolist()]).double().cpu()
    except FramesiftError as error:
        return str(error)
    except Exception as error:  # anybody's function
        return f"{type(error).__name__}: {error}"
    if tuple(found.shape) != (len(rows), len(columns)):
        return f"{len(rows)} texts and {len(columns)} videos gave scores of shape {list(found.shape)}"
    return found


def _compare(
    name: str, before: Tensor, after: Tensor | str, rows: np.ndarray, columns: np.ndarray, tolerance: float
) -> Check:
    if isinstance(after, str):
        return Check(name=name, pairs=before.numel(), error=after)
    change = (after - before).abs()
    change = change.masked_fill(before == after, 0.0)  # equal infinities
    change = change.masked_fill(before.isnan() & after.isnan(), 0.0).nan_to_num(nan=torch.inf)
    moved = change > tolerance
    if not bool(moved.any()):
        largest = float(change.max()) if change.numel() else 0.0
        return Check(name=name, pairs=before.numel(), largest=largest)
    t, v = divmod(int(change.argmax()), change.shape[1])
    example = (
        f"text {rows[t]} and video {columns[v]}: {float(before[t, v]):.4g}, then {float(after[t, v]):.4g}"
    )
    return Check(
        name=name, pairs=before.numel(), moved=int(moved.sum()), largest=float(change.max()), example=example
    )


def _alone(
    scores: Scoring,
    text: TextFeatures,
    video: VideoFeatures,
    base: Tensor,
    rows: np.ndarray,
    columns: np.ndarray,
    tolerance: float,
    generator: np.random.Generator,
) -> Check:
    """Pairs scored by themselves: true ones (which stand on the diagonal) and others."""
    name = "a pair alone"
    places = [(i, i) for i in range(min(ALONE // 2, *base.shape))]
    places += [
        (int(generator.integers(len(rows))), int(generator.integers(len(columns))))
        for _ in range(ALONE - len(places))
    ]
    worst = Check(name=name, pairs=len(places))
    moved = 0
    for t, v in places:
        row, column = np.array([t]), np.array([v])
        found = _attempt(scores, text, video, row, column)
        check = _compare(name, base[t : t + 1, v : v + 1], found, rows[row], columns[column], tolerance)
        if check.error:
            return Check(name=name, pairs=len(places), error=check.error)
        moved += check.moved
        if check.largest >= worst.largest:
            worst = check
    return Check(name=name, pairs=len(places), moved=moved, largest=worst.largest, example=worst.example)
