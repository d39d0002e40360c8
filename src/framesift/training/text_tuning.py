"""Teach a text tower time: the text side of a dual encoder goes on with clips, before its frozen, cached frames.

Frames and captions alone leave out what comes first, so that no module over frames could ever tell *A, then B* from
*B, then A*: their sentences are embedded alike. Real CLIP knows a little of it from the captions of the web. Here the
text tower and a temporal transformer learn together, from videos with partial captions and from pairs that differ in
one thing only; the frames of a caption keep being its neighbours (the loss of frames), so that pooling works as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..encoders import Encoder
from ..evaluation.storyboard import encode_storyboards
from ..features import TextFeatures, VideoFeatures, unit
from ..hub import load, save
from ..matchers import MeanPool, SoftmaxPool, SoftmaxPoolConfig
from ..metrics import t2v
from ..model import RetrievalModel
from ..similarity import similarity_matrix
from ..storyboard import pair_choices
from ..temporal import Identity, TemporalTransformer, TemporalTransformerConfig
from .fit import FitConfig, fit
from .losses import symmetric_contrastive
from .storyboard_clips import ClipBatch, StoryboardClips, ValidationGalleries
from .storyboard_videos import cached_frames, storyboard_tokens

__all__ = ["TextTuningRecipe", "sentences", "tune_text"]

POSITION_STD = 0.5  # frame embeddings are about 24 long: CLIP4Clip's 0.02 would drown in them
TEXT_BUCKETS = 4


@dataclass(frozen=True, kw_only=True)
class TextTuningRecipe:
    """Recipe of an encoder whose text tower goes on.

    Attributes:
        encoder: name or directory of the model whose encoder it is.
        fit: ``batch_size`` counts the videos that are not of pairs.
        pairs: pairs of every kind in a batch.
        choice: weight of the choice between the two members of each pair.
        clips: folder of the cached tokens of the training videos, which other recipes share.
        train_videos, train_pairs: videos, and pairs of each kind.
        validation_videos, validation_pairs: the same for validation; the pairs are the next ones.
    """

    encoder: str
    fit: FitConfig
    pairs: dict[str, int]
    kind: str = "text"
    clips: str = "runs/clips"
    choice: float = 0.5
    temporal: TemporalTransformerConfig = field(
        default_factory=lambda: TemporalTransformerConfig(dim=256, num_layers=2, num_heads=4, max_frames=32)
    )
    train_videos: int = 4000
    train_pairs: int = 300
    validation_videos: int = 200
    validation_pairs: int = 40


def tune_text(recipe: TextTuningRecipe, folder: Path, *, report: Callable[[str], None]) -> None:
    """Train; ``folder/model`` becomes a model directory of the encoder with mean pooling."""
    encoder = load(recipe.encoder, device="cpu", backend="torch", dtype="fp32").encoder
    clips = StoryboardClips(videos=recipe.train_videos, pairs=recipe.train_pairs)
    frame, member_frame = (
        cached_frames(encoder, storyboard_tokens(Path(recipe.clips) / part, encoder, videos, report=report))
        for part, videos in (("videos", clips.videos), ("pairs", clips.members))
    )
    torch.manual_seed(recipe.fit.seed)
    temporal = TemporalTransformer(recipe.temporal)
    nn.init.normal_(temporal.position_embedding.weight, std=POSITION_STD)
    module = nn.ModuleDict({"encoder": encoder, "temporal": temporal})
    encoder.requires_grad_(False)
    encoder.model.text_model.requires_grad_(True)
    encoder.model.text_projection.requires_grad_(True)
    scale: nn.Parameter = encoder.model.logit_scale  # type: ignore[assignment]
    scale.requires_grad_(True)
    pool = MeanPool()

    def loss(batch: ClipBatch) -> Tensor:
        shown = torch.cat([frame[batch.rows], member_frame[batch.members]])
        text = sentences(encoder, [*batch.texts, *(clips.member_texts[row] for row in batch.members)])
        similarity = pool(TextFeatures(sentence=text), temporal(real(shown)))
        videos = len(batch.rows)
        still = videos + torch.tensor(batch.still)
        pictures = torch.cat(
            [shown[torch.arange(videos), batch.frames], shown[still, batch.member_frames[still - videos]]]
        )
        told = torch.cat([text[:videos], text[still]])
        contrast = symmetric_contrastive(similarity, scale) + symmetric_contrastive(
            unit(told) @ unit(pictures).T, scale
        )
        return contrast / 2 + recipe.choice * _choice(similarity[videos:, videos:] * scale.exp())

    validation = _Validation(recipe, encoder)
    fit(
        module,
        lambda first: clips.draw(
            range(first, recipe.fit.steps),
            videos=recipe.fit.batch_size,
            pairs=recipe.pairs,
            seed=recipe.fit.seed * 1_000_003,
        ),
        loss,
        config=recipe.fit,
        folder=folder,
        logit_scale=scale,
        evaluate=lambda: validation.measure(encoder, temporal),
        report=report,
    )
    encoder.requires_grad_(True)
    model = RetrievalModel(encoder, Identity(), pool, logit_scale=scale.item(), name="storyboard-clip")
    save(model, folder / "model", dtype="fp16")


def sentences(encoder: Encoder, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
    """Sentence embeddings with gradients, in groups of like length: less padding, the same values."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    buckets = np.array_split(np.array(order), min(TEXT_BUCKETS, len(texts)))
    groups: list[list[int]] = [part.tolist() for part in buckets]
    parts = [encoder.forward_text(*encoder.tokenize([texts[row] for row in group])) for group in groups]
    return torch.cat(parts)[torch.argsort(torch.tensor(order))]


