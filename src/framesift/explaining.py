"""Why a text and a video have their score: what each part of a model can tell, in one object."""

from __future__ import annotations

from dataclasses import replace

import torch

from .encoders import Pictures
from .errors import ShapeError
from .explanation import Explanation
from .features import TextFeatures, VideoFeatures
from .model import RetrievalModel
from .rerankers import Reranker
from .reranking import RerankEncoder

__all__ = ["explain"]


@torch.no_grad()
def explain(
    model: RetrievalModel,
    text: str,
    video: Pictures | VideoFeatures,
    *,
    rerank_encoder: RerankEncoder | None = None,
) -> Explanation:
    """Explain the score of a text and a video.

    Args:
        model: in evaluation mode.
        text: a sentence.
        video: its frames; or the model's features of one video (:meth:`.RetrievalModel.encode_video`), from which the
            temporal module cannot be explained, nor a reranker that reads tokens which they do not hold.
        rerank_encoder: of the model's reranker, made once for many pairs; default: made here, which loads the frozen
            encoder of a reranker that has its own.

    Returns:
        tensors on the CPU; what is not None follows from the classes' ``explains``.

    Raises:
        ShapeError: the features are not those of one video.
        MissingFeatureError: the reranker has no vocabulary, or the matcher needs a feature that is not there.
        ModelError: the reranker's own encoder cannot be had.
    """
    sentence = model.encode_text([text])
    if isinstance(video, VideoFeatures):
        if len(video) != 1:
            raise ShapeError("features to explain", expected="one video", got=f"{len(video)} videos")
        found, informed = Explanation(), video.to(model.device)
    else:
        found, informed = _informed(model, video)
    found |= model.matcher.explain(sentence, informed)
    if found.word_frame is not None:
        found = replace(found, words=model.encoder.words(text, num_words=model.matcher.num_words))
    if model.reranker is not None and _readable(model.reranker, video):
        found |= _reranked(rerank_encoder or RerankEncoder(model, model.reranker), text, sentence, video)
        again, coarse = (torch.tensor(found.scores[name]) for name in ("reranker", "similarity"))
        found |= Explanation(scores={"fused": float(model.reranker.fusion(again, coarse))})
    return found.to_cpu()


def _informed(model: RetrievalModel, video: Pictures) -> tuple[Explanation, VideoFeatures]:
    """What the temporal module tells, and the features that it gives to the matcher."""
    encoded = model.encoder.encode_video([video], patches=model.temporal.reads_patches)
    joint = encoded
    if encoded.patch is not None:
        joint = replace(encoded, patch=model.encoder.project(encoded.patch))
    return model.temporal.explain(joint), model.inform(encoded)


def _readable(reranker: Reranker, video: Pictures | VideoFeatures) -> bool:
    """Whether ``video`` holds what the reranker reads, not another encoder's tokens, or pictures to encode."""
    if not (isinstance(video, VideoFeatures) and reranker.reads_patches):
        return True
    return video.patch is not None and not reranker.image_encoder


def _reranked(
    encoder: RerankEncoder, text: str, sentence: TextFeatures, video: Pictures | VideoFeatures
) -> Explanation:
    """What the reranker tells."""
    read = video if isinstance(video, VideoFeatures) else encoder.encode_video([video])
    return encoder.reranker.explain(encoder.encode_text([text], sentence), read.to(encoder.model.device))
