"""Continue a dual encoder that was trained on single frames with videos of Storyboard, in two stages.

Frames and captions alone leave two things out. A frame's embedding says what is in it but not where, since no caption
needs that; and a sentence's embedding does not say what comes first. So no module over frames could ever tell a motion
from its reverse, or *A, then B* from *B, then A*. Real CLIP knows a little of both from the captions of the web.

*Vision*: the upper blocks of the visual tower, the text tower and a temporal transformer learn together, from clips
whose lower blocks are computed once. Beside the contrastive losses of clips and of frames there are a choice between the
two members of each pair (:func:`.training_pairs`), and a linear map that must find the objects' centre of mass in every
frame's embedding. *Text*: the visual tower stays as it is, and larger batches are cheap, with more pairs in which only
time differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..encoders import Encoder
from ..features import TextFeatures, VideoFeatures, unit
from ..hub import load, save
from ..matchers import MeanPool, SoftmaxPool, SoftmaxPoolConfig
from ..metrics import t2v
from ..model import RetrievalModel
from ..similarity import similarity_matrix
from ..storyboard import PAIR_KINDS, Caption, Slice, captions, standard, storyboards, training_pairs
from ..temporal import TemporalTransformer, TemporalTransformerConfig
from .fit import FitConfig, fit
from .losses import symmetric_contrastive
from .storyboard_videos import (
    NUM_FRAMES,
    centres,
    frame_times_s,
    lower_blocks,
    storyboard_tokens,
    upper_blocks,
)

__all__ = ["VideoTuningRecipe", "train_on_videos"]

STILL = ("binding", "small-object", "count")  # kinds of pairs that any single frame tells apart
POSITION_SPREAD = 0.16  # of the objects' centres, so that the loss of guessing their mean is about 1
POSITION_STD = 0.5  # frame embeddings are about 24 long: the positions must not drown in them
TEXT_BUCKETS = 4


@dataclass(frozen=True, kw_only=True)
class VideoStage:
    """One of the two stages.

    Attributes:
        fit: its optimiser steps; ``batch_size`` counts the videos that are not of pairs.
        pairs: pairs of every kind in a batch.
        captions: captions a video in a batch.
        choice, position: weights of the choice between the members of pairs, and of finding the objects.
    """

    fit: FitConfig
    pairs: dict[str, int]
    captions: int = 1
    choice: float = 0.5
    position: float = 0.0


@dataclass(frozen=True, kw_only=True)
class VideoTuningRecipe:
    """Recipe of an encoder that goes on from ``encoder``.

    Attributes:
        frozen_blocks: lower blocks of the visual tower that stay as they are.
        train_videos, train_pairs: videos, and pairs of each kind.
        validation_videos, validation_pairs: the same for validation; the pairs are the next ones.
    """

    encoder: str
    vision: VideoStage
    text: VideoStage
    temporal: TemporalTransformerConfig = field(
        default_factory=lambda: TemporalTransformerConfig(dim=256, num_layers=2, num_heads=4, max_frames=32)
    )
    frozen_blocks: int = 3
    train_videos: int = 6000
    train_pairs: int = 500
    validation_videos: int = 200
    validation_pairs: int = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Rows of the videos and of the members of pairs, and what is said of them."""

    rows: list[int]
    texts: list[str]
    frames: Int64[Tensor, " caption"]
    members: list[int]
    still: list[int]
    member_frames: Int64[Tensor, " member"]