def real(frame: Float[Tensor, "video frame dim"]) -> VideoFeatures:
    """Videos without padding."""
    return VideoFeatures(frame=frame, frame_mask=torch.ones(frame.shape[:2], dtype=torch.bool))


class _Validation:
    """The ``standard`` gallery of the validation split, and pairs that follow those of training."""

    def __init__(self, recipe: TextTuningRecipe, encoder: Encoder) -> None:
        galleries = ValidationGalleries(
            videos=recipe.validation_videos, pairs=recipe.validation_pairs, first_pair=recipe.train_pairs
        )
        self.relevance, self.texts = galleries.relevance, galleries.texts
        self.videos = {part: encode_storyboards(encoder, own) for part, own in galleries.videos.items()}

    def measure(self, encoder: Encoder, temporal: TemporalTransformer) -> dict[str, float]:
        """R@1 of mean and softmax pooling and behind the temporal transformer; how often pairs are told apart."""
        found: dict[str, float] = {}
        for part, video in self.videos.items():
            with torch.no_grad():
                clip = temporal(video)
            text = encoder.encode_text(self.texts[part])
            if part == "standard":
                soft = SoftmaxPool(SoftmaxPoolConfig(temperature=0.02))
                for name, matcher, seen in (
                    ("mean", MeanPool(), video),
                    ("soft", soft, video),
                    ("temporal", MeanPool(), clip),
                ):
                    recall = t2v(similarity_matrix(matcher, text, seen), self.relevance).recall_at[1]
                    found[f"r1_{name}"] = recall
            else:
                for name, seen in (("mean", video), ("temporal", clip)):
                    found[f"{part}_{name}"] = told_apart(similarity_matrix(MeanPool(), text, seen))
        return found


def told_apart(similarity: Float[Tensor, "text video"]) -> float:
    """How often a text of a pair (rows 2i and 2i + 1) prefers its own video, in percent; a tie counts as half."""
    of_videos, _ = pair_choices(similarity.detach().cpu().numpy())
    return 100 * float(of_videos.mean())


def _choice(logits: Float[Tensor, "text video"]) -> Tensor:
    """Two-way cross-entropy inside pairs, of the two videos and of the two texts, added."""
    row = torch.arange(len(logits))
    own = logits[row, row]
    return (softplus(logits[row, row ^ 1] - own) + softplus(logits[row ^ 1, row] - own)).mean()
