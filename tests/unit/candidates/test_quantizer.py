"""Codes: how near they are, their bytes on disk, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustered_vectors import clustered, near
from framesift.candidates import Quantizer
from framesift.errors import InputError, ShapeError

VECTORS = clustered(1500, 64)
QUANTIZER = Quantizer.train(VECTORS)
DATA = QUANTIZER.to_bytes()


@pytest.mark.parametrize(
    ("dim", "code_bytes"), [(1, 1), (2, 1), (5, 3), (64, 32), (130, 64), (256, 64), (520, 65)]
)
def test_a_code_takes_half_a_byte_for_up_to_four_dimensions(dim: int, code_bytes: int) -> None:
    vectors = clustered(300, dim)
    quantizer = Quantizer.train(vectors)
    assert quantizer.dim == dim
    assert quantizer.code_bytes == code_bytes
    codes = quantizer.encode(vectors)
    assert codes.shape == (300, code_bytes)
    assert codes.dtype == np.uint8
    lost = np.square(vectors - quantizer.decode(codes)).sum()
    assert lost <= 0.3 * np.square(vectors - vectors.mean(axis=0)).sum() + 1e-6


def test_rotating_does_not_change_dot_products() -> None:
    for dim in (48, 64, 130):
        vectors = clustered(400, dim)
        quantizer = Quantizer.train(vectors)
        if quantizer.rotation.shape[1] < dim:
            continue
        query = near(vectors, [7])
        rotated = (vectors - quantizer.mean) @ quantizer.rotation @ (query @ quantizer.rotation).T
        assert rotated == pytest.approx((vectors - quantizer.mean) @ query.T, abs=1e-5)


def test_directions_in_which_nothing_lies_get_no_bits() -> None:
    rng = np.random.default_rng(0)
    everywhere = rng.standard_normal((1000, 256), dtype=np.float32)
    assert Quantizer.train(everywhere).rotation.shape == (256, 256)
    assert Quantizer.train(everywhere * (np.arange(256) < 100)).rotation.shape == (256, 128)


def test_the_order_by_codes_is_nearly_the_order_by_vectors() -> None:
    queries = near(VECTORS, list(range(0, 1500, 100)))
    exact = np.argsort(-(queries @ VECTORS.T), axis=1)[:, :20]
    coded = np.argsort(-(queries @ QUANTIZER.decode(QUANTIZER.encode(VECTORS)).T), axis=1)[:, :60]
    shares = [len(np.intersect1d(*pair)) / 20 for pair in zip(exact, coded, strict=True)]
    assert np.mean(shares) > 0.99


def test_the_same_sample_gives_the_same_quantizer_and_another_seed_another() -> None:
    assert Quantizer.train(VECTORS).to_bytes() == DATA
    assert Quantizer.train(VECTORS, seed=1).digest != QUANTIZER.digest


def test_bytes_round_trip() -> None:
    again = Quantizer.from_bytes(DATA)
    assert again.digest == QUANTIZER.digest
    assert (again.dim, again.code_bytes) == (QUANTIZER.dim, QUANTIZER.code_bytes)
    assert (again.encode(VECTORS) == QUANTIZER.encode(VECTORS)).all()
    assert again.to_bytes() == DATA


@given(place=st.integers(0, len(DATA) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= 1 << bit
    with pytest.raises(InputError, match="quantizer"):
        Quantizer.from_bytes(bytes(damaged))


@given(length=st.integers(0, len(DATA) - 1))
def test_a_torn_file_is_noticed(length: int) -> None:
    with pytest.raises(InputError, match="train it again"):
        Quantizer.from_bytes(DATA[:length])


def test_copies_of_one_vector_can_be_coded() -> None:
    same = np.repeat(VECTORS[:1], 200, axis=0)
    quantizer = Quantizer.train(same)
    assert quantizer.decode(quantizer.encode(same)) == pytest.approx(same, abs=1e-5)


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(InputError, match="at least 16 vectors, not 15"):
        Quantizer.train(VECTORS[:15])
    with pytest.raises(ShapeError, match="sample"):
        Quantizer.train(VECTORS[0])
    broken = VECTORS.copy()
    broken[11, 3] = np.nan
    with pytest.raises(InputError, match="row 11"):
        Quantizer.train(broken)
    with pytest.raises(ShapeError, match="vectors"):
        QUANTIZER.encode(VECTORS[:, :-1])
    assert QUANTIZER.encode(VECTORS[:0]).shape == (0, QUANTIZER.code_bytes)


def test_it_says_what_it_is() -> None:
    assert repr(QUANTIZER) == f"<Quantizer 64 -> 32 bytes, {QUANTIZER.digest}>"
