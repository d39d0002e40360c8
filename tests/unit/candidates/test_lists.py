"""Lists: which rows are in which, what a query can expect of them, and that nothing is lost by reading few."""

from __future__ import annotations

import numpy as np
import pytest

from clustered_vectors import clustered, near
from framesift.candidates import ArrayVectors, ExactCandidates, FaissCandidates, Quantizer, lists_for
from framesift.candidates.lists import LISTS_FROM, MOST_LISTS, Prospect
from framesift.errors import InputError

VECTORS = clustered(12_000, 48)
ROWS = np.arange(len(VECTORS))
LISTS = 200
QUANTIZER = Quantizer.train(VECTORS, lists=LISTS)
PLAIN = Quantizer.train(VECTORS)
CODES = QUANTIZER.encode(VECTORS)
EXACT = ExactCandidates(ArrayVectors(VECTORS))
QUERIES = near(VECTORS, list(range(0, 12_000, 400)))


class Watched(FaissCandidates):
    """Remembers which lists it read."""

    def __init__(self, *args: object, **named: object) -> None:
        self.read: list[np.ndarray] = []
        super().__init__(*args, **named)  # type: ignore[arg-type]

    def _scan(self, query, depth, lists, allowed):  # type: ignore[no-untyped-def]
        self.read.append(lists)
        return super()._scan(query, depth, lists, allowed)


def engine(rows: np.ndarray = ROWS, *, probes: int | None = None) -> Watched:
    return Watched(QUANTIZER, CODES[rows], rows, ArrayVectors(VECTORS), 100, probes=probes)


def recall(index: FaissCandidates, depth: int, allowed: np.ndarray | None = None) -> float:
    found = index.search(QUERIES, depth, allowed=allowed).rows
    best = EXACT.search(QUERIES, depth, allowed=allowed).rows
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(best, found, strict=True)]))


# ---- codes


def test_a_code_begins_with_its_list_and_goes_on_as_without() -> None:
    assert QUANTIZER.code_bytes == PLAIN.code_bytes + 2
    assert (CODES[:, 2:] == PLAIN.encode(VECTORS)).all()
    assert (QUANTIZER.decode(CODES) == PLAIN.decode(CODES[:, 2:].copy())).all()
    numbers = QUANTIZER.list_of(CODES)
    assert (numbers == CODES[:, 0].astype(int) + 256 * CODES[:, 1].astype(int)).all()
    assert numbers.max() < LISTS
    assert not PLAIN.list_of(CODES[:, 2:]).any()


def test_a_row_is_in_the_list_of_its_nearest_centroid() -> None:
    lists = QUANTIZER.lists
    assert lists is not None
    placed = (VECTORS - QUANTIZER.mean) @ lists.directions
    distances = ((placed[:, None] - lists.centroids) ** 2).sum(axis=2)
    chosen = distances[ROWS, QUANTIZER.list_of(CODES)]
    assert chosen == pytest.approx(distances.min(axis=1), abs=1e-5)


def test_bytes_keep_the_lists_and_those_without_are_read_as_ever() -> None:
    data = QUANTIZER.to_bytes()
    again = Quantizer.from_bytes(data)
    assert again.to_bytes() == data
    assert again.digest == QUANTIZER.digest != PLAIN.digest
    assert (again.encode(VECTORS) == CODES).all()
    assert Quantizer.from_bytes(PLAIN.to_bytes()).lists is None
    assert f"{LISTS} lists" in repr(again)


def test_the_same_sample_gives_the_same_lists() -> None:
    assert Quantizer.train(VECTORS, lists=LISTS).to_bytes() == QUANTIZER.to_bytes()


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (301, "301 lists are learned from at least as many vectors, not 300"),
        (-1, "-1 lists"),
        (70_000, "65535"),
    ],
)
def test_lists_that_cannot_be_learned_are_refused(lists: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Quantizer.train(VECTORS[:300], lists=lists)


def test_a_code_of_a_list_that_is_not_there_is_refused() -> None:
    damaged = CODES.copy()
    damaged[17, :2] = 255
    with pytest.raises(InputError, match="a code is of list 65535, and there are 200"):
        FaissCandidates(QUANTIZER, damaged, ROWS, ArrayVectors(VECTORS))


# ---- expectation


def test_what_is_expected_is_what_normal_rows_hold() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50).astype(np.float32)
    sizes = rng.integers(0, 3000, size=50)
    rows = [rng.normal(score, 0.3, size) for score, size in zip(scores, sizes, strict=True)]
    prospect = Prospect(scores, 0.3, sizes)
    for level in (-0.5, 0.5, 1.5):
        held = np.array([(one > level).sum() for one in rows])
        assert prospect.expected(level).sum() == pytest.approx(held.sum(), rel=0.05)
        assert prospect.expected(level) == pytest.approx(held, abs=80)
    for depth in (20, 500, 20_000):
        assert prospect.expected(prospect.last_score(depth)).sum() == pytest.approx(depth, rel=0.25)


