"""Train a recipe: data, model, features, the loop, the best model, and a result file that says how it was made.

A run is a folder::

    recipe.json        the recipe, whose hash a resumed run must have
    state.pt           the last checkpoint
    log.jsonl          loss, rates, gradient norm, speed, metrics; tensorboard/ has the same
    videos.json        which videos cannot be read
    features/, tokens/ what a frozen encoder made of the videos, once
    best/              the model that was best: framesift.load, framesift index --model
    result.json        what it reached, on which data, chosen how
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..encoders.base import resolve_device
from ..encoders.fetch import HUB_ID
from ..errors import ConfigError, DatasetError, DecodeError
from ..evaluation.results import write_result
from ..features import TextFeatures, VideoFeatures
from ..hub import MODELS, save
from ..index.durable import write_json
from ..model import RetrievalModel
from ..rerankers import CrossTVR
from ..reranking import RerankEncoder
from ..video import Frames, available_cores
from .build import build_model
from .checkpoint import replace_folder
from .contrastive_step import ContrastiveStep
from .fit import FitConfig, fit
from .frozen_features import FrozenFeatures, FrozenPatches
from .gather import World, join_world, leave_world
from .log import Entry
from .optim import build_optimizer, freeze
from .recipe import Recipe
from .rerank_fit import Matching, RerankData
from .run_folder import BEST, EVALUATION, FAILED, RESULT, model_card, prepare, result_document
from .source import Batch, FrozenSource, LiveSource, PairOrder, Source
from .splits import Material, check_losses, load_material
from .validation import Validation, moving_average
from .videos import Videos

__all__ = ["TrainResult", "train"]

LOG_ENTRIES = 50  # about so many a run, besides the evaluations


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run gave.

    Attributes:
        model: directory of the best model.
        step: at which it was kept.
        steps: of the run.
        evaluation: its metrics, as in the result file; empty without evaluation.
        failed: why videos could not be read, by id.
        missing: ids without a file.
        log: all entries.
        path: of the result file.
    """

    model: Path
    step: int
    steps: int
    evaluation: dict[str, Any]
    failed: dict[str, str]
    missing: tuple[str, ...]
    log: list[Entry]
    path: Path


