"""Texts and videos as many models read them: every frame is rendered once and encoded once by each encoder.

What an encoder makes of a few videos goes through the temporal module of every model that shares it before the next
videos follow, so that patch tokens, a hundred times the frames, are kept only where a reranker reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice

import torch

from ...features import TextFeatures, VideoFeatures
from ...video import Frames
from .runs import Run

__all__ = ["Features"]

CHUNK = 32  # videos in hand: 85 MB of fp32 patch tokens at 12 frames x 37 x 192
KEPT = torch.float16  # type of patch tokens for rerankers, half the memory; as a token cache stores them


class Features:
    """Features of texts and videos by several models.

    Args:
        runs: the models.
        texts: the queries.
        clips: number of frames -> the videos in order, each sampled uniformly.
    """

    def __init__(
        self, runs: Sequence[Run], texts: Sequence[str], clips: Callable[[int], Iterable[Frames]]
    ) -> None:
        self._texts = list(texts)
        self._text: dict[tuple[str, int | None, bool], TextFeatures] = {}
        self._video: dict[tuple[str, int], VideoFeatures] = {}
        self._tokens: dict[tuple[str, int], VideoFeatures] = {}
        for num_frames in sorted({run.model.num_frames for run in runs}):
            alike = [run for run in runs if run.model.num_frames == num_frames]
            self._encode(alike, clips(num_frames), num_frames)

    def text(self, run: Run, *, words: bool = False) -> TextFeatures:
        """The texts as a model's matcher reads them, with ``words`` in any case."""
        num_words = run.model.matcher.num_words
        key = (run.encoder, num_words, words or num_words is not None)
        if key not in self._text:
            self._text[key] = run.model.encode_text(self._texts, words=words)
        return self._text[key]

    def video(self, run: Run) -> VideoFeatures:
        """The videos as a model's matcher reads them, after its temporal module."""
        return self._video[run.features, run.model.num_frames]

    def reranked(self, run: Run) -> tuple[TextFeatures, VideoFeatures]:
        """What a model's reranker reads of texts and videos; patch tokens as float16 on the CPU."""
        reranker = run.model.reranker
        assert reranker is not None
        with torch.no_grad():
            text = reranker.text_features(self._texts, self.text(run, words=reranker.reads_words))
        if run.tokens is None:
            return text, self.video(run)
        return text, self._tokens[run.tokens, run.model.num_frames]

    def _encode(self, runs: Sequence[Run], clips: Iterable[Frames], num_frames: int) -> None:
        informed: dict[str, list[VideoFeatures]] = {}
        tokens: dict[str, list[VideoFeatures]] = {}
        rest = iter(clips)
        while chunk := list(islice(rest, CHUNK)):
            for encoder in dict.fromkeys(run.encoder for run in runs):
                alike = [run for run in runs if run.encoder == encoder]
                read = {run.tokens for run in alike if run.images is None} - {None}
                patches = bool(read) or any(run.model.temporal.reads_patches for run in alike)
                encoded = alike[0].model.encoder.encode_video(chunk, patches=patches)
                if read:
                    tokens.setdefault(encoder, []).append(encoded.to("cpu", KEPT))
                for run in {run.features: run for run in alike}.values():
                    seen = encoded if run.model.temporal.reads_patches else replace(encoded, patch=None)
                    with torch.no_grad():
                        done = replace(run.model.inform(seen), patch=None)
                    informed.setdefault(run.features, []).append(done)
            for run in {run.tokens: run for run in runs if run.images is not None}.values():
                assert run.images is not None
                assert run.tokens is not None
                tokens.setdefault(run.tokens, []).append(run.images.encode_video(chunk).to("cpu", KEPT))
        self._video |= {(key, num_frames): VideoFeatures.cat(parts) for key, parts in informed.items()}
        self._tokens |= {(key, num_frames): VideoFeatures.cat(parts) for key, parts in tokens.items()}
