"""The engine over a server that is a dictionary: what it asks for, and what it makes of the answers."""

from __future__ import annotations

import numpy as np
import pytest

from framesift.candidates import milvus
from framesift.candidates.arrays import ArrayVectors
from framesift.candidates.exact import ExactCandidates
from framesift.candidates.milvus import MilvusCandidates
from framesift.candidates.milvus_server import MOST_HITS
from framesift.errors import InputError, ShapeError

ROWS, DIM = 400, 8


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(5, seed=1)
IDS = [f"v{row}:0" for row in range(ROWS)]


class Server:
    """Answers from the rows that it holds, best first, whatever they are called."""

    uri = "a dictionary"

    def __init__(self, held: dict[str, np.ndarray], most: int = MOST_HITS) -> None:
        self.ids, self.vectors, self.most = list(held), np.array(list(held.values())), most
        self.limits: list[int] = []

    def search(self, name: str, queries: np.ndarray, limit: int) -> list[list[str]]:
        assert name == "some"
        self.limits.append(limit)
        order = np.argsort(-(queries @ self.vectors.T), axis=1)[:, : min(limit, self.most)]
        return [[self.ids[i] for i in line] for line in order]


def engine(server: Server, **options: object) -> MilvusCandidates:
    return MilvusCandidates(server, "some", moment_ids=lambda: IDS, vectors=ArrayVectors(VECTORS), **options)


def holding(rows: np.ndarray | range, **options: int) -> Server:
    return Server({IDS[row]: VECTORS[row] for row in rows}, **options)


def assert_exact(found: MilvusCandidates, depth: int, allowed: np.ndarray | None = None) -> None:
    expected = ExactCandidates(ArrayVectors(VECTORS)).search(QUERIES, depth, allowed=allowed)
    got = found.search(QUERIES, depth, allowed=allowed)
    np.testing.assert_array_equal(got.rows, expected.rows)
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)


@pytest.fixture
def _ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows a filter leaves."""
    monkeypatch.setattr(milvus, "EXACT_ROWS", 0)


def test_it_finds_what_exact_scoring_finds_and_asks_once() -> None:
    server = holding(range(ROWS))
    assert_exact(engine(server), 20)
    assert server.limits == [20 + 2 + 16]


def test_scores_come_from_the_gallery_and_not_from_the_server() -> None:
    server = Server({moment_id: -vector for moment_id, vector in zip(IDS, VECTORS, strict=True)})
    found = engine(server).search(QUERIES, 10)
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(QUERIES @ VECTORS.T, found.rows, 1), atol=1e-6
    )
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_rows_that_the_server_does_not_hold_are_scored_as_well() -> None:
    fresh = np.arange(0, ROWS, 3)
    held = np.setdiff1d(np.arange(ROWS), fresh)
    assert_exact(engine(holding(held), fresh=fresh), 20)


def test_rows_that_it_holds_with_another_vector_are_scored_from_the_gallery() -> None:
    held = dict(zip(IDS, VECTORS, strict=True))
    changed = np.arange(50)
    for row in changed:
        held[IDS[row]] = QUERIES[0]  # it would put all of them first
    assert_exact(engine(Server(held), fresh=changed), 20)


def test_moments_that_left_the_gallery_are_passed_over() -> None:
    held = {f"gone{i}:0": QUERIES[0] for i in range(100)}
    held |= dict(zip(IDS, VECTORS, strict=True))
    server = Server(held)
    assert_exact(engine(server), 20)
    assert server.limits == [38, 152]  # the first answer to one query held nothing else


@pytest.mark.usefixtures("_ask_always")
def test_a_filter_acts_before_the_cut() -> None:
    server = holding(range(ROWS))
    allowed = np.arange(ROWS) % 4 == 0
    assert_exact(engine(server), 20, allowed)
    assert server.limits[0] == 4 * 38  # as many as leave enough, if the filter does not depend on the query


@pytest.mark.usefixtures("_ask_always")
def test_a_filter_against_the_query_still_leaves_enough() -> None:
    worst = (QUERIES[0] @ VECTORS.T).argsort()[: ROWS // 2]
    allowed = np.isin(np.arange(ROWS), worst)
    server = holding(range(ROWS))
    assert_exact(engine(server), 30, allowed)
    assert len(server.limits) > 1
    assert server.limits == sorted(server.limits)


@pytest.mark.usefixtures("_ask_always")
def test_where_the_server_gives_too_little_everything_is_scored() -> None:
    assert_exact(engine(holding(range(ROWS), most=10)), 20)
    assert_exact(engine(holding(range(5))), 20, np.arange(ROWS) % 2 == 0)


def test_a_filter_that_leaves_few_rows_asks_nobody() -> None:
    server = holding(range(ROWS))
    allowed = np.zeros(ROWS, dtype=bool)
    allowed[[3, 77, 200]] = True
    assert_exact(engine(server), 20, allowed)
    assert engine(server).search(QUERIES, 20, allowed=np.zeros(ROWS, dtype=bool)).rows.shape == (5, 0)
    assert server.limits == []


def test_more_than_an_answer_can_hold_is_scored_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "MOST_HITS", 100)
    server = holding(range(ROWS))
    assert_exact(engine(server), 200)
    assert server.limits == []


def test_all_rows_may_be_fresh() -> None:
    server = holding([0])
    assert_exact(engine(server, fresh=np.arange(ROWS)), 20)
    assert server.limits == []


def test_rows_whose_ids_cannot_be_told_apart_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = milvus.MomentRows.__init__.__globals__["text_digests"]

    def clumsy(texts: list[str]) -> np.ndarray:
        return np.where([text in ("v1:0", "v2:0") for text in texts], np.uint64(1), digests(texts))

    monkeypatch.setattr("framesift.candidates.milvus_digests.text_digests", clumsy)
    assert_exact(engine(holding(range(ROWS))), 20)
    assert 1 in engine(holding(range(ROWS))).search(VECTORS[1:2], 5).rows


def test_what_cannot_be_answered() -> None:
    found = engine(holding(range(ROWS)))
    with pytest.raises(InputError, match="depth is 0"):
        found.search(QUERIES, 0)
    with pytest.raises(ShapeError, match="queries"):
        found.search(QUERIES[:, :3], 5)
    with pytest.raises(InputError, match="boolean"):
        found.search(QUERIES, 5, allowed=np.arange(ROWS))
    other = MilvusCandidates(
        holding(range(3)), "some", moment_ids=lambda: IDS[:3], vectors=ArrayVectors(VECTORS)
    )
    with pytest.raises(ShapeError, match="moment ids"):
        other.search(QUERIES, 5)


def test_it_says_what_it_is() -> None:
    assert repr(engine(holding(range(ROWS)))) == "<MilvusCandidates 400 rows, some at a dictionary>"
