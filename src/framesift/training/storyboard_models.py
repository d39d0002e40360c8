"""Train the bundled models: ``python -m framesift.training.storyboard_models RECIPE --output DIR``.

Two recipes: a dual encoder of the CLIP architecture from scratch (symmetric contrastive loss between frames and
captions), and a matcher on top of its frozen features. Both resume when they are run again.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..config import load_toml
from ..encoders import load_encoder
from ..encoders.scratch import ClipSizes, create_clip
from ..evaluation.storyboard import encode_storyboards
from ..features import TextFeatures, VideoFeatures, unit
from ..hub import load, save
from ..matchers import Matcher, MeanPool, SoftmaxPool, SoftmaxPoolConfig, XPool, XPoolConfig
from ..metrics import t2v
from ..model import RetrievalModel
from ..similarity import similarity_matrix
from ..storyboard import Slice, captions, standard, storyboards
from ..temporal import Identity
from .fit import FitConfig, fit
from .losses import symmetric_contrastive
from .storyboard_frames import FrameBatch, frame_batches

__all__ = ["ClipRecipe", "XPoolRecipe", "train_clip", "train_xpool"]

TEXT_BUCKETS = 4
"""Texts of a batch go through the tower in this many groups of like length: less padding, the same loss."""


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """Recipe of a dual encoder.

    Attributes:
        num_captions: captions a frame in every batch; texts are cheap beside pixels.
        corpus_videos: training videos whose captions the tokenizer is learned from.
        validation_videos: size of the validation gallery.
    """

    fit: FitConfig
    sizes: ClipSizes = field(default_factory=ClipSizes)
    num_captions: int = 2
    corpus_videos: int = 1500
    validation_videos: int = 200


@dataclass(frozen=True, kw_only=True)
class XPoolRecipe:
    """Recipe of an X-Pool head on the frozen features of ``encoder``.

    Attributes:
        encoder: name or directory of the model whose encoder is used.
        train_videos: training videos whose frame embeddings are computed once.
    """

    encoder: str
    fit: FitConfig
    matcher: XPoolConfig
    train_videos: int = 8000
    validation_videos: int = 500


def recall(matcher: Matcher, text: TextFeatures, video: VideoFeatures, gallery: Slice) -> float:
    """t2v R@1 on a gallery, in percent."""
    return t2v(similarity_matrix(matcher, text, video), torch.from_numpy(gallery.relevance)).recall_at[1]


def train_clip(recipe: ClipRecipe, folder: Path, *, report: Callable[[str], None]) -> None:
    """Train the dual encoder; ``folder/model`` becomes a model directory with mean pooling."""
    start = folder / "untrained"
    if not (start / "model.safetensors").exists():
        corpus = [
            caption.text
            for video in storyboards("train", recipe.corpus_videos)
            for caption in captions(video)
        ]
        generator = torch.Generator().manual_seed(recipe.fit.seed)
        create_clip(start, recipe.sizes, corpus=corpus, generator=generator)
    encoder = load_encoder(start, device="cpu")
    scale: nn.Parameter = encoder.model.logit_scale  # type: ignore[assignment]
    gallery = standard(recipe.validation_videos, split="val")

    def sentences(texts: list[str]) -> Tensor:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        groups = np.array_split(np.array(order), TEXT_BUCKETS)
        parts = [encoder.forward_text(*encoder.tokenize([texts[i] for i in group])) for group in groups]
        return torch.cat(parts)[torch.argsort(torch.tensor(order))]

    def loss(batch: FrameBatch) -> Tensor:
        pixels, texts = batch
        frame = unit(encoder.forward_pixels(encoder.preprocess(pixels)))
        text = unit(sentences([line for lines in texts for line in lines]))
        losses = [symmetric_contrastive(part @ frame.T, scale) for part in text.chunk(len(texts))]
        return torch.stack(losses).mean()

    def evaluate() -> dict[str, float]:
        text, video = encoder.encode_text(gallery.texts), encode_storyboards(encoder, gallery.videos)
        soft = SoftmaxPool(SoftmaxPoolConfig(temperature=0.02))
        return {
            "val_r1_mean_pool": recall(MeanPool(), text, video, gallery),
            "val_r1_softmax_pool": recall(soft, text, video, gallery),
        }

    def batches(first: int) -> Iterable[FrameBatch]:
        return frame_batches(
            batch_size=recipe.fit.batch_size,
            size_px=recipe.sizes.image_size_px,
            num_captions=recipe.num_captions,
            seed=recipe.fit.seed,
            first=first,
            steps=recipe.fit.steps,
        )

    fit(
        encoder,
        batches,
        loss,
        config=recipe.fit,
        folder=folder,
        logit_scale=scale,
        evaluate=evaluate,
        report=report,
    )
    model = RetrievalModel(encoder, Identity(), MeanPool(), logit_scale=scale.item(), name="storyboard-clip")
    save(model, folder / "model", dtype="fp16")


def train_xpool(recipe: XPoolRecipe, folder: Path, *, report: Callable[[str], None]) -> None:
    """Train an X-Pool head on frozen features; ``folder/model`` becomes a model directory that shares the encoder."""
    encoder = load(recipe.encoder, device="cpu").encoder
    folder.mkdir(parents=True, exist_ok=True)
    videos = storyboards("train", recipe.train_videos)
    cache = folder / "features.pt"
    if not cache.exists():
        report(f"encoding {len(videos)} training videos")
        texts = [[caption.text for caption in captions(video)] for video in videos]
        flat = encoder.encode_text([text for own in texts for text in own]).sentence
        frame = encode_storyboards(encoder, videos).frame
        torch.save({"text": flat, "counts": torch.tensor([len(own) for own in texts]), "frame": frame}, cache)
    features = torch.load(cache, weights_only=True)
    text, frame = features["text"], features["frame"]
    ends = features["counts"].cumsum(0)
    starts = ends - features["counts"]
    gallery = standard(recipe.validation_videos, split="val")
    val_text, val_video = encoder.encode_text(gallery.texts), encode_storyboards(encoder, gallery.videos)

    torch.manual_seed(recipe.fit.seed)
    matcher = XPool(recipe.matcher)
    scale = nn.Parameter(torch.tensor(encoder.logit_scale or math.log(1 / 0.07)))
    module = nn.ModuleDict({"matcher": matcher})
    module.register_parameter("logit_scale", scale)

    def batches(first: int) -> Iterable[tuple[TextFeatures, VideoFeatures]]:
        for step in range(first, recipe.fit.steps):
            generator = torch.Generator().manual_seed(recipe.fit.seed * 1_000_003 + step)
            rows = torch.randperm(len(frame), generator=generator)[: recipe.fit.batch_size]
            share = torch.rand(len(rows), generator=generator)
            chosen = starts[rows] + (share * (ends - starts)[rows]).long()
            mask = torch.ones(frame[rows].shape[:2], dtype=torch.bool)
            yield TextFeatures(sentence=text[chosen]), VideoFeatures(frame=frame[rows], frame_mask=mask)

    def loss(batch: tuple[TextFeatures, VideoFeatures]) -> Tensor:
        return symmetric_contrastive(matcher(*batch), scale)

    def evaluate() -> dict[str, float]:
        return {
            "val_r1_xpool": recall(matcher, val_text, val_video, gallery),
            "val_r1_mean_pool": recall(MeanPool(), val_text, val_video, gallery),
        }

    fit(
        module,
        batches,
        loss,
        config=recipe.fit,
        folder=folder,
        logit_scale=scale,
        evaluate=evaluate,
        report=report,
    )
    model = RetrievalModel(encoder, Identity(), matcher, logit_scale=scale.item(), name="storyboard-xpool")
    save(model, folder / "model", encoder_from=recipe.encoder)


def main(arguments: list[str] | None = None) -> None:
    """Train one recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="e.g. fit.lr=1e-4")
    options = parser.parse_intermixed_args(arguments)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if "clip" in options.recipe.stem:
        clip = load_toml(options.recipe, ClipRecipe, overrides=options.overrides)
        train_clip(clip, options.output, report=report)
    else:
        xpool = load_toml(options.recipe, XPoolRecipe, overrides=options.overrides)
        train_xpool(xpool, options.output, report=report)
    model = options.output / "model"
    shutil.copy(options.recipe, model / "recipe.toml")
    shutil.copy(options.output / "log.jsonl", model / "log.jsonl")


if __name__ == "__main__":
    main()
