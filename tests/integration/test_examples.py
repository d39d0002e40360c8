"""The examples run, and do what their texts say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from framesift.features import TextFeatures, VideoFeatures
from framesift.similarity import similarity_matrix

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def test_custom_matcher_obeys_the_law_and_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = _example("custom_matcher", monkeypatch)
    matcher = example.LogSumExpPool(example.LogSumExpPoolConfig()).eval()
    generator = torch.Generator().manual_seed(0)
    text = TextFeatures(sentence=torch.randn(4, 8, generator=generator))
    mask = torch.arange(5) < torch.tensor([[5], [0], [3]])
    video = VideoFeatures(frame=torch.randn(3, 5, 8, generator=generator), frame_mask=mask)
    all_pairs = matcher(text, video)
    for t in range(4):
        for v in range(3):
            torch.testing.assert_close(matcher(text[[t]], video[[v]])[0, 0], all_pairs[t, v])
    torch.testing.assert_close(similarity_matrix(matcher, text, video), all_pairs)
    assert all_pairs[:, 1].eq(0).all()
    weights = matcher.attention(text, video)
    torch.testing.assert_close(weights[:, [0, 2]].sum(-1), torch.ones(4, 2))
    example.main(videos=8)
    assert "log_sum_exp  t2v R@1" in capsys.readouterr().out
