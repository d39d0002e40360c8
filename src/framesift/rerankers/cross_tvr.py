"""CrossTVR (Dai et al., 2023, "Fine-grained Text-Video Retrieval with Frozen Image Encoders").

A first stage ranks the gallery by cosine; the best few videos are compared with the text token by token. A
Q-Former reads each frame in the light of the text (spatial pass); the mean of its queries over the frames then
reads the few tokens of every frame that a selector keeps, all frames at once (temporal pass). Two cheap passes stand
for one attention over all tokens of all frames. The image encoder is frozen, so that its tokens are computed once.

The paper's code is not public: this is written from its text. What that leaves open is a field of
:class:`CrossTVRConfig`, and says so there. Deviations: padded frames take no part in either pass. The matching layer
sees every query and its logits are averaged, as in BLIP-2; averaging the queries first would be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..errors import ConfigError, MissingFeatureError, ShapeError
from ..explanation import Explanation
from ..features import TextFeatures, VideoFeatures
from .base import Fusion, Reranker
from .qformer import Attention, QFormer, QFormerConfig, QFormerEncoder, Visual
from .token_selection import TokenSelector
from .wordpiece import WordPiece

__all__ = ["CrossTVR", "CrossTVRConfig"]

PAIR_FRAMES = 128
"""Frames of pairs that go through the spatial pass together: about 200 MiB at BLIP-2's size and 257 tokens a frame."""

TOKENS = 8192
"""Image tokens whose keys and values are held at once: 300 MiB at BLIP-2's size."""


@dataclass(frozen=True, kw_only=True)
class CrossTVRConfig:
    """Configuration of :class:`CrossTVR`. "Open" marks what the paper does not say.

    Attributes:
        qformer: sizes of the Q-Former. BLIP-2's take tokens of EVA-CLIP ViT-g/14; for CLIP ViT-B/32 ``visual_width``
            is 768, and BLIP-2's key and value maps do not fit, so that they are learned anew.
        adapter_from: width of the encoder's tokens where a learned linear map brings them to ``visual_width``, which
            lets BLIP-2's key and value maps fit any encoder; ``None``: no such map. Open, paper: "initialised from
            BLIP-2, other modules random".
        encoder: the frozen image encoder whose tokens it was trained on, by bundled name, directory or hub id, for
            :func:`.hub.load_image_encoder`; empty: the first stage's. The paper has both, at equal R@1.
        num_selected: tokens kept a frame for the temporal pass, the class token included (M in the paper: 4).
        keep_class: the class token is always one of them. Open; TS2-Net, whose selector the paper cites, does this.
        selector_activation: of the selector's scores; ``softmax`` in the paper, ``tanh`` in TS2-Net's code.
        selection_samples, selection_sigma: noise of the selector in training (TS2-Net's code). Open.
        passes: which passes there are, for ablations (paper, table 6). Without the spatial pass the temporal one starts
            from the learned queries; without the temporal pass the mean over the frames is matched.
        shared: both passes use one set of layers (paper: R@1 49.6, against 48.6 for two sets).
        temporal_words: the temporal pass reads the text again. Open; without, it sees it through the queries only.
        word_width: ``None``: the text's tokens are the Q-Former's own word embeddings; else the first stage's words
            of that width, through a linear map. Open, the paper's figure 2 has a "text encoder".
        max_words: longest text in tokens (paper: 32; 64 for DiDeMo).
        score: of a pair: the logit of "match" (BLIP-2), its log-odds, or its probability. Open.
        weight, coarse_scale: see :class:`.base.Fusion`; the paper adds the two stages' scores. Open: their scales.
    """

    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    adapter_from: int | None = None
    encoder: str = ""
    num_selected: int = 4
    keep_class: bool = True
    selector_activation: Literal["softmax", "tanh"] = "softmax"
    selection_samples: int = 500
    selection_sigma: float = 0.05
    passes: Literal["both", "spatial", "temporal"] = "both"
    shared: bool = True
    temporal_words: bool = True
    word_width: int | None = None
    max_words: int = 32
    score: Literal["logit", "log_odds", "probability"] = "logit"
    weight: float = 1.0
    coarse_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_selected", "selection_samples", "max_words", "adapter_from", "word_width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value}: expected at least 1")
        if self.selection_sigma <= 0:
            raise ConfigError(f"selection_sigma={self.selection_sigma}: expected a positive number")
        if self.word_width is None and self.max_words > self.qformer.max_positions:
            raise ConfigError(
                f"max_words={self.max_words}: expected at most qformer.max_positions={self.qformer.max_positions}"
            )
        Fusion(weight=self.weight, coarse_scale=self.coarse_scale)


