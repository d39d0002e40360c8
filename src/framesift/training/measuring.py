"""The numbers of a model on the test split of a benchmark, as a table of results has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..data import Source, Split
from ..evaluation import Evaluation, dual_softmax_column, evaluate_similarity
from ..evaluation.document import document
from ..evaluation.gather import decode_part, encode_clips, measure
from ..features import TextFeatures, VideoFeatures
from ..metrics import Ties
from ..model import RetrievalModel
from ..ranking import rerank_similarity
from ..reranking import RerankEncoder
from ..similarity import similarity_matrix
from ..video import Sampler, Uniform, available_cores, load_videos
from .clips import EverySecond
from .recipe import Recipe

__all__ = ["Measured", "measure_model"]

DSL_TEMPERATURE = (
    1.0  # TS2-Net, released code, and CAMoE's at inference; of similarities scaled by exp(logit_scale)
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a model reached.

    Attributes:
        split: what it was measured on, without the videos that could not be read.
        evaluation: the document of :mod:`.evaluation.document`: metrics, intervals, the rank of every query.
        failed: why videos could not be read, by id.
    """

    split: Split
    evaluation: dict[str, Any]
    failed: dict[str, str]


def measure_model(
    model: RetrievalModel,
    recipe: Recipe,
    split: Split,
    sources: dict[str, Source],
    *,
    ties: Ties,
    dual_softmax: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Encode and rank a split with the frames and words of a recipe.

    Args:
        split: its videos all have a file.
        sources: those files, by id.
        ties: how equal similarities are ranked.
        dual_softmax: measure with dual softmax as well, in a column of its own.
        workers: processes that decode; default: one a core.
        progress: called with the number of videos that are done, and of all.

    Raises:
        InputError: no video can be read, or the model leaks.
    """
    reranker = None if model.reranker is None else RerankEncoder(model, model.reranker)
    clips = load_videos(
        [str(sources[video]) for video in split.videos],
        _sampler(recipe),
        workers=available_cores() if workers is None else workers,
        decoder=decode_part,
    )
    try:
        encoded = encode_clips(
            model,
            clips,
            reranker=reranker,
            progress=None if progress is None else lambda done: progress(done, len(split.videos)),
        )
    finally:
        clips.close()
    failed = {split.videos[row]: str(error) for row, error in encoded.failed.items()}
    split = split.without(failed)
    words = model.matcher.num_words
    text = model.encoder.encode_text(
        split.texts,
        words=words is not None,
        num_words=words or min(recipe.frames.num_words, model.encoder.context_length) or None,
    )
    relevance = torch.from_numpy(split.relevance())
    again = None if reranker is None else reranker.encode_text(split.texts, text)
    with torch.inference_mode():
        done, _ = measure(
            model.matcher,
            text,
            encoded.video,
            relevance=relevance,
            ties=ties,
            reranker=reranker,
            rerank_text=again,
            rerank_video=encoded.rerank,
            rerank_depth=recipe.rerank.depth,
        )
        if dual_softmax:
            features = (text, encoded.video, again, encoded.rerank)
            done = replace(
                done, beside=_with_dual_softmax(model, features, relevance, ties, recipe.rerank.depth)
            )
    notes = [*split.notes, *([f"{len(failed)} videos could not be read"] if failed else [])]
    name = recipe.system or recipe.name
    return Measured(
        split=split, evaluation=document(done, system=name, split=split.to_dict(), notes=notes), failed=failed
    )


def _sampler(recipe: Recipe) -> Sampler:
    frames = recipe.frames.num_frames
    return (
        Uniform(num_frames=frames) if recipe.frames.sampling == "uniform" else EverySecond(max_frames=frames)
    )


def _with_dual_softmax(
    model: RetrievalModel,
    features: tuple[TextFeatures, VideoFeatures, TextFeatures | None, VideoFeatures | None],
    relevance: Tensor,
    ties: Ties,
    depth: int,
) -> dict[str, Evaluation]:
    """The evaluation with dual softmax, by its label. A reranker comes after it; CrossTVR's paper does not say."""
    text, video, again, patches = features
    column = dual_softmax_column(
        temperature=DSL_TEMPERATURE * math.exp(model.logit_scale.item()), v2t="transpose"
    )
    made = column.normalize(similarity_matrix(model.matcher, text, video))
    t2v, v2t, label = made.t2v, made.v2t, column.label
    if model.reranker is not None and again is not None and patches is not None:
        t2v = rerank_similarity(t2v, model.reranker, again, patches, direction="t2v", depth=depth)
        v2t = rerank_similarity(v2t, model.reranker, again, patches, direction="v2t", depth=depth)
        label += ", before reranking"
    done = evaluate_similarity(t2v, v2t_similarity=v2t, relevance=relevance, ties=ties)
    return {label: replace(done, source=column.source)}