def train(
    recipe: Recipe,
    *,
    root: str | Path | None = None,
    folder: str | Path,
    resume: bool = True,
    device: str | torch.device = "auto",
    workers: int | None = None,
    checkpoint_s: float = 120.0,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainResult:
    """Train the system of a recipe; with ``torchrun``, in several processes on one machine or more.

    Args:
        root: folder of the benchmark's annotations and videos.
        folder: of the run. One that was interrupted goes on where it was, to the same weights.
        resume: off, what ``folder`` has of an earlier run is deleted first.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; with ``torchrun``, ``auto`` is the process's own.
        workers: decoding processes; default: one a core, shared among the processes of a machine.
        checkpoint_s: seconds between two checkpoints; what was done since the last is done again after a kill.
        report: receives lines to be read, from the first process only.
        progress: called with every step and the number of steps.

    Raises:
        ConfigError: the recipe asks for something that cannot be.
        DatasetError: data is missing or malformed, or most videos cannot be read.
        ModelError: the encoder cannot be had.
        CheckpointError: ``folder`` is of another recipe.
        InputError: no such device, or ``folder`` cannot be written.
    """
    folder, started = Path(folder), time.monotonic()
    target = _own_device(device)
    world = join_world(target)
    try:
        say = report if report is not None and world.leads else _nothing
        prepare(folder, recipe, resume=resume, world=world)
        material = load_material(recipe, root, report=say)
        if workers is None:
            workers = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        model = build_model(recipe, device=target, report=say)
        run = _Run(
            recipe=recipe,
            folder=folder,
            model=model,
            world=world,
            workers=workers,
            checkpoint_s=checkpoint_s,
            say=say,
            progress=progress,
        )
        steps, log, material, failed = (
            run.second_stage(material) if _is_cross_tvr(model) else run.first_stage(material)
        )
        world.wait()
        kept = json.loads((folder / BEST / EVALUATION).read_text(encoding="utf-8"))
        result = TrainResult(
            model=folder / BEST,
            step=kept["step"],
            steps=steps,
            evaluation=kept["evaluation"],
            failed=failed,
            missing=material.missing,
            log=log,
            path=folder / RESULT,
        )
        if world.leads:
            document = result_document(
                recipe,
                material,
                evaluation=result.evaluation,
                step=result.step,
                steps=steps,
                processes=world.size,
                failed=failed,
            )
            write_result(result.path, document, seconds=max(time.monotonic() - started, log[-1]["seconds"]))
            if recipe.select.on == "test":
                say(
                    "note: the checkpoint was chosen on the test split, as in the papers: its numbers there flatter"
                )
        return result
    finally:
        if world.size > 1:
            leave_world()


@dataclass(kw_only=True)
class _Run:
    """One run, of either stage."""

    recipe: Recipe
    folder: Path
    model: RetrievalModel
    world: World
    workers: int
    checkpoint_s: float
    say: Callable[[str], None]
    progress: Callable[[int, int], None] | None

    def first_stage(self, material: Material) -> tuple[int, list[Entry], Material, dict[str, str]]:
        """Contrastive training of encoder, temporal module and matcher, or of a tight reranker."""
        recipe, model, optim = self.recipe, self.model, self.recipe.optim
        if recipe.system.endswith("zero-shot"):
            raise ConfigError(
                f"{recipe.system!r} is not trained: measure it with `framesift evaluate`, or choose another system"
            )
        freeze(model, optim.freeze)
        frozen = optim.freeze == "encoder"
        if frozen and (recipe.frames.jitter or recipe.frames.augmentation != "none"):
            raise ConfigError(
                "optim.freeze='encoder' computes features once, so frames.jitter and frames.augmentation must be off"
            )
        model.logit_scale.requires_grad_(model.reranker is None)
        videos = self._videos(material)
        material, failed = self._readable(material, videos)
        order = self._order(material)
        source = (
            self._frozen_source(material, videos, order)
            if frozen
            else self._live_source(material, videos, order)
        )
        validation = None
        if material.evaluation is not None:
            features = None
            if frozen and not model.temporal.reads_patches and self.world.leads:
                features = self._frozen.frames(material.evaluation.videos, videos, "evaluation")
            validation = Validation(model, material, videos, frozen=features)
        steps = optim.steps or optim.epochs * order.steps_per_epoch
        trained = _Trained(model, with_encoder=not frozen)
        log = self._fit(
            trained,
            lambda first: source.batches(first, steps),
            _no_loss,
            config=self._config(order, steps, order.steps_per_epoch),
            material=material,
            order=order,
            validation=validation,
            logit_scale=model.logit_scale,
            backward=ContrastiveStep(self.recipe, model, source, order, self.world),
        )
        return steps, log, material, failed

    def second_stage(self, material: Material) -> tuple[int, list[Entry], Material, dict[str, str]]:
        """The matching loss for CrossTVR behind a first stage that stays as it is."""
        recipe, model, optim = self.recipe, self.model, self.recipe.optim
        assert isinstance(model.reranker, CrossTVR)
        model.requires_grad_(False)
        model.reranker.requires_grad_(True)
        videos = self._videos(material)
        material, failed = self._readable(material, videos)
        order = self._order(material, by_video=True)
        encoder = RerankEncoder(model, model.reranker)
        tokens = self._frozen.tokens(material.train.videos, videos, encoder, "train")
        texts = material.train.texts
        data = RerankData(
            texts=texts,
            owner=torch.from_numpy(material.train.owner),
            text=model.encode_text(texts, words=model.reranker.reads_words).to("cpu"),
            video=self._frozen.frames(material.train.videos, videos, "train"),
            tokens=tokens.features,
        )
        validation = None
        if material.evaluation is not None:
            features = own = None
            if self.world.leads:
                features = self._frozen.frames(material.evaluation.videos, videos, "evaluation")
                own = self._frozen.tokens(material.evaluation.videos, videos, encoder, "evaluation")
            validation = Validation(
                model,
                material,
                videos,
                rerank_depth=recipe.rerank.depth,
                encoded=features,
                tokens=None if own is None else own.mapped,
            )
        per_epoch = (
            order.num_captions // order.batch_size if recipe.samples == "pairs" else order.steps_per_epoch
        )
        steps = optim.steps or optim.epochs * max(1, per_epoch)
        config = self._config(order, steps, per_epoch)
        task = Matching(model, data, config=config, world=self.world)
        log = self._fit(
            task.module,
            task.batches,
            task.loss,
            config=config,
            material=material,
            order=order,
            validation=validation,
        )
        return steps, log, material, failed

    def _fit(
        self,
        trained: nn.Module,
        batches: Callable[[int], Iterable[Any]],
        loss: Callable[[Any], Tensor],
        *,
        config: FitConfig,
        material: Material,
        order: PairOrder,
        validation: Validation | None,
        logit_scale: nn.Parameter | None = None,
        backward: Callable[[Any], Tensor] | None = None,
    ) -> list[Entry]:
        """The loop of either stage; the best model is kept, or without validation the last one."""
        self._tell_of_start(material, trained, order, config.steps)
        log = fit(
            trained,
            batches,
            loss,
            config=config,
            folder=self.folder,
            logit_scale=logit_scale,
            evaluate=validation,
            report=self.say,
            optimizer=build_optimizer(trained, self.recipe.optim, steps=config.steps),
            backward=backward,
            keep=self._keeper(validation),
            progress=self.progress if self.world.leads else None,
            world=self.world,
            run=self._identity(material, config.steps),
            board=True,
        )
        if validation is None and self.world.leads:
            self._keep(config.steps, {})
        return log

    # data

    @property
    def _frozen(self) -> FrozenFeatures:
        return FrozenFeatures(
            recipe=self.recipe,
            folder=self.folder,
            model=self.model,
            whole=_is_cross_tvr(self.model),
            world=self.world,
            report=self.say,
        )

    def _videos(self, material: Material) -> Videos:
        return Videos(
            sources=material.sources,
            frames=self.recipe.frames,
            preprocessing=self.model.encoder.preprocessing,
            workers=self.workers,
        )

    def _readable(self, material: Material, videos: Videos) -> tuple[Material, dict[str, str]]:
        """The material without the videos that cannot be decoded."""
        both = [material.train, *([material.evaluation] if material.evaluation is not None else [])]
        ids = list(dict.fromkeys(video for split in both for video in split.videos))
        if self.world.leads:
            videos.check(ids, self.folder / FAILED, report=self.say)
        self.world.wait()
        failed = dict(json.loads((self.folder / FAILED).read_text(encoding="utf-8"))["failed"])
        for video, reason in failed.items():
            self.say(f"warning: left out: {video}: {reason}")
        check_losses(list(failed), both, "cannot be read")
        return material.without(list(failed)), failed

    # batches

    def _order(self, material: Material, *, by_video: bool = False) -> PairOrder:
        order = PairOrder(
            torch.from_numpy(material.train.owner),
            by_video=by_video or self.recipe.samples == "videos",
            batch_size=self.recipe.optim.batch_size,
            seed=self.recipe.seed,
        )
        if order.batch_size < self.recipe.optim.batch_size:
            self.say(
                f"note: batches of {order.batch_size} pairs, not {self.recipe.optim.batch_size}: there are no more"
            )
        if order.batch_size < 2:
            raise DatasetError("one training sample is no contrast; at least two videos are needed")
        if order.batch_size % self.world.size:
            raise ConfigError(
                f"optim.batch_size={order.batch_size}: expected a multiple of the {self.world.size} processes"
            )
        return order

    def _live_source(self, material: Material, videos: Videos, order: PairOrder) -> Source:
        ids = material.train.videos

        def clips(wanted: Iterator[tuple[int, int]]) -> Iterator[Frames | DecodeError]:
            return videos.decode_for_training((ids[row], draw) for row, draw in wanted)

        return LiveSource(
            self.model,
            order,
            texts=material.train.texts,
            clips=clips,
            num_words=self.recipe.frames.num_words,
            num_frames=self.recipe.frames.num_frames,
            seed=self.recipe.seed,
            world=self.world,
        )

    def _frozen_source(self, material: Material, videos: Videos, order: PairOrder) -> Source:
        model, texts, ids = self.model, material.train.texts, material.train.videos
        if model.matcher.num_words is None:
            sentences = self._frozen.sentences(texts)

            def text(rows: Tensor) -> TextFeatures:
                return sentences[rows]
        else:  # words of all captions would fill the memory

            def text(rows: Tensor) -> TextFeatures:
                return model.encode_text([texts[int(row)] for row in rows])

        if model.temporal.reads_patches:
            encoder = FrozenPatches(model.encoder)
            tokens = self._frozen.tokens(ids, videos, encoder, "train")

            def video(rows: Tensor) -> VideoFeatures:
                return encoder.with_frames(tokens.features(rows.tolist()))
        else:
            frames = self._frozen.frames(ids, videos, "train")

            def video(rows: Tensor) -> VideoFeatures:
                return frames[rows]

        return FrozenSource(model, order, text=text, video=video, world=self.world)

    # keeping

    def _config(self, order: PairOrder, steps: int, steps_per_epoch: int) -> FitConfig:
        every = max(1, min(steps_per_epoch, steps) // self.recipe.select.per_epoch)
        return FitConfig(
            steps=steps,
            batch_size=order.batch_size,
            lr=self.recipe.optim.lr_head,
            max_norm=self.recipe.optim.max_norm,
            seed=self.recipe.seed,
            log_every=max(1, steps // LOG_ENTRIES),
            evaluate_every=every,
            checkpoint_s=self.checkpoint_s,
        )

    def _identity(self, material: Material, steps: int) -> dict[str, Any]:
        return {"recipe": self.recipe.content_hash, "data": material.train.content_hash, "steps": steps}

    def _keeper(self, validation: Validation | None) -> Callable[[list[Entry]], None] | None:
        if validation is None:
            return None
        key = f"{self.recipe.select.on}_{self.recipe.select.metric}"

        def keep(entries: list[Entry]) -> None:
            *earlier, latest = moving_average(entries, key, self.recipe.select.window)
            if not earlier or latest >= max(
                earlier
            ):  # of equals the later: it has seen more, as in CLIP4Clip
                assert validation.last is not None
                self._keep(int(entries[-1]["step"]), validation.last.to_dict())

        return keep

    def _keep(self, step: int, evaluation: dict[str, Any]) -> None:
        """Make the model, as it is, the best one."""
        recipe = self.recipe
        start = recipe.rerank.first_stage if _is_cross_tvr(self.model) else recipe.encoder
        as_it_was = not any(p.requires_grad for p in self.model.encoder.parameters())
        system = recipe.published
        shifted = system is not None and system.encoder != "clip" and not _is_cross_tvr(self.model)
        everywhere = start in MODELS or (HUB_ID.fullmatch(start) is not None and not Path(start).exists())

        def write(draft: Path) -> None:
            shared = start if as_it_was and everywhere and not shifted else None
            save(self.model, draft, encoder_from=shared, card=model_card(recipe, step, evaluation))
            write_json(draft / EVALUATION, {"step": step, "evaluation": evaluation})

        replace_folder(self.folder / BEST, write)

    def _tell_of_start(self, material: Material, trained: nn.Module, order: PairOrder, steps: int) -> None:
        millions = sum(p.numel() for p in trained.parameters() if p.requires_grad) / 1e6
        chosen = "no evaluation" if material.evaluation is None else f"evaluated on {material.evaluation!r}"
        self.say(f"training {millions:.2f} M parameters for {steps} steps of {order.batch_size} pairs")
        self.say(f"on {material.train!r}, {chosen}, {self.model.device}, {self.world.size} processes")


class _Trained(nn.Module):
    """The parts of a model that learn, under the model's names; a frozen encoder stays in evaluation mode."""

    def __init__(self, model: RetrievalModel, *, with_encoder: bool) -> None:
        super().__init__()
        if with_encoder:
            self.encoder = model.encoder
        self.temporal, self.matcher, self.reranker = model.temporal, model.matcher, model.reranker
        self.logit_scale = model.logit_scale


def _is_cross_tvr(model: RetrievalModel) -> bool:
    return isinstance(model.reranker, CrossTVR)


def _own_device(device: str | torch.device) -> torch.device:
    local = os.environ.get("LOCAL_RANK")
    if device == "auto" and local is not None and torch.cuda.is_available():
        device = f"cuda:{local}"
    found = resolve_device(device)
    if found.type == "cuda":
        torch.cuda.set_device(found)
    return found


def _no_loss(batch: Batch) -> Tensor:
    raise AssertionError("the gradients come from backward")


def _nothing(line: str) -> None:
    del line
