"""Inverted files: what is mapped is scanned like what is packed in memory, and its memory stays whose it was."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from clustered_vectors import clustered, near
from framesift.candidates import Quantizer
from framesift.candidates.inverted import BLOCK_ROWS, InvertedFile, Packed, lists_of
from framesift.errors import InputError, ShapeError

VECTORS = clustered(2000, 48)
LISTS = 20
QUANTIZERS = [Quantizer.train(VECTORS), Quantizer.train(VECTORS, lists=LISTS)]
QUERIES = near(VECTORS, [3, 300, 900])


def unused() -> tuple[np.ndarray, np.ndarray]:
    raise AssertionError("nothing is damaged")


def memory_of(quantizer: Quantizer, codes: np.ndarray) -> np.ndarray:
    pieces: list[bytes] = []
    for _, numbers, blocks in lists_of(quantizer, codes, np.arange(len(codes))):
        filled = np.zeros(len(blocks) * BLOCK_ROWS, np.int64)
        filled[: len(numbers)] = numbers
        pieces += [blocks.tobytes(), filled.tobytes()]
    return np.frombuffer(b"".join(pieces), np.uint8)


def packed(quantizer: Quantizer, codes: np.ndarray, rows: np.ndarray | None = None) -> Packed:
    whole: Callable[[np.ndarray], bool] = lambda _: True  # noqa: E731
    return Packed(
        memory=memory_of(quantizer, codes),
        list_of=quantizer.list_of(codes),
        rows=rows,
        whole=whole,
        unpacked=unused,
    )


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("filtered", [False, True])
def test_the_same_is_found(quantizer: Quantizer, filtered: bool) -> None:
    codes = quantizer.encode(VECTORS)
    order = np.random.default_rng(0).permutation(len(codes))
    gone = order[::7]
    rows = np.where(np.isin(order, gone), -1, order)
    mapped = InvertedFile.of_packed(quantizer, packed(quantizer, codes[order], rows))
    there = np.setdiff1d(np.arange(len(codes)), gone)
    own = InvertedFile.of_codes(quantizer, codes[there], there)
    allowed = np.random.default_rng(1).random(len(codes)) < 0.5 if filtered else None
    lists = np.arange(quantizer.num_lists)[::2].copy()
    for query in QUERIES:
        rotated = query[None] @ quantizer.rotation
        ours, theirs = (one.scan(rotated, 5000, lists, allowed) for one in (mapped, own))
        assert len(ours[0]) > 50
        assert (ours[0] == theirs[0]).all()
        assert (ours[1] == theirs[1]).all()
        assert (np.diff(ours[0]) > 0).all()


def test_memory_is_not_given_away(capfd: pytest.CaptureFixture[str]) -> None:
    """faiss would unmap it with its lists, and complain."""
    quantizer = QUANTIZERS[1]
    codes = quantizer.encode(VECTORS)
    given = packed(quantizer, codes)
    before = given.memory.copy()
    made = InvertedFile.of_packed(quantizer, given)
    assert len(made) == len(codes)
    del made
    gc.collect()
    assert (given.memory == before).all()
    assert capfd.readouterr().err == ""


def test_what_does_not_fit_is_refused() -> None:
    quantizer = QUANTIZERS[1]
    codes = quantizer.encode(VECTORS)
    good = packed(quantizer, codes)
    short = Packed(**{**vars(good), "memory": good.memory[:-1]})
    with pytest.raises(ShapeError, match="packed codes"):
        InvertedFile.of_packed(quantizer, short)
    foreign = Packed(**{**vars(good), "list_of": good.list_of + np.uint16(LISTS)})
    with pytest.raises(InputError, match="pack them again"):
        InvertedFile.of_packed(quantizer, foreign)
