"""Codes under filters: what exact scoring finds is found whatever rows are allowed, also those least like the query,
where hundreds of scores lie within the error of one code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from clustered_vectors import clustered, near
from framesift.candidates import ArrayVectors, ExactCandidates, FaissCandidates, Quantizer

VECTORS = clustered(12_000, 48)
ROWS = np.arange(len(VECTORS))
LISTED = Quantizer.train(VECTORS, lists=200)
PLAIN = Quantizer(mean=LISTED.mean, rotation=LISTED.rotation, centroids=LISTED.centroids)
CODES = {"all codes": PLAIN.encode(VECTORS), "lists": LISTED.encode(VECTORS)}
QUANTIZERS = {"all codes": PLAIN, "lists": LISTED}
EXACT = ExactCandidates(ArrayVectors(VECTORS))
QUERIES = near(VECTORS, list(range(0, 12_000, 800)))
RESCORED, DEPTH = 24, 6  # few, so that a scan in doubt ends before it has all rows that matter


class Counted(ArrayVectors):
    """Counts the rows that are read."""

    taken = in_order = 0

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.taken += len(rows)
        return super().take(rows)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        self.in_order += len(self)
        return super().blocks()


@pytest.fixture(params=CODES)
def engine(request: pytest.FixtureRequest) -> tuple[FaissCandidates, Counted]:
    vectors = Counted(VECTORS)
    kind = request.param
    return FaissCandidates(QUANTIZERS[kind], CODES[kind], ROWS, vectors, RESCORED), vectors


def recall(index: FaissCandidates, query: NDArray[np.float32], allowed: NDArray[np.bool_]) -> float:
    depth = min(DEPTH, int(allowed.sum()))
    found = index.search(query[None], DEPTH, allowed=allowed).rows
    assert found.shape == (1, depth)
    assert allowed[found].all()
    return float(np.isin(EXACT.search(query[None], DEPTH, allowed=allowed).rows, found).mean())


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_rows_least_like_the_query_are_found_as_surely(
    engine: tuple[FaissCandidates, Counted], share: float
) -> None:
    index, vectors = engine
    shares: list[float] = []
    for query in QUERIES:
        scores = VECTORS @ query
        shares.append(recall(index, query, scores <= np.quantile(scores, share)))
    assert np.mean(shares) >= 0.98
    # Bounded by what exact search reads, and an eighth of all rows before it is known that this is less work.
    assert vectors.taken <= len(QUERIES) * len(VECTORS) / 8
    assert vectors.in_order <= len(QUERIES) * len(VECTORS)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_random_rows_are_found_with_as_little_work_as_without_a_filter(
    engine: tuple[FaissCandidates, Counted], share: float
) -> None:
    index, vectors = engine
    allowed = np.random.default_rng(1).random(len(ROWS)) < share
    assert np.mean([recall(index, query, allowed) for query in QUERIES]) >= 0.98
    assert vectors.in_order == 0
    assert vectors.taken <= len(QUERIES) * 8 * RESCORED


def test_rows_of_another_topic_are_found(engine: tuple[FaissCandidates, Counted]) -> None:
    index, _ = engine
    shares: list[float] = []
    for query in QUERIES:
        topic = VECTORS @ VECTORS[int((VECTORS @ query).argmin())]
        shares.append(recall(index, query, topic >= np.quantile(topic, 0.9)))
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_one_video_is_scored_exactly_and_none_gives_nothing(
    engine: tuple[FaissCandidates, Counted], count: int
) -> None:
    index, vectors = engine
    allowed = np.isin(ROWS, 5000 + np.arange(count))
    found = index.search(QUERIES, DEPTH, allowed=allowed)
    expected = EXACT.search(QUERIES, DEPTH, allowed=allowed)
    assert found.rows.shape == (len(QUERIES), min(DEPTH, count))
    assert (found.rows == expected.rows).all()
    assert vectors.taken == count
    assert vectors.in_order == 0


def test_without_a_filter_all_vectors_are_never_read(engine: tuple[FaissCandidates, Counted]) -> None:
    """However dense the scores are: a query beside all rows, or a gallery of near copies."""
    index, vectors = engine
    rng = np.random.default_rng(2)
    index.search(rng.standard_normal((10, VECTORS.shape[1]), dtype=np.float32), DEPTH)
    assert vectors.in_order == 0
    assert vectors.taken <= 10 * 8 * RESCORED
