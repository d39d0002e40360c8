"""The contrastive loss against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from framesift.errors import ShapeError
from framesift.training.losses import symmetric_contrastive


def test_loss_is_the_mean_of_both_directions() -> None:
    s = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor(1.3)
    logits = (s * math.exp(1.3)).tolist()
    rows = [-math.log(math.exp(logits[i][i]) / sum(math.exp(x) for x in logits[i])) for i in range(4)]
    columns = [
        -math.log(math.exp(logits[i][i]) / sum(math.exp(logits[j][i]) for j in range(4))) for i in range(4)
    ]
    expected = (sum(rows) / 4 + sum(columns) / 4) / 2
    assert float(symmetric_contrastive(s, scale)) == pytest.approx(expected, rel=1e-5)


def test_one_pair_costs_nothing() -> None:
    assert float(symmetric_contrastive(torch.tensor([[0.3]]), torch.tensor(4.6))) == 0.0


@pytest.mark.parametrize("shape", [(2, 3), (0, 0)])
def test_only_a_square_of_pairs_has_a_loss(shape: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="square matrix"):
        symmetric_contrastive(torch.zeros(shape), torch.tensor(0.0))
