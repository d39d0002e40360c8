"""Is every engine a CandidateIndex? One suite over all that run without a server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from clustered_vectors import clustered, near
from framesift.candidates import (
    ArrayVectors,
    ByFrame,
    CandidateIndex,
    ExactCandidates,
    FaissCandidates,
    Quantizer,
)
from framesift.errors import InputError, ShapeError

ROWS, DIM = 4000, 48
RESCORED = 200
QUERIED = [3, 500, 1234, 3999]

Floats = NDArray[np.float32]


def exact(vectors: Floats) -> CandidateIndex:
    return ExactCandidates(ArrayVectors(vectors))


def by_codes(vectors: Floats) -> CandidateIndex:
    if len(vectors) < 16:
        return FaissCandidates(
            QUANTIZER, QUANTIZER.encode(vectors), np.arange(len(vectors)), ArrayVectors(vectors)
        )
    quantizer = Quantizer.train(vectors)
    rows = np.arange(len(vectors))
    return FaissCandidates(quantizer, quantizer.encode(vectors), rows, ArrayVectors(vectors), RESCORED)


def by_lists(vectors: Floats) -> CandidateIndex:
    quantizer = Quantizer.train(vectors, lists=100) if len(vectors) >= 100 else LISTED
    rows = np.arange(len(vectors))
    return FaissCandidates(quantizer, quantizer.encode(vectors), rows, ArrayVectors(vectors), RESCORED)


def partly_coded(vectors: Floats) -> CandidateIndex:
    """Every tenth row is new, and so are the last hundred."""
    rows = np.arange(len(vectors))
    rows = rows[(rows % 10 != 3) & (rows < len(vectors) - 100)]
    codes = QUANTIZER.encode(vectors[rows])
    return FaissCandidates(QUANTIZER, codes, rows, ArrayVectors(vectors), RESCORED)


def frames_of(vectors: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Rows of one to three frames whose best is the row's vector: the others are shorter."""
    owner = np.repeat(np.arange(len(vectors)), np.arange(len(vectors)) % 3 + 1)
    first = np.diff(owner, prepend=-1) > 0
    return np.where(first[:, None], vectors[owner], 0.25 * vectors[owner]), owner


def by_frame(vectors: Floats) -> CandidateIndex:
    frames, owner = frames_of(vectors)
    return ByFrame(exact(frames), owner)


def by_coded_frame(vectors: Floats) -> CandidateIndex:
    frames, owner = frames_of(vectors)
    return ByFrame(by_codes(frames), owner)


VECTORS = clustered(ROWS, DIM)
QUANTIZER = Quantizer.train(VECTORS)
LISTED = Quantizer.train(VECTORS, lists=100)
QUERIES = near(VECTORS, QUERIED)
EXACT = {"exact": exact, "frame": by_frame}
ENGINES: dict[str, Callable[[Floats], CandidateIndex]] = {
    **EXACT,
    "faiss": by_codes,
    "faiss, partly coded": partly_coded,
    "faiss, in lists": by_lists,
    "frame by faiss": by_coded_frame,
}
LEAST_RECALL = 0.99


