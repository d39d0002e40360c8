"""A matcher of your own: LogSumExp pooling, a smooth maximum over the frames.

    python examples/custom_matcher.py [VIDEOS]

A matcher is a class with a name, a frozen configuration, ``forward`` (the similarity of every text with every video)
and ``attention`` (what each frame contributes). Scoring in blocks, evaluation, search and saving come with the base
class.

To use it by its name, as ``framesift.matchers.build_matcher("log_sum_exp")`` and in saved models, list it in the
``pyproject.toml`` of your own package::

    [project.entry-points."framesift.matchers"]
    log_sum_exp = "your_package.custom_matcher:LogSumExpPool"
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import framesift as fs
from framesift.features import unit
from framesift.storyboard import standard, write_split


@dataclass(frozen=True, kw_only=True)
class LogSumExpPoolConfig:
    """``temperature``: towards 0 the best frame alone counts, towards infinity all frames alike."""

    temperature: float = 0.05


class LogSumExpPool(fs.Matcher):
    """``T * (logsumexp(cosine / T) - log(frames))`` over the real frames of a video."""

    name = "log_sum_exp"
    Config = LogSumExpPoolConfig

    def forward(self, text: fs.TextFeatures, video: fs.VideoFeatures) -> Tensor:
        """``[text, video]``; 0 for a video without a real frame."""
        logits = self._logits(text, video)
        frames = video.frame_mask.sum(dim=1).clamp_min(1)
        score = self.config.temperature * (logits.logsumexp(dim=-1) - frames.log())
        return score.masked_fill(~video.frame_mask.any(dim=1), 0.0)

    def attention(self, text: fs.TextFeatures, video: fs.VideoFeatures) -> Tensor:
        """``[text, video, frame]``: the gradient of the similarity for each frame's cosine."""
        return self._logits(text, video).softmax(dim=-1).masked_fill(~video.frame_mask, 0.0)

    def _logits(self, text: fs.TextFeatures, video: fs.VideoFeatures) -> Tensor:
        frame = unit(video.frame.masked_fill(~video.frame_mask[..., None], 0.0))
        cosine = torch.einsum("td,vfd->tvf", unit(text.sentence), frame)
        lowest = torch.finfo(cosine.dtype).min  # finite: a row of -inf would be NaN
        return (cosine / self.config.temperature).masked_fill(~video.frame_mask, lowest)


def main(videos: int = 60) -> None:
    """Compare it with two of framesift's own on a small Storyboard gallery, with the bundled encoder."""
    model = fs.load("storyboard-clip")
    board = standard(videos)
    with TemporaryDirectory() as folder:
        files = write_split(board.videos, folder)
        frames = [fs.decode(file, fs.Uniform(num_frames=model.num_frames)) for file in files]
    text, video = model.encode_text(board.texts), model.encode_video(frames)
    for matcher in (fs.MeanPool(), fs.SoftmaxPool(), LogSumExpPool(LogSumExpPoolConfig())):
        result = fs.evaluate(matcher.eval(), text, video, relevance=board.relevance)
        print(f"{matcher.name:>13}  t2v R@1 {result.t2v.recall_at[1]:5.1f}  MdR {result.t2v.median_rank:g}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
