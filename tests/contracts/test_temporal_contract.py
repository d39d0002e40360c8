"""Every temporal module is one: each video by itself, whatever its padding, its place and its batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from framesift.config import from_dict, to_dict
from framesift.errors import ShapeError
from framesift.features import VideoFeatures
from framesift.temporal import (
    TEMPORALS,
    Temporal,
    TemporalLSTMConfig,
    TemporalTransformerConfig,
    TokenSelectionConfig,
)

VIDEOS, FRAMES, DIM, PATCHES = 6, 5, 16, 10
CLOSE = {"atol": 2e-6, "rtol": 1e-5}

SIZES = {"dim": DIM, "num_layers": 2, "num_heads": 2, "max_frames": 8}
SELECTION = {"dim": DIM, "num_selected": 3, "num_layers": 2, "num_heads": 2, "num_positions": 24}
BUILD: dict[str, Callable[[], Any]] = {
    "identity": TEMPORALS["identity"].Config,
    "transformer": lambda: TemporalTransformerConfig(**SIZES),
    "transformer, keep_frames": lambda: TemporalTransformerConfig(**SIZES, keep_frames=True),
    "lstm": lambda: TemporalLSTMConfig(dim=DIM),
    "lstm, keep_frames": lambda: TemporalLSTMConfig(dim=DIM, keep_frames=True),
    "token_selection": lambda: TokenSelectionConfig(**SELECTION),
    "token_selection, all_tokens": lambda: TokenSelectionConfig(**SELECTION, all_tokens=True),
}


@pytest.fixture(params=sorted(BUILD))
def temporal(request: pytest.FixtureRequest) -> Temporal:
    """A module whose weights all differ from their initial values."""
    temporal = TEMPORALS[request.param.partition(",")[0]].from_config(BUILD[request.param]())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in temporal.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return temporal.eval()


def videos(count: int = VIDEOS) -> VideoFeatures:
    """Videos of different lengths; the first is full, the second has no real frame at all."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, FRAMES + 1, (count, 1), generator=generator)
    lengths[:2] = torch.tensor([[FRAMES], [0]])[:count]
    mask = torch.arange(FRAMES) < lengths
    frame = 3 * torch.randn(count, FRAMES, DIM, generator=generator)
    return VideoFeatures(
        frame=frame, frame_mask=mask, patch=3 * torch.randn(count, FRAMES, PATCHES, DIM, generator=generator)
    )


def zeros(count: int, frames: int, dim: int = DIM) -> VideoFeatures:
    return VideoFeatures(
        frame=torch.zeros(count, frames, dim),
        frame_mask=torch.ones(count, frames, dtype=torch.bool),
        patch=torch.zeros(count, frames, PATCHES, dim),
    )


def results(video: VideoFeatures) -> list[Tensor]:
    """Everything that the features say: real frames, and the video where there is one."""
    return [video.frame[video.frame_mask], *([] if video.video is None else [video.video])]