@pytest.fixture(scope="module", params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def engine(name: str) -> CandidateIndex:
    return ENGINES[name](VECTORS)


def naive(query: Floats, depth: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
    """A loop over rows; equal scores in ascending row order."""
    scored = [
        (-float(np.dot(query.astype(np.float64), vector)), row)
        for row, vector in enumerate(VECTORS)
        if allowed is None or allowed[row]
    ]
    return [row for _, row in sorted(scored)[:depth]]


def recall(engine: CandidateIndex, depth: int, allowed: NDArray[np.bool_] | None = None) -> float:
    found = engine.search(QUERIES, depth, allowed=allowed).rows
    shares = [
        len(set(rows) & set(naive(query, depth, allowed))) / len(rows)
        for query, rows in zip(QUERIES, found.tolist(), strict=True)
    ]
    return float(np.mean(shares))


def test_it_finds_what_a_loop_over_all_rows_finds(engine: CandidateIndex, name: str) -> None:
    assert len(engine) == ROWS
    if name in EXACT:
        found = engine.search(QUERIES, 30).rows
        assert found.tolist() == [naive(query, 30) for query in QUERIES]
    assert recall(engine, 30) >= LEAST_RECALL
    assert recall(engine, 100) >= LEAST_RECALL


def test_rows_are_distinct_and_scores_are_their_dot_products(engine: CandidateIndex) -> None:
    found = engine.search(QUERIES, 40)
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float32
    assert found.rows.shape == found.scores.shape == (len(found), 40) == (len(QUERIES), 40)
    for query, rows, scores in zip(QUERIES, found.rows, found.scores, strict=True):
        assert len(set(rows.tolist())) == 40
        assert (np.diff(scores) <= 0).all()
        assert scores == pytest.approx(VECTORS[rows] @ query, abs=1e-5)


@pytest.mark.parametrize("share", [0.7, 0.3, 0.05])
def test_a_filter_acts_before_the_cut(engine: CandidateIndex, share: float) -> None:
    allowed = np.random.default_rng(2).random(ROWS) < share
    found = engine.search(QUERIES, 30, allowed=allowed)
    assert found.rows.shape == (len(QUERIES), 30)
    assert allowed[found.rows].all()
    assert recall(engine, 30, allowed) >= LEAST_RECALL


def test_a_filter_that_leaves_out_all_that_a_query_is_near_to_leaves_the_rest(engine: CandidateIndex) -> None:
    nearest = np.argsort(-(VECTORS @ QUERIES[0]))
    allowed = np.ones(ROWS, np.bool_)
    allowed[nearest[: ROWS // 3]] = False
    found = engine.search(QUERIES[:1], 20, allowed=allowed)
    assert found.rows.shape == (1, 20)
    assert allowed[found.rows].all()
    last = float(np.sort(VECTORS[allowed] @ QUERIES[0])[-20])
    assert found.scores[0, 0] >= last - 1e-6


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_few_allowed_rows_all_are_found(engine: CandidateIndex, count: int) -> None:
    allowed = np.zeros(ROWS, np.bool_)
    allowed[[17, 503, 3950][:count]] = True
    found = engine.search(QUERIES, 10, allowed=allowed)
    assert [sorted(rows) for rows in found.rows.tolist()] == [np.flatnonzero(allowed).tolist()] * len(QUERIES)


def test_more_than_all_is_all(engine: CandidateIndex) -> None:
    found = engine.search(QUERIES[:2], ROWS + 7)
    assert found.rows.shape == (2, ROWS)
    assert (np.sort(found.rows) == np.arange(ROWS)).all()


@pytest.mark.parametrize("depth", [ROWS // 5, ROWS - 1])
def test_a_depth_beyond_what_is_rescored_is_kept(engine: CandidateIndex, depth: int) -> None:
    assert engine.search(QUERIES[:1], depth).rows.shape == (1, depth)
    assert recall(engine, depth) >= LEAST_RECALL


def test_a_query_does_not_see_the_others(engine: CandidateIndex) -> None:
    many = np.concatenate([QUERIES, near(VECTORS, list(range(0, ROWS, 400)), seed=5)])
    together = engine.search(many, 25)
    for query, rows in zip(many, together.rows, strict=True):
        assert engine.search(query[None], 25).rows[0].tolist() == rows.tolist()


def test_eight_threads_find_what_one_finds(engine: CandidateIndex) -> None:
    queries = near(VECTORS, list(range(0, ROWS, 100)))
    masks = [None, np.arange(ROWS) % 2 == 0]

    def ask(number: int) -> list[int]:
        allowed = masks[number % 2]
        return engine.search(queries[number % len(queries)][None], 20, allowed=allowed).rows[0].tolist()

    alone = [ask(number) for number in range(80)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(80))) == alone


def test_no_query_is_no_answer(engine: CandidateIndex) -> None:
    assert engine.search(QUERIES[:0], 5).rows.shape == (0, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_query_that_would_match_anything_is_refused(engine: CandidateIndex, value: float) -> None:
    queries = QUERIES.copy()
    queries[2] = value
    with pytest.raises(InputError, match="query 2 is zero or not finite"):
        engine.search(queries, 5)


def test_arguments_that_do_not_fit_are_refused(engine: CandidateIndex) -> None:
    with pytest.raises(InputError, match="depth is 0"):
        engine.search(QUERIES, 0)
    with pytest.raises(ShapeError, match="queries"):
        engine.search(QUERIES[:, :-1], 5)
    with pytest.raises(ShapeError, match="queries"):
        engine.search(QUERIES[0], 5)
    with pytest.raises(ShapeError, match="allowed"):
        engine.search(QUERIES, 5, allowed=np.ones(ROWS - 1, np.bool_))
    with pytest.raises(InputError, match="boolean"):
        engine.search(QUERIES, 5, allowed=np.ones(ROWS, np.int64))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in ENGINES if "partly" not in name])
def test_an_empty_gallery_has_nothing_to_propose(name: str) -> None:
    empty = ENGINES[name](VECTORS[:0])
    assert len(empty) == 0
    assert empty.search(QUERIES, 5).rows.shape == (len(QUERIES), 0)
    assert empty.search(QUERIES, 5, allowed=np.zeros(0, np.bool_)).rows.shape == (len(QUERIES), 0)


def test_it_says_what_it_is(engine: CandidateIndex) -> None:
    assert f"{ROWS} rows" in repr(engine)
