"""Token selection: how it starts, what it refuses, what the published code's ways change, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from framesift.errors import ConfigError, MissingFeatureError, ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import SelectedTokens
from framesift.metrics import t2v
from framesift.perturbed_top_k import perturbed_top_k
from framesift.temporal import TokenSelection, TokenSelectionConfig
from framesift.training.losses import symmetric_contrastive

DIM, FRAMES, PATCHES = 16, 4, 12
SIZES = {"dim": DIM, "num_layers": 1, "num_heads": 2, "num_positions": 20}


def videos(count: int = 3) -> VideoFeatures:
    generator = torch.Generator().manual_seed(1)
    patch = torch.randn(count, FRAMES, PATCHES, DIM, generator=generator)
    mask = torch.arange(FRAMES) < torch.tensor([[4], [2], [3]]).repeat(count, 1)[:count]
    return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 3}, "num_heads=3"),
        ({"dim": 5, "num_heads": 1}, "dim=5: expected an even number"),
        ({"num_selected": 1}, "num_selected=1"),
        ({"num_positions": 3}, "num_positions=3: expected at least num_selected=4"),
        ({"samples": 0}, "samples=0"),
        ({"sigma": 0.0}, r"sigma=0\.0"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenSelectionConfig(**{**SIZES, **change})


def test_features_that_do_not_fit_are_refused() -> None:
    temporal, video = TokenSelection(TokenSelectionConfig(**SIZES)), videos()
    with pytest.raises(MissingFeatureError, match="token_selection: needs patch tokens"):
        temporal(replace(video, patch=None))
    with pytest.raises(ShapeError, match=r"at least 4 tokens a frame .* of 16 dimensions"):
        temporal(replace(video, patch=video.patch[:, :, :3]))
    with pytest.raises(ShapeError, match=r"of 16 dimensions"):
        temporal(replace(video, patch=video.patch[..., :8]))


def test_evaluation_is_the_same_every_time_unless_it_is_noisy() -> None:
    torch.manual_seed(0)
    temporal = TokenSelection(TokenSelectionConfig(**SIZES, samples=8)).eval()
    noisy = TokenSelection(replace(temporal.config, noisy_evaluation=True)).eval()
    noisy.load_state_dict(temporal.state_dict())
    video = videos()
    assert torch.equal(temporal.select(video), temporal.select(video))
    assert not torch.equal(noisy.select(video), noisy.select(video))
    # the class token is kept as it is
    assert torch.equal(noisy.select(video)[:, :, 0], temporal.select(video)[:, :, 0])


def test_the_tiled_mask_lets_padding_in() -> None:
    torch.manual_seed(0)
    temporal = TokenSelection(TokenSelectionConfig(**SIZES)).eval()
    tiled = TokenSelection(replace(temporal.config, tile_mask=True)).eval()
    tiled.load_state_dict(temporal.state_dict())
    video = videos()
    right, released = temporal(video), tiled(video)
    torch.testing.assert_close(released.frame[0], right.frame[0])  # a full video
    assert released.frame_mask[1].tolist() == [True] * 4  # of [1, 1, 0, 0], entry 4 i modulo 4
    assert right.frame_mask[1].tolist() == [True, True, False, False]


def test_all_tokens_are_the_class_tokens_and_more() -> None:
    torch.manual_seed(0)
    temporal = TokenSelection(TokenSelectionConfig(**SIZES)).eval()
    every = TokenSelection(replace(temporal.config, all_tokens=True)).eval()
    every.load_state_dict(temporal.state_dict())
    assert (temporal.tokens_per_frame, every.tokens_per_frame) == (1, 4)
    found, video = every(videos()), temporal(videos())
    assert found.patch is None
    assert torch.equal(found.frame[:, ::4], video.frame)
    assert torch.equal(found.frame_mask[:, ::4], video.frame_mask)


def test_the_gradient_of_the_selection_is_that_of_its_expectation() -> None:
    """With many samples, the slope of a score is a finite difference of the expectation under the same noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 400_000, 3, generator=generator, dtype=torch.float64)
    score = torch.tensor([[0.1, 0.0, -0.05]], dtype=torch.float64, requires_grad=True)

    def first(score: torch.Tensor) -> torch.Tensor:
        return perturbed_top_k(score, 1, noise=noise, sigma=0.1)[0, 0, 0]

    first(score).backward()
    step = torch.tensor([[1e-2, 0.0, 0.0]], dtype=torch.float64)
    difference = (first(score.detach() + step) - first(score.detach() - step)) / 2e-2
    assert score.grad[0, 0].item() == pytest.approx(difference.item(), rel=0.05)


def test_it_learns_to_keep_the_tokens_that_answer() -> None:
    """In every frame one patch says what the text says, and is marked by a direction; new videos each step."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    temporal = TokenSelection(TokenSelectionConfig(**SIZES, num_selected=2, samples=50))
    matcher, scale = SelectedTokens(), torch.tensor(3.0)
    mark = torch.zeros(DIM)
    mark[0] = 3.0

    def batch() -> tuple[TextFeatures, VideoFeatures, torch.Tensor]:
        text = torch.randn(12, DIM, generator=generator)
        patch = torch.randn(12, FRAMES, PATCHES, DIM, generator=generator)
        place = torch.randint(1, PATCHES, (12, FRAMES), generator=generator)
        rows = (torch.arange(12)[:, None], torch.arange(FRAMES), place)
        patch[rows] = text[:, None] + mark
        frame = 0.1 * patch[:, :, 0]
        mask = torch.ones(12, FRAMES, dtype=torch.bool)
        return (
            TextFeatures(sentence=text),
            VideoFeatures(frame=frame, frame_mask=mask, patch=patch),
            patch[rows],
        )

    optimizer = torch.optim.Adam(temporal.parameters(), lr=3e-3)
    for _ in range(400):
        text, video, _ = batch()
        loss = symmetric_contrastive(matcher(text, temporal(video)), scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    text, video, answer = batch()
    with torch.no_grad():
        similarity = matcher(text, temporal.eval()(video))
        kept = (temporal.select(video)[:, :, 1] == answer).all(dim=2).float().mean()
    assert kept > 0.6  # 1 in 11 by chance
    assert t2v(similarity, torch.eye(12, dtype=torch.bool)).recall_at[1] > 80  # 1 in 12 by chance


def test_a_few_pairs_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    video, text = videos(6), TextFeatures(sentence=torch.randn(6, DIM))
    temporal, matcher = TokenSelection(TokenSelectionConfig(**SIZES, samples=20)), SelectedTokens()
    optimizer = torch.optim.Adam(temporal.parameters(), lr=1e-2)
    for _ in range(60):
        loss = symmetric_contrastive(matcher(text, temporal(video)), torch.tensor(3.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        similarity = matcher(text, temporal.eval()(video))
    assert t2v(similarity, torch.eye(6, dtype=torch.bool)).recall_at[1] == 100
