"""What a model reaches on the split that its checkpoint is chosen on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..evaluation import Evaluation
from ..evaluation.gather import measure
from ..features import TextFeatures, VideoFeatures
from ..model import RetrievalModel
from ..reranking import RerankEncoder
from .log import Entry
from .splits import Material
from .videos import Videos

__all__ = ["Validation", "moving_average"]


class Validation:
    """Evaluates one model again and again.

    Args:
        material: its evaluation split.
        rerank_depth: candidates that a reranker sees; None: all.
        frozen: the encoder's features of the videos, before the temporal module, where they never change.
        encoded: the model's own features of the videos, where those never change.
        tokens: what the reranker reads of the videos, where that is not in the model's own features.
    """

    def __init__(
        self,
        model: RetrievalModel,
        material: Material,
        videos: Videos,
        *,
        rerank_depth: int | None = None,
        frozen: VideoFeatures | None = None,
        encoded: VideoFeatures | None = None,
        tokens: Callable[[], VideoFeatures] | None = None,
    ) -> None:
        assert material.evaluation is not None
        self._model, self._split, self._videos = model, material.evaluation, videos
        self._relevance = (
            material.evaluation.relevance() if material.relevance is None else material.relevance
        )
        self._depth = rerank_depth or len(material.evaluation.videos)
        self._frozen, self._encoded, self._tokens = frozen, encoded, tokens
        self._text: TextFeatures | None = None
        self.last: Evaluation | None = None

    def __call__(self) -> dict[str, float]:
        """Metrics of both directions, for the log; the whole evaluation is kept in ``last``."""
        self.last = self.evaluate()
        name = self._split.split
        plain: dict[str, float] = {}
        for direction in ("t2v", "v2t"):
            metrics = getattr(self.last, direction)
            plain |= {f"{name}_{direction}_r{k}": float(metrics.recall_at[k]) for k in (1, 5, 10)}
            plain |= {
                f"{name}_{direction}_mdr": float(metrics.median_rank),
                f"{name}_{direction}_mnr": float(metrics.mean_rank),
            }
        return {key: round(value, 4) for key, value in plain.items()}

    @torch.no_grad()
    def evaluate(self) -> Evaluation:
        """Every text against every video."""
        model = self._model.eval()
        text = self._encoded_text()
        video = self._encoded_video()
        if model.reranker is None:
            return measure(model.matcher, text, video, relevance=self._relevance)[0]
        encoder = RerankEncoder(model, model.reranker)
        return measure(
            model.matcher,
            text,
            video,
            relevance=self._relevance,
            reranker=encoder,
            rerank_text=encoder.encode_text(self._split.texts, text),
            rerank_video=video if self._tokens is None else self._tokens(),
            rerank_depth=self._depth,
        )[0]

    def _encoded_text(self) -> TextFeatures:
        if any(p.requires_grad for p in self._model.encoder.parameters()):
            return self._model.encode_text(self._split.texts)
        if self._text is None:
            self._text = self._model.encode_text(self._split.texts)
        return self._text

    def _encoded_video(self) -> VideoFeatures:
        if self._encoded is not None:
            return self._encoded.to(self._model.device)
        if self._frozen is not None:
            return self._model.inform(self._frozen.to(self._model.device))
        video, failed = self._videos.encode(self._model, self._split.videos)
        assert video is not None
        assert not failed, "they were checked before"
        return video


def moving_average(entries: list[Entry], key: str, window: int) -> list[float]:
    """The mean of the last ``window`` values of ``key`` at each entry that has it."""
    values = [float(entry[key]) for entry in entries if key in entry]
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(values))]
