"""X-CLIP (Ma et al., ACM MM 2022, "X-CLIP: End-to-End Multi-grained Contrastive Learning for Video-Text Retrieval").

Compare every grain of a text, the sentence and its words, with every grain of a video, the whole and its frames
(section 3.2), and reduce each grid of scores to one by attention over the similarity matrix (section 3.3): scores that
are high count more, since the weights are a softmax of the scores themselves.

The learned matrices are those of the released code; the paper's equations have none inside the attention. As they are
tied to positions, a model has a fixed number of words and of frames.

Deviations from the published code: padded words and frames take no part, unless ``mask_padding`` is off; a video
without a real frame has similarity 0 where the published form gives NaN. A video feature that a temporal module made
(``VideoFeatures.video``) is used where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ConfigError, MissingFeatureError, ShapeError
from ..explanation import Explanation
from ..features import Similarity, TextFeatures, VideoFeatures, masked_mean, unit
from ..similarity import QueryScorer, Scorer
from .base import Matcher, masked_softmax, real_frames

__all__ = ["AOSM_TEMPERATURE", "Contrasts", "MultiGrained", "MultiGrainedConfig"]

AOSM_TEMPERATURE = 1e-2  # X-CLIP, released configuration


@dataclass(frozen=True, kw_only=True)
class MultiGrainedConfig:
    """Configuration of :class:`MultiGrained`.

    Attributes:
        dim: dimensions of the joint space.
        max_words: words of a text, special tokens included; longer texts are cut when they are encoded.
        max_frames: frames of a video.
        mask_padding: leave padded words and frames out. Off, they count as in the released code.
        needs_video: refuse videos without ``VideoFeatures.video`` rather than take the mean of their frames: for a
            model whose temporal module makes it.
    """

    dim: int = 512  # CLIP ViT-B/32
    max_words: int = 32  # X-CLIP, section 4.2: 32 words and 12 frames, or 64 and 64 for paragraphs
    max_frames: int = 12
    mask_padding: bool = True
    needs_video: bool = False

    def __post_init__(self) -> None:
        for name in ("dim", "max_words", "max_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: expected at least 1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrasts:
    """The four scores of every pair, unscaled, and the grid that the last is made of.

    Attributes:
        video_sentence: the whole video with the sentence (equation 3), ``[text, video]``.
        video_word: the whole video with the words (equations 4, 8), ``[text, video]``.
        sentence_frame: the frames with the sentence (equations 5, 9), ``[text, video]``.
        frame_word: the frames with the words (equations 6, 10 to 13), ``[text, video]``.
        word_frame: every word with every frame, ``[text, video, word, frame]``; 0 where either is left out.
    """

    video_sentence: Float[Tensor, "text video"]
    video_word: Float[Tensor, "text video"]
    sentence_frame: Float[Tensor, "text video"]
    frame_word: Float[Tensor, "text video"]
    word_frame: Float[Tensor, "text video word frame"]

    @property
    def similarity(self) -> Float[Tensor, "text video"]:
        """Their mean (equation 14)."""
        return (self.video_sentence + self.video_word + self.sentence_frame + self.frame_word) / 4


class Grains(NamedTuple):
    """Texts or videos at both grains, as unit vectors: sentence and words, or video and frames.

    Attributes:
        whole: ``[row, dim]``.
        part: ``[row, part, dim]``; zero where masked.
        mask: True at the parts that count, ``[row, part]``.
    """

    whole: Float[Tensor, "row dim"]
    part: Float[Tensor, "row part dim"]
    mask: Bool[Tensor, "row part"]


@final
class MultiGrained(Matcher):
    """Mean of the scores video-sentence, video-word, sentence-frame and frame-word.

    Parameter names are those of the published checkpoints; all start as identity matrices.

    Attributes:
        padding_frame: raw embedding of a blank frame, ``[dim]``. With ``mask_padding`` off it stands where a video has
            no frame, since the released loader pads with blank pictures; frames that were encoded stay as they are.
    """

    name = "multi_grained"
    Config = MultiGrainedConfig
    config: MultiGrainedConfig
    explains = frozenset({"frame_weight", "contrasts", "word_frame"})
    padding_frame: Tensor

    def __init__(self, config: MultiGrainedConfig | None = None) -> None:
        config = config or MultiGrainedConfig()
        super().__init__(config)
        self.global_mat_weight = _identity(config.dim)  # between video and sentence
        self.local_mat_weight = _identity(config.dim)  # between frames and words
        # attention over words: of video-word scores, and of frame-word scores as the first and the second step
        self.word_logit_weight = _identity(config.max_words)
        self.word_mat_weight = _identity(config.max_words)
        self.word_mat_weight2 = _identity(config.max_words)
        # the same over frames, with sentence-frame scores
        self.frame_logit_weight = _identity(config.max_frames)
        self.frame_mat_weight = _identity(config.max_frames)
        self.frame_mat_weight2 = _identity(config.max_frames)
        self.register_buffer("padding_frame", torch.zeros(config.dim))

    @property
    def num_words(self) -> int:
        """Words of every text that it needs."""
        return self.config.max_words

    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Similarity of every text with every video; 0 for a video without a real frame.

        Raises:
            ShapeError: other dimensions, or more words or frames than the learned matrices have.
            MissingFeatureError: the texts have no words, or the videos no ``video`` that is needed.
        """
        return self.contrasts(text, video).similarity

    def contrasts(self, text: TextFeatures, video: VideoFeatures) -> Contrasts:
        """The four scores apart, and the grid of words and frames, whose memory is that of all pairs at once."""
        self._check(text, video, dim=self.config.dim)
        sentence, word, word_mask = self.text_grains(text)
        whole, frame, frame_mask = self.video_grains(video)
        word_mask = word_mask[:, None]  # [text, 1, word]
        word_frame = torch.einsum("twd,vfd->tvwf", word @ self.local_mat_weight, frame)
        by_frame = _attend(word_frame.mT, self.word_mat_weight, word_mask[:, None])
        by_word = _attend(word_frame, self.frame_mat_weight, frame_mask[:, None])
        over_frames = _attend(by_frame, self.frame_mat_weight2, frame_mask)
        over_words = _attend(by_word, self.word_mat_weight2, word_mask)
        video_word = torch.einsum("twd,vd->tvw", word, whole)
        sentence_frame = torch.einsum("td,vfd->tvf", sentence, frame)
        return Contrasts(
            video_sentence=sentence @ self.global_mat_weight @ whole.T,
            video_word=_attend(video_word, self.word_logit_weight, word_mask),
            sentence_frame=_attend(sentence_frame, self.frame_logit_weight, frame_mask),
            frame_word=(over_frames + over_words) / 2,
            word_frame=word_frame,
        )

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """Softmax of the sentence-frame scores of the real frames, before the learned matrix; needs no words."""
        self._check(text, video, dim=self.config.dim)
        dtype = self._dtype
        sentence, frame = unit(text.sentence.to(dtype)), unit(real_frames(video, dtype))
        cosine = torch.einsum("td,vfd->tvf", sentence, frame)
        return masked_softmax(cosine / AOSM_TEMPERATURE, video.frame_mask)

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The four scores and the grid of the real words and the frames, besides the weights of the frames."""
        found = self.contrasts(text, video)
        assert text.word_mask is not None  # or there were no contrasts
        words, frames = (
            text.word_mask[0, : self.config.max_words],
            video.frame_mask[0, : self.config.max_frames],
        )
        grid = found.word_frame[0, 0, : len(words), : len(frames)][words].masked_fill(~frames, 0.0)
        names = ("video_sentence", "video_word", "sentence_frame", "frame_word")
        return Explanation(
            scores={"similarity": found.similarity.item()},
            frame_weight=self.attention(text, video)[0, 0],
            contrasts={name: getattr(found, name).item() for name in names},
            word_frame=grid,
        )

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Normalise the videos and multiply them with the matrices once; see :mod:`.multi_grained_folded`."""
        from .multi_grained_folded import Folded  # here, because the folded form builds on this file

        self._check(None, video, dim=self.config.dim)
        folded = Folded.videos(self, video)

        def score(text: TextFeatures) -> Float[Tensor, "text video"]:
            self._check(text, None, dim=self.config.dim)
            with torch.no_grad():
                return folded.score(self.text_grains(text)).T

        return score

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """The same with the texts folded, so that videos are only normalised."""
        from .multi_grained_folded import Folded

        self._check(text, None, dim=self.config.dim)
        folded = Folded.texts(self, text)

        def score(video: VideoFeatures) -> Float[Tensor, "text video"]:
            self._check(None, video, dim=self.config.dim)
            with torch.no_grad():
                return folded.score(self.video_grains(video))

        return score

    def text_grains(self, text: TextFeatures) -> Grains:
        """Unit sentences and words, ``max_words`` of them.

        Raises:
            MissingFeatureError: the texts have no words.
            ShapeError: a text has more words, or without ``mask_padding`` fewer.
        """
        config = self.config
        if text.word is None or text.word_mask is None:
            raise MissingFeatureError(
                f"{self.name} compares words, but TextFeatures.word is None: encode the texts with the model's"
                f" encode_text, or the encoder's encode_text(texts, words=True, num_words={config.max_words})"
            )
        if text.word.shape[-1] != config.dim:
            found = list(text.word.shape)
            raise ShapeError(
                f"{self.name}: TextFeatures.word", expected=f"{config.dim} dimensions", got=found
            )
        found = text.word.shape[1]
        if not config.mask_padding and found < config.max_words:
            raise ShapeError(
                f"{self.name}: TextFeatures.word",
                expected=f"{config.max_words} words, padding included, since mask_padding is off",
                got=found,
            )
        word, mask = _fit(text.word.to(self._dtype), text.word_mask, config.max_words, f"{self.name}: words")
        if config.mask_padding:
            word = word.masked_fill(~mask[..., None], 0.0)
        else:
            mask = torch.ones_like(mask)
        return Grains(unit(text.sentence.to(self._dtype)), unit(word), mask)

    def video_grains(self, video: VideoFeatures) -> Grains:
        """Unit videos and frames, ``max_frames`` of them.

        Raises:
            MissingFeatureError: the videos have no ``video``, which ``needs_video`` asks for.
            ShapeError: a video has more frames.
        """
        config = self.config
        real = video.frame_mask.any(dim=1, keepdim=True)
        if video.video is not None:
            whole = unit(video.video.to(self._dtype).masked_fill(~real, 0.0))
        elif config.needs_video:
            raise MissingFeatureError(
                f"{self.name} needs VideoFeatures.video, which the model's temporal module makes: encode the videos"
                " with the model's encode_video, not with its encoder alone"
            )
        else:
            whole = masked_mean(real_frames(video, self._dtype), video.frame_mask)
        frame, mask = video.frame.to(self._dtype), video.frame_mask
        frame, mask = _fit(frame, mask, config.max_frames, f"{self.name}: frames")
        if config.mask_padding:
            frame = frame.masked_fill(~mask[..., None], 0.0)
        else:
            blank = ~mask & (frame == 0).all(dim=2)
            frame = torch.where(blank[..., None], self.padding_frame, frame)
            frame = frame.masked_fill(~real[..., None], 0.0)
            mask = torch.ones_like(mask)
        return Grains(whole, unit(frame), mask)

    @property
    def _dtype(self) -> torch.dtype:
        return self.global_mat_weight.dtype