def assert_same(found: VideoFeatures, expected: VideoFeatures) -> None:
    assert torch.equal(found.frame_mask.sum(dim=1), expected.frame_mask.sum(dim=1))
    for a, b in zip(results(found), results(expected), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_every_registered_module_is_covered() -> None:
    for name, cls in TEMPORALS.items():
        assert cls.name == name
        if name not in {key.partition(",")[0] for key in BUILD}:
            pytest.fail(f"the temporal module {name!r} is not in BUILD")


def test_masks_and_shapes_stay(temporal: Temporal) -> None:
    video = videos()
    encoded, tokens = temporal(video), temporal.tokens_per_frame
    assert torch.equal(encoded.frame_mask, video.frame_mask.repeat_interleave(tokens, dim=1))
    assert encoded.frame.shape == (VIDEOS, FRAMES * tokens, DIM)
    assert bool(encoded.frame.isfinite().all())
    if encoded.video is not None:
        assert torch.equal(encoded.frame, video.frame)
        assert encoded.video.shape == (VIDEOS, DIM)
        assert bool((encoded.video[1] == 0).all())


def test_a_video_does_not_depend_on_its_batch(temporal: Temporal) -> None:
    video = videos()
    together = temporal(video)
    for v in range(VIDEOS):
        assert_same(temporal(video[[v]]), together[[v]])


def test_the_order_of_videos_does_not_matter(temporal: Temporal) -> None:
    video = videos()
    order = torch.randperm(VIDEOS, generator=torch.Generator().manual_seed(3))
    assert_same(temporal(video[order]), temporal(video)[order])


@pytest.mark.parametrize("filling", [0.0, 1e3, float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["behind", "in front", "in between"])
def test_padding_changes_nothing_wherever_it_is_and_whatever_it_holds(
    temporal: Temporal, place: str, filling: float
) -> None:
    video = videos()
    frame = video.frame.masked_fill(~video.frame_mask[..., None], filling)
    patch = video.patch.masked_fill(~video.frame_mask[..., None, None], filling)
    at = {"behind": FRAMES, "in front": 0, "in between": 2}[place]
    longer = VideoFeatures(
        frame=torch.cat([frame[:, :at], torch.full((VIDEOS, 9, DIM), filling), frame[:, at:]], dim=1),
        frame_mask=torch.cat(
            [video.frame_mask[:, :at], torch.zeros(VIDEOS, 9, dtype=torch.bool), video.frame_mask[:, at:]],
            dim=1,
        ),
        patch=torch.cat(
            [patch[:, :at], torch.full((VIDEOS, 9, PATCHES, DIM), filling), patch[:, at:]], dim=1
        ),
    )
    assert_same(temporal(longer), temporal(video))


def test_gradients_are_finite_and_reach_every_parameter_and_real_frame(temporal: Temporal) -> None:
    video = videos()
    video.frame.requires_grad_()
    generator = torch.Generator().manual_seed(4)
    found = results(temporal.train()(video))[-1]
    (found * torch.randn(found.shape, generator=generator)).sum().backward()
    assert bool(video.frame.grad.isfinite().all())
    assert bool((video.frame.grad[video.frame_mask] != 0).any(dim=1).all())
    assert bool((video.frame.grad[~video.frame_mask] == 0).all())
    for name, parameter in temporal.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()), name


def test_saved_and_loaded_it_is_the_same(temporal: Temporal, tmp_path: Path) -> None:
    save_file(temporal.state_dict(), tmp_path / "temporal.safetensors")
    config = from_dict(temporal.Config, to_dict(temporal.config))
    assert config == temporal.config
    again = type(temporal).from_config(config).eval()
    again.load_state_dict(load_file(tmp_path / "temporal.safetensors"))
    for a, b in zip(results(again(videos())), results(temporal(videos())), strict=True):
        assert torch.equal(a, b)


def test_half_precision_features_give_nearly_the_same(temporal: Temporal) -> None:
    video = videos()
    for a, b in zip(results(temporal(video.to(dtype=torch.float16))), results(temporal(video)), strict=True):
        torch.testing.assert_close(a.float(), b, atol=2e-2, rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(temporal: Temporal) -> None:
    expected, video = temporal(videos()), videos().to("cuda")
    for a, b in zip(results(temporal.to("cuda")(video)), results(expected), strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-4, rtol=1e-3)


def test_nothing_in_nothing_out(temporal: Temporal) -> None:
    assert len(temporal(videos(0))) == 0
    assert temporal(zeros(2, 0)).frame.shape == (2, 0, DIM)


def test_what_does_not_fit_is_refused_in_words(temporal: Temporal) -> None:
    if not list(temporal.parameters()):
        pytest.skip("takes everything")
    with pytest.raises(ShapeError, match=rf"{temporal.name}: VideoFeatures.frame: expected {DIM} dimensions"):
        temporal(zeros(1, 2, DIM + 1))
    if hasattr(temporal.config, "max_frames"):
        with pytest.raises(
            ShapeError, match=rf"{temporal.name}: frames of a video: expected at most 8 .* got 9"
        ):
            temporal(zeros(1, 9))
