"""The cross transformer: pairs are independent, padding is never seen, gradients arrive, it learns, it is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from framesift import hub
from framesift.config import from_dict, to_dict
from framesift.encoders import load_encoder
from framesift.errors import ConfigError, ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool
from framesift.metrics import t2v, v2t
from framesift.model import RetrievalModel
from framesift.ranking import MemoryGallery, rank, rerank_similarity
from framesift.rerankers import CrossTransformer, CrossTransformerConfig, cross_transformer
from framesift.similarity import similarity_matrix
from framesift.temporal import Identity
from framesift.training.losses import symmetric_contrastive
from golden_files import GOLDEN_DIR, read_golden
from tiny_models import tiny_clip

DIM, FRAMES = 16, 5
CLOSE = {"atol": 2e-6, "rtol": 1e-5}


def build(*, dim: int = DIM, dropout: float = 0.0) -> CrossTransformer:
    reranker = CrossTransformer(
        CrossTransformerConfig(dim=dim, num_layers=2, num_heads=2, max_frames=8, dropout=dropout)
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in reranker.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return reranker.eval()


def features(texts: int = 4, videos: int = 6) -> tuple[TextFeatures, VideoFeatures]:
    """The second video has no real frame."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([[5], [0], [3], [1], [4], [2]])[:videos]
    return (
        TextFeatures(sentence=torch.randn(texts, DIM, generator=generator)),
        VideoFeatures(
            frame=torch.randn(videos, FRAMES, DIM, generator=generator),
            frame_mask=torch.arange(FRAMES) < lengths,
        ),
    )


def all_pairs(text: TextFeatures, video: VideoFeatures) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(len(text)), torch.arange(len(video)))


@torch.no_grad()
def test_a_score_depends_on_its_own_pair_only() -> None:
    reranker, (text, video) = build(), features()
    pairs = all_pairs(text, video)
    together = reranker(text, video, pairs)
    assert bool(together.isfinite().all())
    assert together.std() > 1e-2
    for (t, v), score in zip(pairs.tolist(), together, strict=True):
        alone = reranker(text[[t]], video[[v]], torch.zeros(1, 2, dtype=torch.long))
        torch.testing.assert_close(alone[0], score, **CLOSE)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(reranker(text, video, pairs[order]), together[order], **CLOSE)


@torch.no_grad()
def test_blocks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reranker, (text, video) = build(), features()
    pairs = all_pairs(text, video)
    together = reranker(text, video, pairs)
    for block in (1, 5, len(pairs)):
        monkeypatch.setattr(cross_transformer, "PAIR_BLOCK", block)
        torch.testing.assert_close(reranker(text, video, pairs), together, **CLOSE)
    assert reranker(text, video, pairs[:0]).shape == (0,)
    assert reranker(text[:0], video[:0], pairs[:0]).shape == (0,)


@pytest.mark.parametrize("filling", [0.0, 1e3, float("nan"), float("inf")])
@torch.no_grad()
def test_padding_changes_nothing_wherever_it_is_and_whatever_it_holds(filling: float) -> None:
    reranker, (text, video) = build(), features()
    padding = torch.full((len(video), 4, DIM), filling)
    none = torch.zeros(len(video), 4, dtype=torch.bool)
    longer = VideoFeatures(
        frame=torch.cat(
            [padding, video.frame.masked_fill(~video.frame_mask[..., None], filling), padding], dim=1
        ),
        frame_mask=torch.cat([none, video.frame_mask, none], dim=1),
    )
    pairs = all_pairs(text, video)
    torch.testing.assert_close(reranker(text, longer, pairs), reranker(text, video, pairs), **CLOSE)


