"""What the reranker of a model reads of texts and pictures: words and image tokens that a gallery does not hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .encoders import Encoder, Pictures, Preprocess
from .encoders.patches import PatchEncoder
from .features import TextFeatures, VideoFeatures
from .hub import load_image_encoder
from .model import RetrievalModel
from .rerankers import Reranker

__all__ = ["RerankEncoder"]


class RerankEncoder:
    """Texts and pictures -> the features that a reranker reads.

    Args:
        model: the first stage.
        reranker: the model's, or another one over it. A frozen encoder of its own is loaded here.

    Raises:
        UnknownModelError, CheckpointError: that encoder cannot be had.
    """

    def __init__(self, model: RetrievalModel, reranker: Reranker) -> None:
        self.model, self.reranker = model, reranker
        self._images: Encoder | PatchEncoder = model.encoder
        if reranker.reads_patches and reranker.image_encoder:
            self._images = load_image_encoder(
                reranker.image_encoder, device=model.device, dtype=model.encoder.dtype
            )

    @property
    def preprocessing(self) -> Preprocess:
        """How pictures are resized and scaled for :meth:`encode_video`."""
        return self._images.preprocessing

    def fingerprint(self) -> str:
        """Of the encoder whose image tokens are read."""
        return self._images.fingerprint()

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str], text: TextFeatures) -> TextFeatures:
        """What the reranker reads of ``texts``, given the model's features of them.

        Raises:
            MissingFeatureError: the reranker has no vocabulary.
        """
        if self.reranker.reads_words and text.word is None:
            text = self.model.encode_text(texts, words=True)
        return self.reranker.text_features(texts, text)

    def encode_video(self, videos: Sequence[Pictures]) -> VideoFeatures:
        """Patch tokens of the pictures where the reranker reads those, else the model's own features."""
        if not self.reranker.reads_patches:
            return self.model.encode_video(videos)
        if isinstance(self._images, PatchEncoder):
            return self._images.encode_video(videos)
        return self._images.encode_video(videos, patches=True)
