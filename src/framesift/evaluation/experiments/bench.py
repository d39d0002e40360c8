"""The bench of an experiment: models and a benchmark, whose features are computed once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...features import TextFeatures, VideoFeatures
from ...metrics import Metrics, ranks, summarise
from ...model import RetrievalModel
from ...ranking import rerank_similarity
from ...reranking import RerankEncoder
from ...similarity import similarity_matrix
from ...storyboard import Slice
from ...video import Frames
from ..significance import bootstrap_interval
from .points import Points

__all__ = ["NO_BENCHMARK", "Bench", "Benchmark", "encode_for_all", "recall_with_interval"]

CHUNK = 16  # videos rendered or decoded, and encoded, together


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """Texts, videos, and which videos answer which texts.

    Attributes:
        clips: number of frames -> the videos in order, each sampled uniformly.
        split: what a result says of the data, with its ``content_hash``.
        slice: the scenes, where it is Storyboard.
    """

    texts: tuple[str, ...]
    relevance: Bool[Tensor, "text video"]
    clips: Callable[[int], Iterable[Frames]]
    split: Mapping[str, Any]
    slice: Slice | None = None


NO_BENCHMARK = Benchmark(
    texts=(), relevance=torch.zeros(0, 0, dtype=torch.bool), clips=lambda frames: (), split={}
)
"""For experiments that measure costs on random data."""


class Bench:
    """Models and a benchmark.

    Attributes:
        models: by the name that the results show.
        points: where an experiment keeps what it has measured.
        seed: of resampling and of random weights.
        device: where the models are.
    """

    def __init__(
        self,
        models: Mapping[str, RetrievalModel],
        benchmark: Benchmark,
        points: Points,
        *,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.models = dict(models)
        self.benchmark = benchmark
        self.points = points
        self.seed = seed
        self.device = device
        self._text: dict[str, TextFeatures] = {}
        self._video: dict[tuple[str, int], VideoFeatures] = {}
        self._read: dict[tuple[str, int], tuple[TextFeatures, VideoFeatures]] = {}

    def text(self, name: str) -> TextFeatures:
        """Features of the benchmark's texts by a model."""
        if name not in self._text:
            self._text[name] = self.models[name].encode_text(self.benchmark.texts)
        return self._text[name]

    def video(self, name: str, num_frames: int | None = None) -> VideoFeatures:
        """Features of the benchmark's videos by a model; default: as many frames as it was trained with."""
        model = self.models[name]
        frames = model.num_frames if num_frames is None else num_frames
        key = (model.fingerprint(), frames)
        if key not in self._video:
            alike = {  # all that can be had of the same frames
                other: own
                for other, own in self.models.items()
                if (num_frames or own.num_frames) == frames
                and own.encoder.fingerprint() == model.encoder.fingerprint()
                and (own.fingerprint(), frames) not in self._video
            }
            for other, video in encode_for_all(alike, self.benchmark.clips(frames)).items():
                self._video[self.models[other].fingerprint(), frames] = video
        return self._video[key]

    def reranked(self, name: str, num_frames: int | None = None) -> tuple[TextFeatures, VideoFeatures]:
        """What the reranker of a model reads of the benchmark's texts and videos; tokens as float16 on the CPU."""
        model = self.models[name]
        assert model.reranker is not None
        frames = num_frames or model.num_frames
        if (name, frames) not in self._read:
            encoder = RerankEncoder(model, model.reranker)
            text = encoder.encode_text(self.benchmark.texts, self.text(name))
            if model.reranker.reads_patches:
                parts = [
                    encoder.encode_video(chunk).to("cpu", torch.float16)
                    for chunk in _chunks(self.benchmark.clips(frames))
                ]
                video = VideoFeatures.cat(parts)
            else:
                video = self.video(name, frames)
            self._read[name, frames] = (text, video)
        return self._read[name, frames]

    def coarse(self, name: str, num_frames: int | None = None) -> Float[Tensor, "text video"]:
        """Similarity by a model's matcher."""
        matcher = self.models[name].matcher
        return similarity_matrix(matcher, self.text(name), self.video(name, num_frames)).float().cpu()

    def scores(
        self, name: str, num_frames: int | None = None, *, rerank_depth: int, direction: str = "t2v"
    ) -> Float[Tensor, "text video"]:
        """Scores by the whole model: its matcher's, and where it has a reranker those of the best candidates."""
        similarity = self.coarse(name, num_frames)
        reranker = self.models[name].reranker
        if reranker is None:
            return similarity
        text, video = self.reranked(name, num_frames)
        return rerank_similarity(
            similarity,
            reranker,
            text,
            video,
            direction="t2v" if direction == "t2v" else "v2t",
            depth=rerank_depth,
        )

    def found(self, similarity: Float[Tensor, "text video"]) -> Float[Tensor, " text"]:
        """Rank of every text's first answer."""
        return ranks(similarity, self.benchmark.relevance)

    def metrics(self, similarity: Float[Tensor, "text video"]) -> Metrics:
        """Text to video, by this benchmark's relevance."""
        return summarise(self.found(similarity), ties="pessimistic", direction="t2v")


def recall_with_interval(
    found: Float[Tensor, " text"], k: int, *, seed: int = 0
) -> tuple[float, float, float]:
    """R@k of ranks, in percent, with its 95 % interval over resampled queries: value, low, high."""
    hits = found <= k
    low, high = bootstrap_interval(hits, seed=seed)
    return 100.0 * float(hits.double().mean()), low, high


def encode_for_all(models: Mapping[str, RetrievalModel], clips: Iterable[Frames]) -> dict[str, VideoFeatures]:
    """Features of videos by several models: a frame is encoded once for all models that share an encoder."""
    parts: dict[str, list[VideoFeatures]] = {name: [] for name in models}
    encoders = {name: model.encoder.fingerprint() for name, model in models.items()}
    for chunk in _chunks(clips):
        encoded: dict[str, VideoFeatures] = {}
        informed: dict[str, VideoFeatures] = {}
        for name, model in models.items():
            known = model.fingerprint()
            if known not in informed:
                if model.temporal.reads_patches:
                    informed[known] = model.encode_video(chunk)
                else:
                    if encoders[name] not in encoded:
                        encoded[encoders[name]] = model.encoder.encode_video(chunk)
                    with torch.no_grad():
                        informed[known] = model.inform(encoded[encoders[name]])
            parts[name].append(informed[known])
    return {name: VideoFeatures.cat(own) for name, own in parts.items()}


def _chunks(clips: Iterable[Frames]) -> Iterable[Sequence[Frames]]:
    rest = iter(clips)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