def test_gradients_are_finite_and_reach_every_parameter_and_feature() -> None:
    reranker, (text, video) = build(dropout=0.1).train(), features()
    text.sentence.requires_grad_()
    video.frame.requires_grad_()
    torch.manual_seed(0)
    reranker(text, video, all_pairs(text, video)).square().sum().backward()
    leaves = {**dict(reranker.named_parameters()), "text": text.sentence, "frame": video.frame}
    for name, leaf in leaves.items():
        assert leaf.grad is not None, name
        assert bool(leaf.grad.isfinite().all()), name
        assert bool((leaf.grad != 0).any()), name
    assert bool((video.frame.grad[~video.frame_mask] == 0).all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_cuda_equals_cpu() -> None:
    reranker, (text, video) = build(), features()
    pairs = all_pairs(text, video)
    expected = reranker(text, video, pairs)
    found = reranker.to("cuda")(text.to("cuda"), video.to("cuda"), pairs.to("cuda"))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_what_does_not_fit_is_refused_in_words() -> None:
    reranker, (text, video) = build(), features()
    pairs = all_pairs(text, video)
    with pytest.raises(
        ShapeError, match=r"cross_transformer: TextFeatures\.sentence: expected 16 dimensions"
    ):
        reranker(TextFeatures(sentence=torch.zeros(4, DIM + 1)), video, pairs)
    with pytest.raises(ShapeError, match=r"cross_transformer: VideoFeatures\.frame: expected 16 dimensions"):
        reranker(text, VideoFeatures(frame=torch.zeros(6, 2, 8), frame_mask=video.frame_mask[:, :2]), pairs)
    long = VideoFeatures(frame=torch.zeros(6, 9, DIM), frame_mask=torch.ones(6, 9, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"frames of a video: expected at most 8 \(max_frames.* got 9"):
        reranker(text, long, pairs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"num_heads": 3, "dim": 16}, "num_heads=3: expected a divisor of dim=16"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"max_frames": 0}, "max_frames=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_sizes_that_cannot_be_built(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CrossTransformerConfig(**values)
    assert from_dict(CrossTransformerConfig, to_dict(CrossTransformerConfig())) == CrossTransformerConfig()


class Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 36, 48, 3), dtype=np.uint8)


class Shorter:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 36, 48, 3), dtype=np.uint8)


def test_it_starts_from_clips_text_tower() -> None:
    golden, _ = read_golden(GOLDEN_DIR / "clip4clip_e2e_meanP_b.safetensors")
    text = {key.removeprefix("param.clip."): x for key, x in golden.items() if key.startswith("param.clip.")}
    reranker = CrossTransformer(CrossTransformerConfig(dim=64, num_layers=2, num_heads=1, max_frames=19))
    own = {name: x.clone() for name, x in reranker.state_dict().items()}
    reranker.start_from(text)
    for name, x in reranker.state_dict().items():
        theirs = {"position_embedding.weight": "positional_embedding"}.get(name, f"transformer.res{name}")
        assert torch.equal(x, text.get(theirs, own[name])), name  # pooler and last map stay as they were
        assert (theirs in text) == (not name.startswith(("pooler.", "similarity_dense."))), name


def test_a_model_directory_keeps_it(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_clip(tmp_path / "clip", dim=DIM), device="cpu")
    reranker = build()
    hub.save(RetrievalModel(encoder, Identity(), MeanPool(), reranker), tmp_path / "model")
    model = hub.load(tmp_path / "model", device="cpu")
    assert isinstance(model.reranker, CrossTransformer)
    assert model.reranker.config == reranker.config
    text = model.encode_text(["a red circle", "two cats jump"])
    video = model.encode_video([Clip(), Shorter()])
    pairs = all_pairs(text, video)
    with torch.no_grad():
        assert torch.equal(model.reranker(text, video, pairs), reranker.eval()(text, video, pairs))


def test_it_learns_a_few_pairs_by_heart_and_ranks_a_whole_gallery() -> None:
    generator = torch.Generator().manual_seed(3)
    text = TextFeatures(sentence=torch.randn(6, DIM, generator=generator))
    video = VideoFeatures(
        frame=torch.randn(6, FRAMES, DIM, generator=generator),
        frame_mask=torch.arange(FRAMES) < torch.tensor([[5], [4], [3], [2], [1], [5]]),
    )
    torch.manual_seed(0)
    reranker = CrossTransformer(
        CrossTransformerConfig(dim=DIM, num_layers=1, num_heads=2, max_frames=FRAMES, dropout=0.0)
    )
    optimizer = torch.optim.Adam(reranker.parameters(), lr=1e-2)
    pairs = all_pairs(text, video)
    for _ in range(60):
        loss = symmetric_contrastive(reranker(text, video, pairs).view(6, 6), torch.tensor(0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reranker.eval()
    relevance = torch.eye(6, dtype=torch.bool)
    coarse = similarity_matrix(MeanPool(), text, video)
    for direction, metrics in (("t2v", t2v), ("v2t", v2t)):
        again = rerank_similarity(coarse, reranker, text, video, direction=direction, depth=6)
        assert metrics(again, relevance).recall_at[1] == 100.0
    ranking = rank(text, MemoryGallery(video), MeanPool(), reranker=reranker, rerank_depth=6)
    assert ranking.rows[:, 0].tolist() == list(range(6))
