"""Normalizations against plain softmaxes."""

from __future__ import annotations

import inspect

import pytest
import torch

from framesift.errors import InputError, ShapeError
from framesift.evaluation import dual_softmax, inverted_softmax, qb_norm
from framesift.evaluation.normalization import ROW_BLOCK, log_sum_exp


def _matrix(rows: int = ROW_BLOCK + 9, columns: int = 7, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_softmax_is_over_texts_for_t2v_and_over_videos_for_v2t(temperature: float) -> None:
    s = _matrix()
    texts, videos = (s * temperature).softmax(dim=0), (s * temperature).softmax(dim=1)
    inverted = inverted_softmax(s, temperature=temperature)
    torch.testing.assert_close(inverted.t2v, texts)
    torch.testing.assert_close(inverted.v2t, videos)
    dual = dual_softmax(s, temperature=temperature)
    torch.testing.assert_close(dual.t2v, s * texts)
    torch.testing.assert_close(dual.v2t, s * videos)
    assert torch.equal(dual_softmax(s, temperature=temperature, v2t="transpose").v2t, dual.t2v)


def test_the_matrix_given_is_left_alone() -> None:
    s = _matrix()
    copy = s.clone()
    dual_softmax(s, temperature=5.0)
    qb_norm(s, _matrix(seed=1), beta=5.0)
    assert torch.equal(s, copy)


def test_log_sum_exp_survives_large_values_and_empty_matrices() -> None:
    s = _matrix() * 1000
    torch.testing.assert_close(log_sum_exp(s, scale=3.0), (s * 3).logsumexp(dim=0))
    assert bool((log_sum_exp(s[:0], scale=1.0) == -torch.inf).all())


@pytest.mark.parametrize("k", [1, 2])
def test_querybank_normalizes_only_texts_whose_best_video_is_active(k: int) -> None:
    s, bank = _matrix(40, 30), _matrix(8, 30, seed=1)
    active = {video for row in bank.tolist() for video in sorted(range(30), key=row.__getitem__)[-k:]}
    found = qb_norm(s, bank, beta=3.0, k=k)
    changed = 0
    for text, row in enumerate(s.tolist()):
        if max(range(30), key=row.__getitem__) in active:
            expected = (3 * s[text]).exp() / (3 * bank).exp().sum(dim=0)
            torch.testing.assert_close(found[text], expected)
            changed += 1
        else:
            assert torch.equal(found[text], s[text])
    assert 0 < changed < 40


def test_half_precision_is_computed_in_single() -> None:
    s = _matrix().half()
    assert dual_softmax(s, temperature=100.0).t2v.dtype == torch.float32
    torch.testing.assert_close(
        dual_softmax(s, temperature=9.0).t2v, dual_softmax(s.float(), temperature=9.0).t2v
    )


def test_mistakes_are_named() -> None:
    s = _matrix()
    with pytest.raises(InputError, match="v2t='both'"):
        inspect.unwrap(dual_softmax)(s, temperature=1.0, v2t="both")  # past the tests' own check of types
    with pytest.raises(ShapeError, match="bank"):
        qb_norm(s, s[:0], beta=1.0)
    with pytest.raises(ShapeError, match="bank"):
        inspect.unwrap(qb_norm)(s, _matrix(5, 6), beta=1.0)
    with pytest.raises(InputError, match="k=8"):
        qb_norm(s, s, beta=1.0, k=8)
