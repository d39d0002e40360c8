"""Why a text and a video have their score: what each part of a model can tell, in one object."""

from __future__ import annotations

from dataclasses import replace

import torch

from .encoders import Pictures
from .errors import ShapeError
from .explanation import Explanation
from .features import TextFeatures, VideoFeatures
from .model import RetrievalModel
from .reranking import RerankEncoder

__all__ = ["explain"]


@torch.no_grad()
def explain(model: RetrievalModel, text: str, video: Pictures | VideoFeatures) -> Explanation:
    """Explain the score of a text and a video.

    Args:
        model: in evaluation mode.
        text: a sentence.
        video: its frames; or the model's features of one video (:meth:`.RetrievalModel.encode_video`), from which the
            temporal module cannot be explained, nor a reranker that reads tokens which they do not hold.

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
    if model.reranker is not None:
        found |= _reranked(model, text, sentence, video, similarity=found.scores["similarity"])
    return found.to_cpu()


def _informed(model: RetrievalModel, video: Pictures) -> tuple[Explanation, VideoFeatures]:
    """What the temporal module tells, and the features that it gives to the matcher."""
    encoded = model.encoder.encode_video([video], patches=model.temporal.reads_patches)
    joint = encoded
    if encoded.patch is not None:
        joint = replace(encoded, patch=model.encoder.project(encoded.patch))
    return model.temporal.explain(joint), model.inform(encoded)


def _reranked(
    model: RetrievalModel,
    text: str,
    sentence: TextFeatures,
    video: Pictures | VideoFeatures,
    *,
    similarity: float,
) -> Explanation:
    """What the reranker tells; nothing where it reads tokens that the features do not hold."""
    reranker = model.reranker
    assert reranker is not None
    if isinstance(video, VideoFeatures) and reranker.reads_patches and video.patch is None:
        return Explanation()
    encoder = RerankEncoder(model, reranker)
    read = video if isinstance(video, VideoFeatures) else encoder.encode_video([video])
    told = reranker.explain(encoder.encode_text([text], sentence), read.to(model.device))
    again, coarse = torch.tensor(told.scores["reranker"]), torch.tensor(similarity)
    return told | Explanation(scores={"fused": float(reranker.fusion(again, coarse))})
