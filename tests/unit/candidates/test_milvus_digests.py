import numpy as np
import pytest

from framesift.candidates import milvus_digests
from framesift.candidates.milvus_digests import MomentRows, held_in, moment_digests, text_digests


def unit_vectors(count: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive(text: str) -> int:
    """The digest of a text with Python's integers."""
    total = 0
    for place, letter in enumerate(text.encode(), start=1):
        total += letter * (mixed(place) | 1)
    return total % 2**64


def mixed(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def test_digests_of_texts_are_what_they_have_always_been() -> None:
    texts = ["", "a", "abc:0", "abc:1", "视频:12", "x" * 300]
    assert text_digests(texts).tolist() == [naive(text) for text in texts]
    assert text_digests(["abc:0"]).tolist() == [13170131204993784852]  # collections in use hold these


def test_the_digest_of_a_text_does_not_depend_on_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"video-{i}:{i % 7}" for i in range(1000)]
    together = text_digests(texts)
    assert len(set(together.tolist())) == 1000
    monkeypatch.setattr(milvus_digests, "AT_ONCE", 7)
    np.testing.assert_array_equal(text_digests(texts), together)


@pytest.mark.parametrize("dim", [1, 4, 6, 64])
def test_a_moment_is_told_by_its_id_and_by_every_number_of_its_vector(dim: int) -> None:
    vectors = unit_vectors(1, dim)
    digests = {int(moment_digests(["a:0"], vectors)[0]), int(moment_digests(["a:1"], vectors)[0])}
    for i in range(dim):
        other = vectors.copy()
        other[0, i] = -other[0, i]
        digests.add(int(moment_digests(["a:0"], other)[0]))
    assert len(digests) == dim + 2


def test_a_cache_of_half_precision_has_the_digests_of_the_tables() -> None:
    vectors, ids = unit_vectors(50, 32), [f"v:{i}" for i in range(50)]
    rounded = vectors.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(moment_digests(ids, vectors), moment_digests(ids, rounded))


def test_rows_are_found_by_id() -> None:
    ids = [f"v{i}:0" for i in range(100)]
    rows = MomentRows(ids)
    assert len(rows) == 100
    assert rows.find(["v7:0", "gone:0", "v99:0", "v0:0", "v7:0"]).tolist() == [7, -1, 99, 0, 7]
    assert rows.find([]).tolist() == []
    assert rows.ambiguous.tolist() == []
    assert MomentRows([]).find(["v0:0"]).tolist() == [-1]
    assert MomentRows([]).ambiguous.tolist() == []


def test_rows_that_share_a_digest_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        milvus_digests, "text_digests", lambda texts: np.array([len(t) for t in texts], np.uint64)
    )
    rows = MomentRows(["aaa", "b", "ccc", "dd", "eee"])
    assert rows.ambiguous.tolist() == [0, 2, 4]
    assert rows.find(["z", "zz"]).tolist() == [1, 3]


def test_held_in() -> None:
    held = np.array([-5, 2, 9])
    assert held_in(np.array([9, 10, -5, -6, 3]), held).tolist() == [True, False, True, False, False]
    assert held_in(np.array([1]), np.zeros(0, np.int64)).tolist() == [False]