def test_lists_are_taken_until_the_rest_promises_little() -> None:
    prospect = Prospect(np.array([0.9, 0.5, 0.8, -5.0], np.float32), 0.1, np.array([100, 100, 300, 100]))
    assert prospect.nearest(0.85, share=0.5, least=0).tolist() == [2]
    assert prospect.nearest(0.85, share=0.99, least=0).tolist() == [2, 0]
    assert sorted(prospect.nearest(0.85, share=0.5, least=450).tolist()) == [0, 1, 2]
    assert len(prospect.nearest(0.85, share=0.5, least=10**7)) == 4
    assert prospect.covered(0.85, np.array([0, 2])) == pytest.approx(1, abs=1e-3)
    assert prospect.covered(99.0, np.array([0])) == 1


def test_lists_of_copies_of_one_row_promise_something_too() -> None:
    prospect = Prospect(np.zeros(3, np.float32), 0.0, np.array([5, 0, 7]))
    assert prospect.expected(prospect.last_score(12)).sum() == pytest.approx(12)
    assert {0, 2} <= set(prospect.nearest(prospect.last_score(3), share=0.99, least=12).tolist())


# ---- engine


def test_few_lists_hold_what_is_wanted() -> None:
    ours = engine()
    assert recall(ours, 20) >= 0.99
    read = [len(lists) for lists in ours.read]
    assert np.mean(read) < LISTS / 2
    assert len(set(read)) > 5  # as many as it takes for each


def test_every_coded_row_is_in_the_file() -> None:
    found = engine(probes=LISTS).search(VECTORS[::7], 1)
    assert (found.rows[:, 0] == ROWS[::7]).all()


def test_reading_all_lists_finds_what_a_scan_of_all_codes_finds() -> None:
    flat = FaissCandidates(PLAIN, CODES[:, 2:], ROWS, ArrayVectors(VECTORS), 100)
    every = engine(probes=LISTS)
    assert (every.search(QUERIES, 25).rows == flat.search(QUERIES, 25).rows).all()


def test_as_many_lists_are_read_as_are_asked_for() -> None:
    ours = engine(probes=7)
    ours.search(QUERIES, 5)
    assert {len(lists) for lists in ours.read} == {7}
    assert 0.3 < recall(ours, 20) < recall(engine(), 20)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_filter_acts_within_the_lists(share: float) -> None:
    allowed = np.random.default_rng(2).random(len(ROWS)) < share
    ours = engine()
    assert allowed[ours.search(QUERIES, 20, allowed=allowed).rows].all()
    assert recall(ours, 20, allowed) >= 0.99


def test_a_filter_that_leaves_out_the_lists_near_the_query_reads_others() -> None:
    nearest = np.argsort(-(VECTORS @ QUERIES[3]))
    allowed = np.ones(len(ROWS), np.bool_)
    allowed[nearest[:6000]] = False
    found = engine().search(QUERIES[3:4], 20, allowed=allowed)
    best = EXACT.search(QUERIES[3:4], 20, allowed=allowed)
    assert allowed[found.rows].all()
    assert found.scores[0, -1] >= best.scores[0, -1] - 0.01


def test_never_fewer_rows_than_promised_however_few_lists_are_probed() -> None:
    ours = engine(probes=1)
    found = ours.search(QUERIES[:3], 400)
    assert found.rows.shape == (3, 400)
    assert all(len(set(rows)) == 400 for rows in found.rows.tolist())
    assert max(len(lists) for lists in ours.read) > 100


def test_rows_without_a_code_are_found_with_lists_too() -> None:
    rows = ROWS[(ROWS % 7 != 2) & (ROWS < 11_000)]
    ours = engine(rows)
    new = np.setdiff1d(ROWS, rows)[::20]
    assert (ours.search(VECTORS[new], 1).rows[:, 0] == new).all()
    allowed = np.isin(ROWS, new) | (ROWS % 2 == 0)
    assert (ours.search(VECTORS[new], 1, allowed=allowed).rows[:, 0] == new).all()


def test_more_lists_are_read_where_scores_tell_that_they_hold_better_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first choice is made as if the best row alone were wanted."""
    real = Prospect.last_score
    monkeypatch.setattr(Prospect, "last_score", lambda prospect, depth: real(prospect, 1))
    ours = engine()
    assert recall(ours, 100) >= 0.99
    assert len(ours.read) > len(QUERIES)


# ---- sizes


def test_small_galleries_have_no_lists_and_large_ones_some_in_proportion_to_the_root() -> None:
    assert lists_for(0) == lists_for(LISTS_FROM - 1) == 0
    assert lists_for(1_000_000) == 4000
    assert lists_for(4_000_000) == 8000
    assert lists_for(10**12) == MOST_LISTS