@final
class CrossTVR(Reranker):
    """Whether a text and a video match, from the words of one and the image tokens of the other.

    Reads ``word`` of texts, which :meth:`text_features` makes, and ``patch`` of videos: the tokens of the frozen
    encoder, normalised by its last layer norm.

    Attributes:
        tokenizer: words of the Q-Former's own; ``None`` until it is set or loaded.
    """

    name = "cross_tvr"
    Config = CrossTVRConfig
    config: CrossTVRConfig
    reads_patches = True
    explains = frozenset({"patch_weight", "patch_selected"})
    tokenizer: WordPiece | None

    def __init__(self, config: CrossTVRConfig | None = None, *, tokenizer: WordPiece | None = None) -> None:
        config = config or CrossTVRConfig()
        super().__init__(config)
        sizes = config.qformer
        self.tokenizer = tokenizer
        self.qformer = QFormer(sizes)
        two_sets = config.passes == "both" and not config.shared
        self.temporal = QFormerEncoder(sizes) if two_sets else None
        self.adapter = (
            None if config.adapter_from is None else nn.Linear(config.adapter_from, sizes.visual_width)
        )
        self.word_map = None if config.word_width is None else nn.Linear(config.word_width, sizes.hidden)
        self.selector = TokenSelector(
            sizes.visual_width,
            config.num_selected,
            keep_class=config.keep_class,
            activation=config.selector_activation,
            samples=config.selection_samples,
            sigma=config.selection_sigma,
        )
        self.match = nn.Linear(sizes.hidden, 2)  # no match, match

    @property
    def reads_words(self) -> bool:
        """Where it has no word embeddings of its own."""
        return self.word_map is not None

    @property
    def image_encoder(self) -> str:
        """The configuration's."""
        return self.config.encoder

    @property
    def fusion(self) -> Fusion:
        """The configuration's."""
        return Fusion(weight=self.config.weight, coarse_scale=self.config.coarse_scale)

    def text_features(self, texts: Sequence[str], text: TextFeatures) -> TextFeatures:
        """The Q-Former's own embedded words, differentiable; ``sentence`` is the first of them, [CLS].

        ``text`` itself where the first stage's words are read.

        Raises:
            MissingFeatureError: there is no tokenizer.
        """
        if self.word_map is not None:
            return text
        if self.tokenizer is None:
            raise MissingFeatureError(
                "this CrossTVR has no vocabulary: set its tokenizer, WordPiece.load(directory of a vocab.txt)"
            )
        ids, mask = self.tokenizer(texts, max_tokens=self.config.max_words)
        device = self.match.weight.device
        word = self.qformer.embed_words(ids.to(device))
        return TextFeatures(sentence=word[:, 0], word=word, word_mask=mask.to(device))

    def forward(
        self, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
    ) -> Float[Tensor, " pair"]:
        """Score the pairs ``(row of text, row of video)``; a video without a real frame counts as blank.

        Raises:
            MissingFeatureError: texts without words, or videos without patch tokens.
            ShapeError: the widths do not fit.
        """
        logits = self.logits(text, video, pairs)
        if self.config.score == "logit":
            return logits[:, 1]
        odds = logits[:, 1] - logits[:, 0]
        return odds if self.config.score == "log_odds" else odds.sigmoid()

    def logits(
        self, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
    ) -> Float[Tensor, "pair 2"]:
        """Logits of "no match" and "match", averaged over the queries: what the matching loss takes.

        Memory is bounded whatever the number of pairs: videos are projected a few at a time, each once, and their
        pairs follow in blocks.
        """
        word, word_mask = self._words(text)
        if video.patch is None:
            raise MissingFeatureError(
                "CrossTVR reads patch tokens: encode the videos with patches=True, or add its encoder's"
            )
        order = pairs[:, 1].argsort(stable=True)
        blocks = [pairs.new_zeros(0, 2).to(word.dtype)]
        for chosen in self._groups(video, pairs[order, 1]):
            rows, local = pairs[order[chosen], 1].unique_consecutive(return_inverse=True)
            frames = self._project(video[rows])
            texts = pairs[order[chosen], 0]
            for t, v in zip(
                texts.split(frames.pairs_at_once), local.split(frames.pairs_at_once), strict=True
            ):
                blocks.append(self._pair_logits(word, word_mask, t, frames, v))
        return torch.cat(blocks)[order.argsort()]

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """What the queries look at in each frame, in the last layer that looks (mean over queries and heads), and the
        tokens that are kept for the temporal pass; without one of the passes, what is told of it is missing."""
        looks: list[Tensor] = []

        def keep(attention: Attention, given: tuple[Any, ...], attended: Tensor) -> None:
            looks.append(attention.weights(*given))

        hook = self.qformer.encoder.last_look.register_forward_hook(keep)
        try:
            told = super().explain(text, video)
        finally:
            hook.remove()
        assert video.patch is not None  # or there was no score
        mask, shape = video.frame_mask[0], video.patch.shape[1:3]
        if self.config.passes != "temporal":
            weight = looks[0].mean(dim=(1, 2))  # of the spatial pass, which comes first
            told |= Explanation(patch_weight=weight.new_zeros(shape).index_put((mask,), weight))
        if self.config.passes != "spatial":
            kept = self.selector.kept(self._tokens(video))
            selected = mask.new_zeros(len(kept), shape[1]).scatter(1, kept, True)
            told |= Explanation(patch_selected=selected.new_zeros(shape).index_put((mask,), selected))
        return told

    def save_files(self, directory: Path) -> None:
        """The vocabulary."""
        if self.tokenizer is not None:
            self.tokenizer.save(directory)

    def load_files(self, directory: Path) -> None:
        """The vocabulary, where there is one."""
        if directory.is_dir():
            self.tokenizer = WordPiece.load(directory)

    def _pair_logits(
        self,
        word: Float[Tensor, "text word hidden"],
        word_mask: Bool[Tensor, "text word"],
        text: Int64[Tensor, " pair"],
        frames: _Frames,
        video: Int64[Tensor, " pair"],
    ) -> Float[Tensor, "pair 2"]:
        """The paper's equations for a block of pairs: ``text`` is a row of words each, ``video`` one of ``frames``."""
        encoder = self.qformer.encoder
        # 1 and 2: the queries read every real frame in the light of the text
        texts, own = text.unique(return_inverse=True)
        start = self.qformer.query_tokens.expand(len(texts), -1, -1)
        if self.config.passes == "temporal":
            query, word, word_mask = start[own], word[text], word_mask[text]
        else:
            query, begun = encoder.begin(start, word[texts], word_mask[texts])
            word, word_mask = word[text], word_mask[text]
            pair, frame = frames.mask[video].nonzero(as_tuple=True)
            row, spatial = own[pair], frames.spatial.take(frames.index[video[pair], frame])
            seen = encoder.finish(query[row], begun[row], word_mask[pair], spatial, queries_only=True)
            # 3: their mean over the frames
            total = seen.new_zeros(len(word), *seen.shape[1:]).index_add(0, pair, seen)
            query = total / frames.mask[video].sum(dim=1).clamp_min(1)[:, None, None]
        if self.config.passes == "spatial":
            return self.match(query).mean(dim=1)
        # 6: it reads the selected tokens of all frames
        if not self.config.temporal_words:
            word, word_mask = word[:, :0], word_mask[:, :0]
        temporal = self.temporal or encoder
        last = temporal(query, word, word_mask, frames.temporal.take(video), queries_only=True)
        return self.match(last).mean(dim=1)

    def _project(self, video: VideoFeatures) -> _Frames:
        """What both passes need of some videos, which no text changes."""
        mask, token = video.frame_mask, self._tokens(video)
        selected = self.selector(token)  # equations 4 and 5
        kept = selected.new_zeros(*mask.shape, *selected.shape[1:]).index_put(
            mask.nonzero(as_tuple=True), selected
        )
        blank = ~mask.any(dim=1, keepdim=True)
        kept_mask = (mask | blank)[..., None].expand(-1, -1, kept.shape[2])
        return _Frames(
            mask=mask,
            index=(mask.flatten().cumsum(0) - 1).reshape(mask.shape),
            spatial=self.qformer.encoder.project(token),
            temporal=(self.temporal or self.qformer.encoder).project(
                kept.flatten(1, 2), kept_mask.flatten(1)
            ),
        )

    def _tokens(self, video: VideoFeatures) -> Float[Tensor, "frame token width"]:
        """The tokens of all real frames, as wide as the Q-Former reads them."""
        assert video.patch is not None
        token = video.patch[video.frame_mask].to(self.match.weight.dtype)
        expected = self.config.adapter_from or self.config.qformer.visual_width
        if token.shape[2] != expected:
            raise ShapeError("VideoFeatures.patch", expected=f"{expected} wide", got=list(video.patch.shape))
        return token if self.adapter is None else self.adapter(token)

    def _words(
        self, text: TextFeatures
    ) -> tuple[Float[Tensor, "text word hidden"], Bool[Tensor, "text word"]]:
        if text.word is None or text.word_mask is None:
            raise MissingFeatureError(
                "CrossTVR reads words: give it reranker.text_features(texts, text), or the first stage's words"
            )
        used = text.word_mask.any(dim=0)  # elsewhere every text is padded
        word, mask = text.word[:, used].to(self.match.weight.dtype), text.word_mask[:, used]
        word = word.masked_fill(~mask[..., None], 0.0)
        expected = self.config.word_width or self.config.qformer.hidden
        if word.shape[2] != expected:
            raise ShapeError("TextFeatures.word", expected=f"{expected} wide", got=list(word.shape))
        return word if self.word_map is None else self.word_map(word), mask

    @staticmethod
    def _groups(video: VideoFeatures, sorted_rows: Int64[Tensor, " pair"]) -> Iterator[slice]:
        """Consecutive pairs whose videos have at most ``TOKENS`` tokens together (or are one video)."""
        assert video.patch is not None
        tokens = video.patch.shape[1] * video.patch.shape[2]
        videos = max(1, TOKENS // max(1, tokens))
        ends = sorted_rows.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
        start = 0
        for last in range(videos - 1, len(ends) + videos - 1, videos):
            end = ends[min(last, len(ends) - 1)]
            yield slice(start, end)
            start = end


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frames:
    """Videos, projected.

    Attributes:
        mask: True at real frames, ``[video, frame]``.
        index: which image of ``spatial`` a real frame is, ``[video, frame]``.
        spatial: all tokens of every real frame.
        temporal: the selected tokens of every video, frame after frame.
    """

    mask: Bool[Tensor, "video frame"]
    index: Int64[Tensor, "video frame"]
    spatial: Visual
    temporal: Visual

    @property
    def pairs_at_once(self) -> int:
        """Pairs of a block."""
        return max(1, PAIR_FRAMES // max(1, self.mask.shape[1]))
