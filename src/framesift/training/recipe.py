"""A recipe: all that decides a training run, as one TOML file. Only what differs from the defaults is written there.

::

    name = "xpool-msrvtt-9k"
    system = "X-Pool"                        # a name of SYSTEMS; [temporal], [matcher], [reranker] change its parts
    encoder = "openai/clip-vit-base-patch32"
    benchmark = "msrvtt-9k"

    [matcher.config]
    dropout = 0.3

    [optim]
    lr_head = 3e-5

    [[expected]]
    paper = "X-Pool"
    table = 1
    row = "X-Pool (ours)"
    t2v = { R1 = 46.9, R5 = 72.8, R10 = 82.2, MdR = 2.0, MnR = 14.3 }

:func:`read_recipe` reads it; ``key=value`` overrides such as ``optim.lr_head=1e-5`` come last.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..config import load_toml, to_dict
from ..errors import ConfigError, suggest
from ..systems import SYSTEMS, System

__all__ = [
    "METRICS",
    "Expected",
    "FramesRecipe",
    "OptimRecipe",
    "Part",
    "Recipe",
    "RerankRecipe",
    "SelectRecipe",
    "read_recipe",
]

METRICS = ("R1", "R5", "R10", "R50", "R100", "MdR", "MnR")
"""What a published row may say of a direction: recalls in percent, median and mean rank."""

HASH_LENGTH = 16  # hexadecimal digits, as a split's


@dataclass(frozen=True, kw_only=True)
class Part:
    """A temporal module, a matcher or a reranker.

    Attributes:
        name: key of its registry; empty: the system's.
        config: what differs from its defaults. Widths (``dim``) follow the encoder, heads are one in 64 dimensions,
            and the most frames and words are those of ``[frames]``, unless they are given here.
    """

    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FramesRecipe:
    """What is seen of a video and read of a text.

    Attributes:
        num_frames: frames a video, in training and evaluation.
        sampling: ``uniform``: the middles of ``num_frames`` equal parts (X-Pool). ``rate``: one frame a second, thinned
            evenly to ``num_frames`` (CLIP4Clip's family), so that short videos have fewer frames.
        jitter: in training, a random frame of each of the equal parts instead of its middle (X-Pool's ``rand``).
        augmentation: in training, ``xpool``: a random crop of half to all of the picture, and a flip half the time,
            one draw a clip (X-Pool); ``none``: the picture as it is evaluated (CLIP4Clip's family).
        num_words: texts are cut to so many tokens, special ones included; 0: the encoder's context.
    """

    num_frames: int = 12
    sampling: Literal["uniform", "rate"] = "uniform"
    jitter: bool = False
    augmentation: Literal["none", "xpool"] = "none"
    num_words: int = 0

    def __post_init__(self) -> None:
        _at_least("frames.num_frames", self.num_frames, 1)
        _at_least("frames.num_words", self.num_words, 0)
        if self.jitter and self.sampling != "uniform":
            raise ConfigError("frames.jitter goes with frames.sampling='uniform' only")


@dataclass(frozen=True, kw_only=True)
class OptimRecipe:
    """How long, how fast and how exactly to train.

    Attributes:
        optimizer: ``adamw``: X-Pool's; ``bert_adam``: CLIP4Clip's, no bias correction and every tensor clipped by
            itself as well; ``adam``: torch's, decay added to the gradient.
        lr_head: peak learning rate of temporal module, matcher and reranker.
        lr_encoder: peak learning rate of the encoder and the logit scale.
        weight_decay: of the parameters that ``decay`` names.
        decay: ``all`` (X-Pool), ``not_bias``: all without "bias" in the name (CLIP4Clip), ``matrices``: only
            parameters of two dimensions and more.
        schedule: ``cosine``: warm-up, then half a cosine over the rest; ``joined_cosine``: the cosine runs over all
            steps, and the warm-up replaces its beginning (CLIP4Clip); ``constant``: warm-up, then level.
        warmup: share of the steps.
        max_norm: gradients are clipped to this global norm; 0: they are not.
        epochs: passes over the training samples.
        steps: optimiser steps; 0: as ``epochs`` says.
        batch_size: pairs a step, over all processes together.
        chunk: pairs that are encoded with a graph at once (gradient cache); 0: the whole batch. It changes memory and
            time, not the gradient.
        precision: ``fp32``; ``bf16``: autocast; ``fp16_weights``: the encoder's matrices and their moments are kept in
            half precision, as in CLIP4Clip, where its learning rate of 1e-7 belongs.
        freeze: ``none``; ``encoder``: features are computed once, and only the rest learns; ``clip4clip``: what its
            ``freeze_layer_num`` 0 freezes: patches, class token, tables of tokens and positions, first norm.
        gather: gradients of features gathered from other processes: ``exact``, as one process would have them;
            ``reference``: each process keeps its own share and the mean is taken, so that encoders get 1/processes
            of the gradient (CLIP4Clip).
    """

    optimizer: Literal["adamw", "bert_adam", "adam"] = "adamw"
    lr_head: float = 1e-5  # X-Pool, section 5.2, as the defaults that follow
    lr_encoder: float = 1e-6
    weight_decay: float = 0.2
    decay: Literal["all", "not_bias", "matrices"] = "all"
    schedule: Literal["cosine", "joined_cosine", "constant"] = "cosine"
    warmup: float = 0.1
    max_norm: float = 1.0
    epochs: int = 5
    steps: int = 0
    batch_size: int = 32
    chunk: int = 0
    precision: Literal["fp32", "bf16", "fp16_weights"] = "fp32"
    freeze: Literal["none", "encoder", "clip4clip"] = "none"
    gather: Literal["exact", "reference"] = "exact"

    def __post_init__(self) -> None:
        for name in ("lr_head", "lr_encoder", "weight_decay", "max_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"optim.{name}={value}: expected a finite number, at least 0")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"optim.warmup={self.warmup}: expected a share of the steps, below 1")
        for name, least in (("epochs", 1), ("steps", 0), ("batch_size", 1), ("chunk", 0)):
            _at_least(f"optim.{name}", getattr(self, name), least)


@dataclass(frozen=True, kw_only=True)
class SelectRecipe:
    """Which checkpoint is the result.

    Attributes:
        on: the split it is chosen on. ``test`` is what the papers did: the result says so, because it is then no
            estimate of what new videos get. ``none``: no evaluation, the last checkpoint.
        holdout: share of the training videos that become *val* where the benchmark has none.
        per_epoch: evaluations an epoch (X-Pool: 10); there is always one at the end.
        metric: R@1 of a direction.
        window: the metric is averaged over so many evaluations (X-Pool: 5).
        max_videos: evaluate on the first so many videos only; 0: on all.
    """

    on: Literal["val", "test", "none"] = "val"
    holdout: float = 0.0
    per_epoch: int = 1
    metric: Literal["t2v_r1", "v2t_r1"] = "t2v_r1"
    window: int = 1
    max_videos: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"select.holdout={self.holdout}: expected a share, below 1")
        for name, least in (("per_epoch", 1), ("window", 1), ("max_videos", 0)):
            _at_least(f"select.{name}", getattr(self, name), least)


@dataclass(frozen=True, kw_only=True)
class RerankRecipe:
    """The second stage of CrossTVR, trained behind a first stage that stays as it is.

    Attributes:
        first_stage: name or directory of the trained model in front, whose encoder it is; needed for CrossTVR.
        depth: candidates that are reranked in evaluation (K in the paper).
        start_from: directory of a model whose CrossTVR it starts from, such as an import of BLIP-2; empty: random.
        token_gib: largest size of the cache of image tokens, in GiB.
    """

    first_stage: str = ""
    depth: int = 15  # CrossTVR, section 4.1
    start_from: str = ""
    token_gib: float = 64.0

    def __post_init__(self) -> None:
        _at_least("rerank.depth", self.depth, 1)
        if not self.token_gib > 0:
            raise ConfigError(f"rerank.token_gib={self.token_gib}: expected a positive number")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A published row that the recipe is to reproduce.

    Attributes:
        paper: the one that printed it.
        table: its number there, or where else the numbers are, such as ``abstract``.
        row: as the table calls the method.
        t2v, v2t: the numbers, by the keys of :data:`METRICS`; those that were not printed are left out.
        normalization: what the similarity went through, such as ``dual softmax``; empty: nothing.
        note: what one has to know to compare.
    """

    paper: str
    table: int | str
    row: str
    t2v: dict[str, float] = field(default_factory=dict)
    v2t: dict[str, float] = field(default_factory=dict)
    normalization: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for direction in ("t2v", "v2t"):
            for key in getattr(self, direction):
                if key not in METRICS:
                    known = ", ".join(METRICS)
                    raise ConfigError(
                        f"expected.{direction}: unknown {key!r}{suggest(key, METRICS)} (known: {known})"
                    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a training run.

    Attributes:
        name: of the run and of the model that comes of it.
        system: a name of :data:`.SYSTEMS`; empty: ``[temporal]``, ``[matcher]`` and ``[reranker]`` say all.
        encoder: bundled name, directory or hub id of the model whose encoder it starts from.
        start: where a transformer over frames starts: ``text``: from CLIP's text tower, as the papers do, wherever its
            sizes fit; ``random``.
        benchmark: key of the catalog, ``storyboard``, or the path of a CSV or JSONL of one's own.
        train_split: the split of the benchmark to train on.
        max_videos: train on the first so many videos only; 0: on all (of Storyboard, 8000).
        samples: what an epoch counts: ``pairs``: every (video, caption) once (X-Pool, CLIP4Clip); ``videos``: every
            video once, with one of its captions.
        mask_own: two captions of one video in a batch are not each other's negatives. Off, they are, as published.
        allow_overlap: train although videos or captions are also in the split of evaluation.
        seed: of everything that is drawn.
        expected: the published rows.
    """

    name: str
    benchmark: str
    system: str = ""
    encoder: str = "openai/clip-vit-base-patch32"
    start: Literal["text", "random"] = "text"
    temporal: Part = field(default_factory=Part)
    matcher: Part = field(default_factory=Part)
    reranker: Part = field(default_factory=Part)
    train_split: str = "train"
    max_videos: int = 0
    samples: Literal["pairs", "videos"] = "pairs"
    mask_own: bool = False
    allow_overlap: bool = False
    seed: int = 0
    frames: FramesRecipe = field(default_factory=FramesRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    select: SelectRecipe = field(default_factory=SelectRecipe)
    rerank: RerankRecipe = field(default_factory=RerankRecipe)
    expected: tuple[Expected, ...] = ()

    def __post_init__(self) -> None:
        _at_least("max_videos", self.max_videos, 0)
        names = [system.name for system in SYSTEMS]
        if self.system and self.system not in names:
            raise ConfigError(
                f"no system {self.system!r}{suggest(self.system, names)} (known: {', '.join(names)})"
            )
        if not self.system and not self.matcher.name:
            raise ConfigError(f"a recipe needs a system ({', '.join(names)}) or the name of a [matcher]")

    @property
    def published(self) -> System | None:
        """The system of that name."""
        return next((system for system in SYSTEMS if system.name == self.system), None)

    @property
    def content_hash(self) -> str:
        """Hash of all that decides the result: everything but the name and the expected rows."""
        plain = to_dict(self)
        del plain["name"], plain["expected"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]


def read_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file, after ``overrides`` like ``optim.lr_head=1e-5``.

    Raises:
        ConfigError: the file is missing, is not TOML, or says something that a recipe does not know.
    """
    return load_toml(path, Recipe, overrides=overrides)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name}={value}: expected at least {least}")