def _identity(size: int) -> nn.Parameter:
    return nn.Parameter(torch.eye(size))


def _attend(
    scores: Float[Tensor, "*batch part"],
    matrix: Float[Tensor, "part part"],
    mask: Bool[Tensor, "*#batch part"],
) -> Float[Tensor, "*batch"]:
    """Attention over scores: ``sum_j (softmax(scores / temperature) matrix)_j scores_j``.

    Masked scores are 0 already, so it is enough that they get no weight before the matrix.
    """
    weights = masked_softmax(scores / AOSM_TEMPERATURE, mask)
    return ((weights @ matrix) * scores).sum(dim=-1)


def _fit(
    x: Float[Tensor, "row given dim"], mask: Bool[Tensor, "row given"], length: int, what: str
) -> tuple[Float[Tensor, "row part dim"], Bool[Tensor, "row part"]]:
    """Exactly ``length`` parts a row: zeros are added, or padding cut off.

    Raises:
        ShapeError: more than padding would be cut off.
    """
    missing = length - x.shape[1]
    if missing >= 0:
        padded = torch.cat([x, x.new_zeros(len(x), missing, x.shape[2])], dim=1)
        return padded, torch.cat([mask, mask.new_zeros(len(x), missing)], dim=1)
    if bool(mask[:, length:].any()):
        raise ShapeError(what, expected=f"at most {length}, as its config says", got=x.shape[1])
    return x[:, :length], mask[:, :length]