class _Clips:
    """The training videos: frames, captions and where the objects are."""

    def __init__(self, recipe: VideoTuningRecipe, encoder: Encoder, folder: Path) -> None:
        self.videos = storyboards("train", recipe.train_videos)
        self.captions = [captions(video) for video in self.videos]
        pairs = {kind: training_pairs(kind, recipe.train_pairs) for kind in PAIR_KINDS}
        self.members = [video for own in pairs.values() for pair in own for video in pair.videos]
        self.member_texts = [
            caption.text for own in pairs.values() for pair in own for caption in pair.captions
        ]
        self.first = {kind: 2 * number * recipe.train_pairs for number, kind in enumerate(pairs)}
        self.num_pairs = recipe.train_pairs
        self.times_s = [frame_times_s(video) for video in self.videos]
        tokens, name = lower_blocks(recipe.frozen_blocks), f"lower {recipe.frozen_blocks}"
        caches = [
            storyboard_tokens(folder / part, encoder, videos, tokens, name=name)
            for part, videos in (("lower-videos", self.videos), ("lower-pairs", self.members))
        ]
        self.lower, self.member_lower = (_patches(cache.mapped()) for cache in caches)

    def draw(self, stage: VideoStage, *, first: int, salt: int) -> Iterator[_Batch]:
        """Batches from step ``first`` on; each is a function of the seed and its number."""
        for step in range(first, stage.fit.steps):
            generator = torch.Generator().manual_seed(salt + stage.fit.seed * 1_000_003 + step)

            def below(bound: int, generator: torch.Generator = generator) -> int:
                return int(torch.randint(bound, (), generator=generator))

            rows = torch.randperm(len(self.videos), generator=generator)[: stage.fit.batch_size].tolist()
            texts: list[str] = []
            frames: list[int] = []
            for row in rows * stage.captions:
                caption = self.captions[row][below(len(self.captions[row]))]
                shown = _frames_of(caption, self.times_s[row])
                frames.append(shown[below(len(shown))])
                texts.append(caption.text)
            members: list[int] = []
            still: list[int] = []
            for kind, count in stage.pairs.items():
                for pair in torch.randperm(self.num_pairs, generator=generator)[:count].tolist():
                    for member in (0, 1):
                        if kind in STILL:
                            still.append(len(members))
                        members.append(self.first[kind] + 2 * pair + member)
            yield _Batch(
                rows=rows,
                texts=texts,
                frames=torch.tensor(frames),
                members=members,
                still=still,
                member_frames=torch.randint(NUM_FRAMES, (len(members),), generator=generator),
            )


