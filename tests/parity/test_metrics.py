"""Metrics and normalizations equal what the papers' code prints, with its own rules for ties and captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from framesift.evaluation import dual_softmax, inverted_softmax, qb_norm
from framesift.metrics import Metrics, Ties, group_captions, ranks, summarise, t2v, v2t
from golden_files import golden_files, read_golden


def assert_metrics(expected: dict[str, Any], found: Metrics, *, median: str, places: float = 1e-9) -> None:
    for k, value in found.recall_at.items():
        if f"R{k}" in expected:  # CLIP4Clip reports three, TS2-Net four
            assert value == pytest.approx(expected[f"R{k}"], rel=places), f"R{k}"
    assert found.median_rank == pytest.approx(expected[median])
    assert found.mean_rank == pytest.approx(expected["MeanR"], rel=1e-6)


def caption_groups(cut_off_points: Tensor) -> Tensor:
    """Relevance of texts grouped by video, from the row after each group's last (cumulative counts)."""
    ends = cut_off_points.tolist()
    if ends[0] == 0:  # some code stores the starts
        ends = [*ends[1:], None]
    counts = np.diff([0, *ends])
    owner = torch.arange(len(ends)).repeat_interleave(torch.as_tensor(counts))
    return owner[:, None] == torch.arange(len(ends))


@pytest.mark.parametrize("path", golden_files("metrics2d_*.safetensors"))
def test_metrics_of_single_captions(path: Path) -> None:
    golden, metadata = read_golden(path)
    sims = golden["sims"]
    assert torch.equal(ranks(sims, ties="clip4clip") - 1, golden["t2v_rank_entries"].double())
    assert torch.equal(ranks(sims.T, ties="clip4clip") - 1, golden["v2t_rank_entries"].double())
    assert_metrics(metadata["t2v"], t2v(sims, ties="clip4clip"), median="MR")
    assert_metrics(metadata["v2t"], v2t(sims, ties="clip4clip"), median="MR")


@pytest.mark.parametrize("path", golden_files("metrics3d_*.safetensors"))
def test_metrics_of_several_captions(path: Path) -> None:
    golden, metadata = read_golden(path)
    sims, relevance = golden["sims_flat"], caption_groups(golden["cut_off_points"])
    assert relevance.sum(dim=0).tolist() == metadata["captions_per_video"]
    groups = group_captions(sims, relevance)
    assert torch.equal(groups.T, golden["v2t_sim"])
    # the reference computes recall in float32
    found = t2v(sims, relevance, ties="xpool", lower_median=True)
    assert_metrics(metadata["t2v"], found, median="MedianR", places=1e-6)
    assert_metrics(metadata["v2t"], v2t(groups, ties="clip4clip"), median="MR")


@pytest.mark.parametrize("path", golden_files("xpool_metrics_*.safetensors"))
def test_xpool_metrics(path: Path) -> None:
    golden, metadata = read_golden(path)
    valid = golden["valid_text_mask"].bool()
    slot, owner = valid.T.nonzero().T  # the reference goes through all first captions, then all second ones
    sims = golden["sims"][owner, slot]
    relevance = owner[:, None] == torch.arange(len(valid))
    groups = group_captions(sims, relevance)
    for direction, matrix, relevant in (("t2v", sims, relevance), ("v2t", groups.T, None)):
        theirs = golden[f"{direction}_ranks0"] + 1.0
        assert_metrics(
            metadata[direction], summarise(theirs, ties="xpool", direction=direction), median="MedR"
        )
        low, high = (ranks(matrix, relevant, ties=rule) for rule in ("optimistic", "pessimistic"))
        # their order of ties is whatever the sort does; without ties there is but one answer
        for found in (theirs.double(), ranks(matrix, relevant, ties="xpool")):
            assert bool(((low <= found) & (found <= high)).all())


@pytest.mark.parametrize("path", golden_files("dsl_[!m]*.safetensors"))
def test_dual_softmax(path: Path) -> None:
    golden, metadata = read_golden(path)
    sims = golden["sims"]
    normalized = dual_softmax(sims, temperature=1.0, v2t="transpose")
    torch.testing.assert_close(normalized.t2v, golden["dsl"], atol=2e-5, rtol=1e-5)
    assert_metrics(metadata["t2v"], t2v(sims, ties="clip4clip"), median="MR")
    assert_metrics(metadata["v2t"], v2t(sims, ties="clip4clip"), median="MR")
    assert_metrics(metadata["dsl_t2v"], t2v(normalized.t2v, ties="clip4clip"), median="MR")
    assert_metrics(metadata["dsl_v2t"], v2t(normalized.v2t, ties="clip4clip"), median="MR")


