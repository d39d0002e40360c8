"""The second stage of CrossTVR (Dai et al., 2023, section 3.3): train a reranker behind a frozen first stage.

Every step draws videos with a text each, lets the first stage say which of them are easily confused, and trains the
reranker to tell the pairs that belong together from those: see :mod:`.hard_negatives`. The image tokens come from a
frozen encoder, and so from a :class:`.TokenCache`::

    cache = TokenCache(folder, names, encode, fingerprint=..., shape=(12, 50, 768), max_bytes=...)
    data = RerankData(texts=texts, owner=owner, text=model.encode_text(texts), video=video, tokens=cache.features)
    fit_reranker(model, data, config=FitConfig(steps=2000, batch_size=128, lr=1e-4), folder="runs/crosstvr")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from ..errors import InputError, ShapeError
from ..features import TextFeatures, VideoFeatures
from ..model import RetrievalModel
from ..rerankers import CrossTVR
from .fit import PROCESS_SEEDS, SEEDS, FitConfig, fit
from .gather import ALONE, World
from .hard_negatives import draw_matching_pairs, matching_loss
from .log import Entry

__all__ = ["Matching", "RerankBatch", "RerankData", "draw_batch", "fit_reranker"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RerankData:
    """What a reranker is trained on: texts and videos, as the first stage and as the reranker see them.

    Attributes:
        texts: captions.
        owner: the video of each text, ``[text]``.
        text: the first stage's features of the texts, with words where the reranker reads those.
        video: the first stage's features of the videos; no tokens.
        tokens: rows of videos -> features with the tokens that the reranker reads, :meth:`.TokenCache.features`.
        relevance: which texts are true of which videos, ``[text, video]``, so that none of them is drawn as a negative;
            ``None``: a text is true of its own video alone.

    Raises:
        ShapeError: the lengths do not fit.
        InputError: a text has no such video, or a video has no text.
    """

    texts: Sequence[str]
    owner: Int64[Tensor, " text"]
    text: TextFeatures
    video: VideoFeatures
    tokens: Callable[[Sequence[int]], VideoFeatures]
    relevance: Bool[Tensor, "text video"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.text), len(self.video))
        if not len(self.texts) == len(self.owner) == shape[0]:
            raise ShapeError(
                "RerankData", expected=f"{len(self.texts)} texts", got=[len(self.owner), shape[0]]
            )
        if self.relevance is not None and self.relevance.shape != shape:
            raise ShapeError("RerankData.relevance", expected=shape, got=list(self.relevance.shape))
        if not torch.equal(self.owner.unique(), torch.arange(shape[1])):
            raise InputError(f"owner: expected rows 0 to {shape[1] - 1} of the videos, each at least once")

    @cached_property
    def captions(self) -> tuple[Int64[Tensor, " text"], ...]:
        """The rows of the texts of every video."""
        return self.owner.argsort(stable=True).split(self.owner.bincount().tolist())


@dataclass(frozen=True, kw_only=True, eq=False)
class RerankBatch:
    """Different videos with a text each, and the pairs of them that are to be told apart.

    Attributes:
        texts: rows of the texts, ``[row]``.
        videos: rows of the videos, ``[row]``.
        pairs: ``(row of texts, row of videos)``, both of this batch, ``[pair, 2]``.
        match: whether they belong together, ``[pair]``.
    """

    texts: Int64[Tensor, " row"]
    videos: Int64[Tensor, " row"]
    pairs: Int64[Tensor, "pair 2"]
    match: Bool[Tensor, " pair"]


def draw_batch(model: RetrievalModel, data: RerankData, *, size: int, seed: int) -> RerankBatch:
    """``size`` videos (all, where there are fewer) with a text each, and hard negatives among them.

    Args:
        model: its matcher and logit scale are the first stage.
        seed: the same one draws the same batch.

    Raises:
        InputError: a text is true of every video of the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    videos = torch.randperm(len(data.video), generator=generator)[:size]
    own = [data.captions[row] for row in videos.tolist()]
    texts = torch.stack([rows[torch.randint(len(rows), (), generator=generator)] for rows in own])
    text, video = data.text[texts].to(model.device), data.video[videos].to(model.device)
    logits = model.similarity(text, video) * model.logit_scale.detach().exp()
    relevance = None if data.relevance is None else data.relevance[texts][:, videos]
    drawn = draw_matching_pairs(logits.float().cpu(), relevance, generator=generator)
    return RerankBatch(texts=texts, videos=videos, pairs=drawn.pairs, match=drawn.match)


class Matching:
    """What :func:`.fit` needs to train ``model.reranker`` with the matching loss.

    Args:
        model, data, config, image_encoder: as for :func:`fit_reranker`.
        world: each process draws batches of its own, of ``config.batch_size`` divided by their number.

    Attributes:
        module: what is trained.

    Raises:
        InputError: the model has no CrossTVR.
    """

    def __init__(
        self,
        model: RetrievalModel,
        data: RerankData,
        *,
        config: FitConfig,
        image_encoder: nn.Module | None = None,
        world: World = ALONE,
    ) -> None:
        if not isinstance(model.reranker, CrossTVR):
            found = type(model.reranker).__name__
            raise InputError(f"the matching loss trains a CrossTVR; the model's reranker is {found}")
        self._model, self._reranker, self._data = model.eval(), model.reranker, data
        self._config, self._world = config, world
        self.module = nn.ModuleDict({"reranker": model.reranker})
        if image_encoder is not None:
            self.module["image_encoder"] = image_encoder

    def batches(self, first: int) -> Iterable[RerankBatch]:
        """The batches from a step on."""
        config, world = self._config, self._world
        for step in range(first, config.steps):
            seed = config.seed * SEEDS + step + world.rank * PROCESS_SEEDS
            yield draw_batch(self._model, self._data, size=config.batch_size // world.size, seed=seed)

    def loss(self, batch: RerankBatch) -> Tensor:
        """The matching loss of a batch."""
        data, device = self._data, self._model.device
        rows: list[int] = batch.texts.tolist()
        text = self._reranker.text_features(
            [data.texts[row] for row in rows], data.text[batch.texts].to(device)
        )
        video = data.tokens(batch.videos.tolist()).to(device)
        logits = self._reranker.logits(text, video, batch.pairs.to(device))
        return matching_loss(logits, batch.match.to(device))


def fit_reranker(
    model: RetrievalModel,
    data: RerankData,
    *,
    config: FitConfig,
    folder: str | Path,
    image_encoder: nn.Module | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Train ``model.reranker``, a CrossTVR, with the matching loss; the rest of the model stays as it is.

    A step depends on the seed, its number and the weights alone, so that a run which was interrupted goes on as if it
    had not been (:func:`.fit`, which also writes the log). The paper: Adam, lr 1e-4 with warm-up and cosine, batches of
    128; it leaves the number of steps open.

    Args:
        model: the first stage and, as its ``reranker``, what is trained.
        folder: holds checkpoint and log.
        image_encoder: trained along; ``data.tokens`` must then run it, and cannot come from a cache. Default: the
            image encoder is frozen, as in the paper.
        evaluate, report: as for :func:`.fit`.

    Returns:
        The log.

    Raises:
        InputError: the model has no CrossTVR, or a text of a batch is true of all its videos.
        CheckpointError: ``folder`` holds a checkpoint of another run.
    """
    task = Matching(model, data, config=config, image_encoder=image_encoder)
    return fit(
        task.module,
        task.batches,
        task.loss,
        config=config,
        folder=folder,
        evaluate=evaluate,
        report=report,
    )