class _Run:
    """The modules that learn, their loss on a batch, and their validation."""

    def __init__(self, recipe: VideoTuningRecipe, encoder: Encoder, clips: _Clips) -> None:
        self.recipe, self.encoder, self.clips = recipe, encoder, clips
        torch.manual_seed(recipe.vision.fit.seed)
        self.temporal = TemporalTransformer(recipe.temporal)
        nn.init.normal_(self.temporal.position_embedding.weight, std=POSITION_STD)
        self.where = nn.Linear(encoder.dim, 2)
        self.module = nn.ModuleDict({"encoder": encoder, "temporal": self.temporal, "where": self.where})
        self.scale: nn.Parameter = encoder.model.logit_scale
        self.pool = MeanPool()

    def learn(self, parts: Sequence[nn.Module]) -> None:
        """Let these parts of the encoder learn, and no others."""
        self.encoder.requires_grad_(False)
        for part in parts:
            part.requires_grad_(True)
        self.scale.requires_grad_(True)

    def sentences(self, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
        """Sentence embeddings with gradients, in groups of like length: less padding."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        groups = np.array_split(np.array(order), TEXT_BUCKETS)
        parts = [
            self.encoder.forward_text(*self.encoder.tokenize([texts[row] for row in group]))
            for group in groups
        ]
        return torch.cat(parts)[torch.argsort(torch.tensor(order))]

    def loss(self, stage: VideoStage, batch: _Batch, frame: Float[Tensor, "video frame dim"]) -> Tensor:
        """Of a batch whose frames, those of the pairs last, are embedded already."""
        videos, members = len(batch.rows), len(batch.members)
        text = self.sentences([*batch.texts, *(self.clips.member_texts[row] for row in batch.members)])
        told = text[len(batch.texts) :]
        clip = self.temporal(_real(frame))
        still = torch.tensor(batch.still)
        still_frame = frame[videos + still, batch.member_frames[still]]
        contrasts: list[Tensor] = []
        for own, shown in zip(
            text[: len(batch.texts)].split(videos), batch.frames.split(videos), strict=True
        ):
            every = TextFeatures(sentence=torch.cat([own, told]))
            contrasts.append(symmetric_contrastive(self.pool(every, clip), self.scale))
            pictures = torch.cat([frame[torch.arange(videos), shown], still_frame])
            similarity = unit(torch.cat([own, told[still]])) @ unit(pictures).T
            contrasts.append(symmetric_contrastive(similarity, self.scale))
        total = torch.stack(contrasts).mean()
        pair = self.pool(TextFeatures(sentence=told), clip[torch.arange(videos, videos + members)])
        total = total + stage.choice * _choice(pair * self.scale.exp())
        if stage.position:
            centre = torch.cat([self.centre[batch.rows], self.member_centre[batch.members]])
            found = self.where(unit(frame) * frame.shape[-1] ** 0.5)
            total = total + stage.position * (found - centre).square().mean() / POSITION_SPREAD**2
        return total

    def centres(self) -> None:
        """Where the objects are in every frame: what the position loss asks for."""
        self.centre = torch.stack([centres(video) for video in self.clips.videos])
        self.member_centre = torch.stack([centres(video) for video in self.clips.members])

    def frames(self, lower: Tensor) -> Float[Tensor, "video frame dim"]:
        """Frame embeddings of clips, from what the lower blocks made of them."""
        flat = upper_blocks(self.encoder, lower.float().flatten(0, 1), first=self.recipe.frozen_blocks)
        return flat.float().view(*lower.shape[:2], -1)


def train_on_videos(
    recipe: VideoTuningRecipe, folder: Path, *, report: Callable[[str], None]
) -> RetrievalModel:
    """Both stages; ``folder/model`` becomes a model directory of the encoder with mean pooling.

    Returns:
        The encoder with the temporal transformer that it learned with.
    """
    encoder = load(recipe.encoder, device="cpu").encoder
    clips = _Clips(recipe, encoder, folder)
    run = _Run(recipe, encoder, clips)
    run.centres()
    validation = _Validation(recipe, encoder, folder / "lower-validation")
    tower = encoder.model.vision_model
    text_parts = [encoder.model.text_model, encoder.model.text_projection]
    vision_parts = [tower.encoder.layers[recipe.frozen_blocks :], tower.post_layernorm]

    def seen_frames(batch: _Batch) -> Tensor:
        lower = torch.cat([clips.lower[batch.rows], clips.member_lower[batch.members]])
        with torch.autocast("cpu", torch.bfloat16):
            return run.frames(lower)

    run.learn([*vision_parts, encoder.model.visual_projection, *text_parts])
    _fit(run, recipe.vision, folder / "vision", VISION_SALT, seen_frames, validation, report)

    with torch.no_grad():
        frame, member_frame = (
            torch.cat([run.frames(part) for part in lower.split(32)])
            for lower in (clips.lower, clips.member_lower)
        )
    run.learn(text_parts)
    _fit(
        run,
        recipe.text,
        folder / "text",
        TEXT_SALT,
        lambda batch: torch.cat([frame[batch.rows], member_frame[batch.members]]),
        validation,
        report,
    )
    scale = run.scale.item()
    save(
        RetrievalModel(encoder, load(recipe.encoder, device="cpu").temporal, MeanPool(), logit_scale=scale),
        folder / "model",
        dtype="fp16",
    )
    return RetrievalModel(encoder, run.temporal, MeanPool(), logit_scale=scale)


VISION_SALT, TEXT_SALT = 77_000_003, 99_000_003  # the two stages draw different batches


def _fit(
    run: _Run,
    stage: VideoStage,
    folder: Path,
    salt: int,
    frames: Callable[[_Batch], Tensor],
    validation: _Validation,
    report: Callable[[str], None],
) -> None:
    fit(
        run.module,
        lambda first: run.clips.draw(stage, first=first, salt=salt),
        lambda batch: run.loss(stage, batch, frames(batch)),
        config=stage.fit,
        folder=folder,
        logit_scale=run.scale,
        evaluate=lambda: validation.measure(run),
        report=report,
    )


class _Validation:
    """The ``standard`` gallery of the validation split, and pairs that follow those of training."""

    def __init__(self, recipe: VideoTuningRecipe, encoder: Encoder, folder: Path) -> None:
        self.gallery: Slice = standard(recipe.validation_videos, split="val")
        pairs = {
            kind: training_pairs(kind, recipe.validation_pairs, start=recipe.train_pairs)
            for kind in PAIR_KINDS
        }
        self.texts = {kind: [c.text for pair in own for c in pair.captions] for kind, own in pairs.items()}
        videos = {kind: [v for pair in own for v in pair.videos] for kind, own in pairs.items()}
        tokens, name = lower_blocks(recipe.frozen_blocks), f"lower {recipe.frozen_blocks}"
        self.lower = {
            part: _patches(storyboard_tokens(folder / part, encoder, own, tokens, name=name).mapped())
            for part, own in {"standard": self.gallery.videos, **videos}.items()
        }

    def measure(self, run: _Run) -> dict[str, float]:
        """R@1 of mean pooling, of softmax pooling and behind the temporal transformer; how often pairs are told apart."""
        found: dict[str, float] = {}
        relevance = torch.from_numpy(self.gallery.relevance)
        soft = SoftmaxPool(SoftmaxPoolConfig(temperature=0.02))
        for part, lower in self.lower.items():
            with torch.no_grad():
                video = _real(torch.cat([run.frames(piece) for piece in lower.split(32)]))
                clip = run.temporal(video)
            text = run.encoder.encode_text(self.gallery.texts if part == "standard" else self.texts[part])
            for name, matcher, seen in (
                ("mean", run.pool, video),
                ("soft", soft, video),
                ("temporal", run.pool, clip),
            ):
                similarity = similarity_matrix(matcher, text, seen)
                if part == "standard":
                    found[f"r1_{name}"] = t2v(similarity, relevance).recall_at[1]
                elif name != "soft":
                    found[f"{part}_{name}"] = _told_apart(similarity)
        return found


def _choice(logits: Float[Tensor, "text video"]) -> Tensor:
    """Two-way cross-entropy inside pairs (rows 2i and 2i + 1), of the two videos and of the two texts, added."""
    row = torch.arange(len(logits))
    own = logits[row, row]
    return (softplus(logits[row, row ^ 1] - own) + softplus(logits[row ^ 1, row] - own)).mean()


def _told_apart(similarity: Float[Tensor, "text video"]) -> float:
    """How often a text of a pair prefers its own video, in percent; a tie counts as half."""
    row = torch.arange(len(similarity))
    own, other = similarity[row, row], similarity[row, row ^ 1]
    return 100 * float(((own > other).double() + 0.5 * (own == other).double()).mean())


def _real(frame: Float[Tensor, "video frame dim"]) -> VideoFeatures:
    return VideoFeatures(frame=frame, frame_mask=torch.ones(frame.shape[:2], dtype=torch.bool))


def _patches(video: VideoFeatures) -> Tensor:
    assert video.patch is not None
    return video.patch


def _frames_of(caption: Caption, times_s: np.ndarray[Any, Any]) -> list[int]:
    """Numbers of the frames that lie in the caption's moment, or of the one nearest to its middle."""
    inside = np.flatnonzero((times_s >= caption.start_s) & (times_s < caption.end_s)).tolist()
    return inside or [int(np.abs(times_s - (caption.start_s + caption.end_s) / 2).argmin())]
