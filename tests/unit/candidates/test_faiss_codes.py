"""The scan over codes: the order of bytes that faiss expects, rows without codes, promises kept."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from clustered_vectors import clustered, near
from framesift.candidates import ArrayVectors, ExactCandidates, FaissCandidates, Quantizer
from framesift.candidates.inverted import packed
from framesift.errors import InputError, ShapeError

VECTORS = clustered(3000, 48)
QUANTIZER = Quantizer.train(VECTORS)
CODES = QUANTIZER.encode(VECTORS)
ROWS = np.arange(len(VECTORS))


def engine(rows: np.ndarray = ROWS, vectors: np.ndarray = VECTORS, rescored: int = 100) -> FaissCandidates:
    return FaissCandidates(QUANTIZER, CODES[rows], rows, ArrayVectors(vectors), rescored)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 64, 5000])
@pytest.mark.parametrize("dim", [20, 64, 48])
def test_codes_are_packed_as_faiss_packs_them(rows: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    index = faiss.IndexPQFastScan(dim, dim // 2, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(rng.standard_normal((1000, dim), dtype=np.float32))
    vectors = rng.standard_normal((rows, dim), dtype=np.float32)
    index.add(vectors)
    theirs = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
    ours = packed(index.pq.compute_codes(vectors)).reshape(-1)
    # faiss may reserve more than it fills
    assert (theirs[: len(ours)] == ours).all()
    assert not theirs[len(ours) :].any()


def test_every_coded_row_can_be_found() -> None:
    """Each by its own vector: a row that was packed at a wrong place would not be."""
    found = engine().search(VECTORS, 1)
    assert (found.rows[:, 0] == ROWS).all()


def test_rows_without_a_code_are_found_as_surely() -> None:
    rows = ROWS[(ROWS % 7 != 2) & (ROWS < 2900)]
    partly = engine(rows)
    new = np.setdiff1d(ROWS, rows)
    assert (partly.search(VECTORS[new], 1).rows[:, 0] == new).all()
    assert "2486 of them coded" in repr(partly)
    allowed = np.isin(ROWS, new) | (ROWS % 2 == 0)
    assert (partly.search(VECTORS[new], 1, allowed=allowed).rows[:, 0] == new).all()


def test_without_any_code_it_is_exact() -> None:
    queries = near(VECTORS, [4, 40, 400])
    bare = engine(ROWS[:0])
    exact = ExactCandidates(ArrayVectors(VECTORS))
    assert (bare.search(queries, 50).rows == exact.search(queries, 50).rows).all()


def test_the_scan_is_used_where_it_saves_work(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[int] = []
    real = FaissCandidates._scan

    def counting(self, query, depth, lists, allowed):
        scanned.append(depth)
        return real(self, query, depth, lists, allowed)

    monkeypatch.setattr(FaissCandidates, "_scan", counting)
    ours, query = engine(), VECTORS[:1]
    few = ROWS < 150
    ours.search(query, 10)
    ours.search(query, 10, allowed=~few)
    assert scanned == [100, 100]
    ours.search(query, 10, allowed=few)  # not worth a scan
    ours.search(query, 2000)  # more would be scored again than there are
    assert scanned == [100, 100]
    ours.search(query, 200)
    assert scanned[2] == 800


def test_more_rows_are_scored_again_where_scores_leave_doubt() -> None:
    """Only rows about as far from the query as most rows are allowed: there, hundreds differ by less than codes do."""
    queries = near(VECTORS, list(range(0, 3000, 150)))
    exact = ExactCandidates(ArrayVectors(VECTORS))
    shares: list[float] = []
    for query in queries:
        scores = VECTORS @ query
        allowed = scores < np.median(scores)
        found = engine().search(query[None], 20, allowed=allowed).rows[0]
        shares.append(len(np.intersect1d(found, exact.search(query[None], 20, allowed=allowed).rows[0])) / 20)
    assert np.mean(shares) > 0.99


def test_a_gallery_of_copies_keeps_its_promise() -> None:
    """All codes are the same, and so the worst possible, which the scan leaves out."""
    same = np.repeat(VECTORS[:1], 2000, axis=0)
    quantizer = Quantizer.train(same)
    copies = FaissCandidates(quantizer, quantizer.encode(same), ROWS[:2000], ArrayVectors(same), 50)
    found = copies.search(VECTORS[1:4], 10)
    assert found.rows.shape == (3, 10)
    assert all(len(set(rows)) == 10 for rows in found.rows.tolist())


def test_openmp_is_left_as_it_was() -> None:
    before = faiss.omp_get_max_threads()
    engine().search(VECTORS[:3], 5)
    Quantizer.train(VECTORS[:100])
    assert faiss.omp_get_max_threads() == before


def test_what_does_not_fit_is_refused() -> None:
    vectors = ArrayVectors(VECTORS)
    with pytest.raises(ShapeError, match="codes"):
        FaissCandidates(QUANTIZER, CODES[:-1], ROWS, vectors)
    with pytest.raises(ShapeError, match="codes"):
        FaissCandidates(QUANTIZER, CODES[:, :-1], ROWS, vectors)
    with pytest.raises(ShapeError, match="vectors"):
        FaissCandidates(QUANTIZER, CODES, ROWS, ArrayVectors(VECTORS[:, :-1]))
    with pytest.raises(InputError, match="coded_rows must ascend"):
        FaissCandidates(QUANTIZER, CODES, ROWS[::-1], vectors)
    with pytest.raises(InputError, match="coded_rows must ascend"):
        FaissCandidates(QUANTIZER, CODES, ROWS + 1, vectors)
    with pytest.raises(InputError, match="coded_rows must ascend"):
        FaissCandidates(QUANTIZER, CODES[:2], np.array([5, 5]), vectors)
