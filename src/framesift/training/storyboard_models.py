"""Train the bundled models: ``python -m framesift.training.storyboard_models RECIPE --output DIR``.

Three kinds of recipe: ``frames``, a dual encoder of the CLIP architecture from frames and captions, from scratch or
going on; ``text``, its text tower going on with clips (:mod:`.text_tuning`); ``head``, the head of a system on the
frozen encoder (:mod:`.storyboard_heads`). All resume when they are run again.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..config import load_toml
from ..encoders import Encoder, load_encoder
from ..encoders.scratch import ClipSizes, create_clip
from ..errors import ConfigError
from ..evaluation.storyboard import encode_storyboards
from ..features import TextFeatures, VideoFeatures, unit
from ..hub import load, save
from ..matchers import Matcher, MeanPool, SoftmaxPool, SoftmaxPoolConfig
from ..metrics import t2v
from ..model import RetrievalModel
from ..similarity import similarity_matrix
from ..storyboard import Slice, captions, standard, storyboards
from ..temporal import Identity
from .fit import FitConfig, fit
from .losses import symmetric_contrastive
from .storyboard_frames import FrameBatch, StoryboardFrames, frame_batches
from .storyboard_heads import HeadRecipe, train_head
from .text_tuning import TextTuningRecipe, sentences, tune_text

__all__ = ["KINDS", "ClipRecipe", "train_clip"]

CENTRE_GAIN = 4.0  # of unit embeddings, for a map whose weights need not grow long
CENTRE_SPREAD = 0.16  # standard deviation of the centres, so that the loss of guessing their mean is about 1


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """Recipe of a dual encoder.

    Attributes:
        start: model directory whose encoder it goes on from; empty: random weights.
        positions: norm that the table of patch positions is given anew before a continued run, as sines and cosines of
            row and column; 0: it stays. Patches are embedded 45 long, and a table that starts at 0.3 never counts.
        num_captions: captions a frame in every batch; texts are cheap beside pixels.
        pairs: share of the frames that come as two that differ in one thing only (:func:`.training_pairs`).
        centre: weight of a linear map that must find the objects' centre of mass in a frame's embedding. No caption
            says where in the picture something is, and without that nobody sees a motion.
        corpus_videos: training videos whose captions the tokenizer is learned from.
        validation_videos: size of the validation gallery.
    """

    fit: FitConfig
    kind: str = "frames"
    start: str = ""
    positions: float = 0.0
    sizes: ClipSizes = field(default_factory=ClipSizes)
    num_captions: int = 2
    pairs: float = 0.0
    centre: float = 0.0
    corpus_videos: int = 1500
    validation_videos: int = 200
    bf16: bool = False


def _starting_encoder(recipe: ClipRecipe, untrained: Path) -> Encoder:
    if recipe.start:
        encoder = load(recipe.start, device="cpu", backend="torch", dtype="fp32").encoder
        if recipe.positions:
            _set_positions(encoder, recipe.positions)
        return encoder
    if not (untrained / "model.safetensors").exists():
        corpus = [
            caption.text
            for video in storyboards("train", recipe.corpus_videos)
            for caption in captions(video)
        ]
        generator = torch.Generator().manual_seed(recipe.fit.seed)
        create_clip(untrained, recipe.sizes, corpus=corpus, generator=generator)
    return load_encoder(untrained, device="cpu")


def _class_token(encoder: Encoder, pixels: Tensor) -> Tensor:
    """Frame embeddings, with gradients. The last block is computed for the class token alone, which alone is read."""
    tower: Any = encoder.model.vision_model
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    *blocks, last = tower.encoder.layers
    for block in blocks:
        hidden = block(hidden, attention_mask=None)
    attention, normed = last.self_attn, last.layer_norm1(hidden)
    frames, _, width = normed.shape

    def heads(x: Tensor) -> Tensor:
        return x.view(frames, -1, attention.num_heads, width // attention.num_heads).transpose(1, 2)

    query, key, value = attention.q_proj(normed[:, :1]), attention.k_proj(normed), attention.v_proj(normed)
    seen = scaled_dot_product_attention(heads(query), heads(key), heads(value), scale=attention.scale)
    token = hidden[:, :1] + attention.out_proj(seen.transpose(1, 2).reshape(frames, 1, width))
    token = token + last.mlp(last.layer_norm2(token))
    model: Any = encoder.model
    return model.visual_projection(tower.post_layernorm(token[:, 0]))


@torch.no_grad()
def _set_positions(encoder: Encoder, norm: float) -> None:
    """Give the patches sines and cosines of their row and column as positions; the class token keeps its own."""
    tower: Any = encoder.model.vision_model
    table: Tensor = tower.embeddings.position_embedding.weight
    side = math.isqrt(len(table) - 1)
    frequencies = math.pi * torch.arange(1, table.shape[1] // 4 + 1) ** 0.5
    along = (torch.arange(side) + 0.5)[:, None] / side * frequencies
    waves = torch.cat([along.sin(), along.cos()], dim=1)
    rows, columns = waves.repeat_interleave(side, dim=0), waves.repeat(side, 1)
    positions = torch.cat([rows, columns], dim=1)
    table[1:] = norm * unit(positions)


def recall(matcher: Matcher, text: TextFeatures, video: VideoFeatures, gallery: Slice) -> float:
    """t2v R@1 on a gallery, in percent."""
    return t2v(similarity_matrix(matcher, text, video), torch.from_numpy(gallery.relevance)).recall_at[1]


def train_clip(recipe: ClipRecipe, folder: Path, *, report: Callable[[str], None]) -> None:
    """Train the dual encoder; ``folder/model`` becomes a model directory with mean pooling."""
    encoder = _starting_encoder(recipe, folder / "untrained")
    scale: nn.Parameter = encoder.model.logit_scale  # type: ignore[assignment]
    torch.manual_seed(recipe.fit.seed)
    where = nn.Linear(encoder.dim, 2)
    module = nn.ModuleDict({"encoder": encoder, "where": where}) if recipe.centre else encoder
    config: Any = encoder.model.config
    frames = StoryboardFrames(
        batch_size=recipe.fit.batch_size,
        size_px=config.vision_config.image_size,
        num_captions=recipe.num_captions,
        seed=recipe.fit.seed,
        pairs=recipe.pairs,
    )
    gallery = standard(recipe.validation_videos, split="val")

    def loss(batch: FrameBatch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            frame = unit(_class_token(encoder, encoder.preprocess(batch.pixels)).float())
        text = unit(sentences(encoder, [line for lines in batch.texts for line in lines]))
        losses = [symmetric_contrastive(part @ frame.T, scale) for part in text.chunk(len(batch.texts))]
        total = torch.stack(losses).mean()
        if recipe.centre:
            missed = where(frame * CENTRE_GAIN) - torch.from_numpy(batch.centres)
            total = total + recipe.centre * missed.square().mean() / CENTRE_SPREAD**2
        return total

    def evaluate() -> dict[str, float]:
        text, video = encoder.encode_text(gallery.texts), encode_storyboards(encoder, gallery.videos)
        soft = SoftmaxPool(SoftmaxPoolConfig(temperature=0.02))
        return {
            "val_r1_mean_pool": recall(MeanPool(), text, video, gallery),
            "val_r1_softmax_pool": recall(soft, text, video, gallery),
        }

    def batches(first: int) -> Iterable[FrameBatch]:
        return frame_batches(frames, first=first, steps=recipe.fit.steps)

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
    model = RetrievalModel(encoder, Identity(), MeanPool(), logit_scale=scale.item(), name="storyboard-clip")
    save(model, folder / "model", dtype="fp16")


KINDS: dict[str, tuple[type[Any], Callable[..., None]]] = {
    "frames": (ClipRecipe, train_clip),
    "text": (TextTuningRecipe, tune_text),
    "head": (HeadRecipe, train_head),
}
"""Kind of recipe -> its class and what trains it."""


def main(arguments: list[str] | None = None) -> None:
    """Train one recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="e.g. fit.lr=1e-4")
    options = parser.parse_intermixed_args(arguments)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    kind = tomllib.loads(options.recipe.read_text(encoding="utf-8")).get("kind")
    if kind not in KINDS:
        raise ConfigError(f"{str(options.recipe)!r}: kind is {kind!r}; expected one of {', '.join(KINDS)}")
    recipe, train = KINDS[kind]
    train(load_toml(options.recipe, recipe, overrides=options.overrides), options.output, report=report)
    model = options.output / "model"
    shutil.copy(options.recipe, model / "recipe.toml")
    shutil.copy(options.output / "log.jsonl", model / "log.jsonl")


if __name__ == "__main__":
    main()
