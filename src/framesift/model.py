"""A retrieval model: an encoder, a temporal module, a matcher and perhaps a reranker, composed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from .config import to_dict
from .encoders import Encoder, Pictures
from .encoders.weights import hash_state
from .errors import InputError, MissingFeatureError
from .features import Similarity, TextFeatures, VideoFeatures
from .matchers import Matcher
from .rerankers.base import Reranker
from .similarity import similarity_matrix
from .temporal import Temporal

__all__ = ["DECODER", "LOGIT_SCALE_MAX", "RetrievalModel"]

LOGIT_SCALE_MAX = math.log(100)  # CLIP, section 2.5: the scale never exceeds 100

DECODER = "frame on display at the time, 8-bit RGB; 1"
"""What decoding promises, with a number that grows when its pixels change; part of the fingerprint."""


class RetrievalModel(nn.Module):
    """Texts and videos -> similarity. The same object trains, evaluates and searches.

    Attributes:
        encoder: frames and texts into one space.
        temporal: lets the frames of a video inform one another, before the query is known.
        matcher: how similar every text is to every video.
        reranker: how similar a text is to a video, for the few best of the matcher; or None.
        logit_scale: logarithm of the factor that a loss applies to similarities; scalar parameter.
        num_frames: frames a video (or moment) that the model was trained with.
        name: what it is called in messages.
    """

    def __init__(
        self,
        encoder: Encoder,
        temporal: Temporal,
        matcher: Matcher,
        reranker: Reranker | None = None,
        *,
        logit_scale: float = LOGIT_SCALE_MAX,
        num_frames: int = 12,  # X-Pool, CLIP4Clip: 12 frames a video
        name: str = "",
    ) -> None:
        if num_frames < 1:
            raise InputError(f"num_frames={num_frames}: expected a positive number")
        super().__init__()
        self.encoder = encoder
        self.temporal = temporal
        self.matcher = matcher
        self.reranker = reranker
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale), device=encoder.device))
        self.num_frames = num_frames
        self.name = name

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    @property
    def dim(self) -> int:
        """Width of the joint space."""
        return self.encoder.dim

    def encode_text(self, texts: Sequence[str], *, words: bool = False) -> TextFeatures:
        """Embed sentences (:meth:`.Encoder.encode_text`), with their words where the matcher compares words."""
        num_words = self.matcher.num_words
        return self.encoder.encode_text(texts, words=words or num_words is not None, num_words=num_words)

    def encode_video(
        self, videos: Sequence[Pictures], *, patches: bool = False, batch_size: int = 64
    ) -> VideoFeatures:
        """Embed the frames of videos (:meth:`.Encoder.encode_video`), then let them inform one another."""
        if patches or not self.temporal.reads_patches:
            encoded = self.encoder.encode_video(videos, patches=patches, batch_size=batch_size)
            with torch.no_grad():
                return self.inform(encoded)
        parts: list[
            VideoFeatures
        ] = []  # so that few patch tokens, a hundred times the frames, are held at once
        for group in _groups(videos, batch_size):
            informed = self.encode_video(group, patches=True, batch_size=batch_size)
            parts.append(replace(informed, patch=None))
        return VideoFeatures.cat(parts)

    def inform(self, video: VideoFeatures) -> VideoFeatures:
        """Let the encoded frames of every video inform one another: the temporal module, which gets patch tokens in the
        joint space where it reads them. The tokens stay as they are. Differentiable.

        Raises:
            MissingFeatureError: it reads patch tokens, and there are none.
        """
        if not self.temporal.reads_patches:
            return self.temporal(video)
        if video.patch is None:
            raise MissingFeatureError(f"{self.temporal.name}: needs patch tokens; encode with patches=True")
        patch = video.patch  # of videos without any frame, not even their width is known
        joint = self.encoder.project(patch) if patch.numel() else patch.new_zeros(*patch.shape[:3], self.dim)
        informed = self.temporal(replace(video, patch=joint))
        return informed if informed.patch is None else replace(informed, patch=patch)

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Similarity of every text and every video, unscaled, in blocks; for inference."""
        return similarity_matrix(self.matcher, text, video)

    def fingerprint(self) -> str:
        """Hash of what decides a stored feature: decoding, encoder and temporal module.

        The matcher and the reranker are not part of it: a new head needs no new index.
        """
        parts = {
            "decoder": DECODER,
            "encoder": self.encoder.fingerprint(),
            "temporal": self.temporal.name,
            "temporal config": to_dict(self.temporal.config),
            "temporal weights": hash_state(self.temporal.state_dict()),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        parts = [repr(self.encoder).strip("<>"), type(self.temporal).__name__, type(self.matcher).__name__]
        if self.reranker is not None:
            parts.append(type(self.reranker).__name__)
        millions = sum(p.numel() for p in self.parameters()) / 1e6
        return f"<RetrievalModel {self.name or 'unnamed'}: {' + '.join(parts)}, {millions:.1f} M parameters>"


def _groups(videos: Sequence[Pictures], frames: int) -> Iterator[list[Pictures]]:
    """Videos in order, of ``frames`` frames together at most, or a single longer one; one empty group for none."""
    group: list[Pictures] = []
    for video in videos:
        if group and sum(len(other.pixels) for other in [*group, video]) > frames:
            yield group
            group = []
        group.append(video)
    yield group