@pytest.mark.parametrize("path", golden_files("dsl_multi_*.safetensors"))
def test_dual_softmax_of_several_captions(path: Path) -> None:
    golden, metadata = read_golden(path)
    relevance = caption_groups(golden["cut_off_points"])
    normalized = dual_softmax(golden["sims_flat"], temperature=1.0, v2t="transpose")
    torch.testing.assert_close(normalized.t2v, golden["dsl_flat"], atol=2e-5, rtol=1e-5)
    found = t2v(normalized.t2v, relevance, ties="xpool", lower_median=True)
    assert_metrics(metadata["t2v"], found, median="MedianR", places=1e-6)
    groups = group_captions(normalized.v2t, relevance)
    assert_metrics(metadata["v2t"], v2t(groups, ties="clip4clip"), median="MR")


# A published matrix of 1,000 x 1,000 with exact ties, and our reference values in float64

TIES: dict[str, Ties] = {"opt": "optimistic", "mean": "mean", "pess": "pessimistic"}
Published = tuple[Tensor, dict[str, Any]]


@pytest.fixture(scope="module")
def published(real_data: Path) -> Published:
    folder = real_data / "precomputed"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return torch.from_numpy(np.load(folder / expected["matrix"])), expected


def assert_published(expected: dict[str, float], found: Metrics) -> None:
    assert {k: pytest.approx(expected[f"R@{k}"]) for k in (1, 5, 10, 50)} == found.recall_at
    assert found.median_rank == expected["MedR"]
    assert found.mean_rank == pytest.approx(expected["MeanR"])


@pytest.mark.parametrize("rule", TIES)
def test_published_matrix(published: Published, rule: str) -> None:
    sims, expected = published
    assert_published(expected["t2v"][rule], t2v(sims, ties=TIES[rule]))
    assert_published(expected["v2t"][rule], v2t(sims, ties=TIES[rule]))


def test_published_matrix_by_the_code_of_its_authors(published: Published) -> None:
    sims, expected = published
    for direction, measure in (("t2v", t2v), ("v2t", v2t)):
        theirs, found = expected["upstream_compute_metrics"][direction], measure(sims, ties="clip4clip")
        for k in (1, 5, 10):
            assert found.recall_at[k] == pytest.approx(theirs[f"R{k}"], abs=5e-4)  # printed with three digits
        assert (found.median_rank, found.num_queries) == (theirs["MR"], theirs["n_entries"])
        assert found.mean_rank == pytest.approx(theirs["MeanR"], abs=5e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1, 20, 50, 100])
def test_published_matrix_normalized(published: Published, temperature: int, dtype: torch.dtype) -> None:
    sims, expected = published[0].to(dtype), published[1]
    dual = dual_softmax(sims, temperature=float(temperature), v2t="own-axis")
    named = list(expected[f"dsl_tau{temperature}"].values())
    assert_published(named[0], t2v(dual.t2v))
    inverted = inverted_softmax(sims, temperature=float(temperature))
    assert_published(next(iter(expected[f"inverted_softmax_tau{temperature}"].values())), t2v(inverted.t2v))
    assert_published(named[1], v2t(dual.v2t, ties="optimistic"))  # repeated sentences tie; so it was counted


@pytest.mark.parametrize("beta", [20, 50, 100])
def test_published_matrix_with_a_querybank(published: Published, beta: int) -> None:
    sims, expected = published[0].double(), published[1][f"qbnorm_dis_beta{beta}_k1"]
    test, bank = sims[:500], sims[500:]
    relevance = torch.eye(500, 1000, dtype=torch.bool)
    normalized = qb_norm(test, bank, beta=float(beta))
    assert_published(expected["before"], t2v(test, relevance))
    assert_published(
        expected["test texts 0-499, bank texts 500-999, gallery all 1000 videos"], t2v(normalized, relevance)
    )
    assert int((normalized != test).any(dim=1).sum()) == expected["normalised_queries"]
    assert len(bank.argmax(dim=1).unique()) == expected["activated_videos"]
