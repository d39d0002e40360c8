"""Q-Former (Li et al., ICML 2023, "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and
Large Language Models", section 3.1).

A BERT-style encoder whose input is learned queries and the tokens of a text. Self-attention joins the two; in every
second layer the queries, and they alone, also look at the tokens of a frozen image encoder. Queries and text have
feed-forward nets of their own.

Layers are those of BERT: post-norm, GELU, queries before words, one LayerNorm over both; only words have positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from ..errors import ConfigError, ShapeError

__all__ = ["Attention", "QFormer", "QFormerConfig", "QFormerEncoder", "Visual"]

KeysValues: TypeAlias = tuple[
    Float[Tensor, "image head token width"], Float[Tensor, "image head token width"]
]

LAYER_NORM_EPS = 1e-12  # BERT
INIT_STD = 0.02  # BERT; BLIP-2 uses the same for the query tokens


@dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """Configuration of :class:`QFormer`; the defaults are BLIP-2's, whose layers are BERT-base.

    Attributes:
        visual_width: width of the image encoder's tokens.
        hidden: width of queries and words.
        num_layers: layers.
        num_heads: attention heads; divides ``hidden``.
        ffn_width: inner width of the feed-forward nets.
        cross_every: layers 0, ``cross_every``, 2 ``cross_every``, ... look at the image.
        num_queries: learned queries.
        vocab_size: rows of the word table.
        max_positions: rows of the position table: the longest text, in tokens.
        dropout: probability, of hidden states and attention weights, in training only.
    """

    visual_width: int = 1408  # EVA-CLIP ViT-g/14
    hidden: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_width: int = 3072
    cross_every: int = 2
    num_queries: int = 32
    vocab_size: int = 30523  # BERT's uncased WordPieces and [DEC]
    max_positions: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "dropout" and value < 1:
                raise ConfigError(f"{name}={value}: expected at least 1")
        if self.hidden % self.num_heads:
            raise ConfigError(f"num_heads={self.num_heads}: expected a divisor of hidden={self.hidden}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout={self.dropout}: expected a probability below 1")


class Attention(nn.Module):
    """Multi-head attention with BERT's output: a linear map, the residual, a LayerNorm."""

    def __init__(self, config: QFormerConfig, *, source_width: int) -> None:
        super().__init__()
        hidden = config.hidden
        self.num_heads = config.num_heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(source_width, hidden)
        self.value = nn.Linear(source_width, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, source: Float[Tensor, "batch token source"]) -> KeysValues:
        """Keys and values of what is attended to."""
        return self._split(self.key(source)), self._split(self.value(source))

    def forward(
        self,
        x: Float[Tensor, "batch row hidden"],
        source: KeysValues,
        mask: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch row hidden"]:
        """Attend from ``x`` to the projected source; ``mask`` is True at its real tokens."""
        attended = scaled_dot_product_attention(
            self._split(self.query(x)),
            *source,
            attn_mask=None if mask is None else mask[:, None, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return self.norm(x + self.dropout(self.out(attended.transpose(1, 2).flatten(2))))

    def weights(
        self,
        x: Float[Tensor, "batch row hidden"],
        source: KeysValues,
        mask: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch head row token"]:
        """The attention of :meth:`forward`, without dropout."""
        query, key = self._split(self.query(x)), source[0]
        logits = query @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
        return logits.softmax(dim=3)

    def _split(self, x: Float[Tensor, "batch token hidden"]) -> Float[Tensor, "batch head token width"]:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear maps with a GELU between them, the residual, a LayerNorm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden, config.ffn_width)
        self.down = nn.Linear(config.ffn_width, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch row hidden"]) -> Float[Tensor, "batch row hidden"]:
        return self.norm(x + self.dropout(self.down(gelu(self.up(x)))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Visual:
    """Image tokens as the layers see them: projected once, for any number of texts.

    Attributes:
        layers: keys and values of every layer that looks at the image, ``[image, head, token, width]`` each.
        mask: True at real tokens, ``[image, token]``; ``None`` where all are real.
        rows: which image each row of a batch looks at; ``None`` for the images in their order.
    """

    layers: Sequence[KeysValues]
    mask: Bool[Tensor, "image token"] | None = None
    rows: Int[Tensor, " batch"] | None = None

    def take(self, rows: Int[Tensor, " batch"]) -> Visual:
        """The same images for other rows of a batch; copied one layer at a time, when that layer asks."""
        return replace(self, rows=rows)

    def source(self, layer: int) -> KeysValues:
        """Keys and values for every row of the batch; ``layer`` counts those that look at the image."""
        keys, values = self.layers[layer]
        return (keys, values) if self.rows is None else (keys[self.rows], values[self.rows])

    def source_mask(self) -> Bool[Tensor, "batch token"] | None:
        """True at the real tokens of every row of the batch."""
        return self.mask if self.mask is None or self.rows is None else self.mask[self.rows]


class Layer(nn.Module):
    """Self-attention over queries and words, cross-attention of the queries, feed-forward nets."""

    def __init__(self, config: QFormerConfig, *, cross: bool) -> None:
        super().__init__()
        self.attention = Attention(config, source_width=config.hidden)
        self.cross_attention = Attention(config, source_width=config.visual_width) if cross else None
        self.text_ffn = FeedForward(config)
        self.query_ffn = FeedForward(config)

    def attend(
        self,
        rows: Float[Tensor, "batch row hidden"],
        hidden: Float[Tensor, "batch every hidden"],
        mask: Bool[Tensor, "batch every"],
    ) -> Float[Tensor, "batch row hidden"]:
        """Self-attention of ``rows``, the first of ``hidden`` or all of them, over ``hidden``."""
        return self.attention(rows, self.attention.project(hidden), mask)

    def look(
        self,
        query: Float[Tensor, "batch query hidden"],
        source: KeysValues | None,
        source_mask: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch query hidden"]:
        """The queries' part after it; ``source`` is ``None`` where no image is looked at."""
        if self.cross_attention is not None and source is not None:
            query = self.cross_attention(query, source, source_mask)
        return self.query_ffn(query)


class QFormerEncoder(nn.Module):
    """The layers of a Q-Former, for queries and words that are embedded already."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.hidden, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            Layer(config, cross=i % config.cross_every == 0) for i in range(config.num_layers)
        )
        self.apply(_initialise)
        for layer in self._layers:  # BLIP-2: BERT's feed-forward nets, twice
            layer.query_ffn.load_state_dict(layer.text_ffn.state_dict())

    def project(
        self, tokens: Float[Tensor, "image token visual"], mask: Bool[Tensor, "image token"] | None = None
    ) -> Visual:
        """Image tokens -> what the layers need of them, which no text changes.

        Raises:
            ShapeError: the tokens are not ``visual_width`` wide.
        """
        if tokens.shape[2] != self.config.visual_width:
            expected = f"{self.config.visual_width} wide"
            raise ShapeError("image tokens", expected=expected, got=list(tokens.shape))
        crosses = [layer.cross_attention for layer in self._layers]
        return Visual(layers=[cross.project(tokens) for cross in crosses if cross is not None], mask=mask)

    def begin(
        self,
        query: Float[Tensor, "batch query hidden"],
        word: Float[Tensor, "batch word hidden"],
        word_mask: Bool[Tensor, "batch word"],
    ) -> tuple[Float[Tensor, "batch query hidden"], Float[Tensor, "batch word hidden"]]:
        """What is the same for every image: queries up to their first look at it, words through the first layer."""
        num_queries, first = query.shape[1], self._layers[0]
        hidden = self.dropout(self.norm(torch.cat([query, word], dim=1)))
        hidden = first.attend(hidden, hidden, _joint_mask(num_queries, word_mask))
        return hidden[:, :num_queries], first.text_ffn(hidden[:, num_queries:])

    def finish(
        self,
        query: Float[Tensor, "batch query hidden"],
        word: Float[Tensor, "batch word hidden"],
        word_mask: Bool[Tensor, "batch word"],
        visual: Visual | None,
        *,
        queries_only: bool = False,
    ) -> Float[Tensor, "batch row hidden"]:
        """The rest, from what :meth:`begin` returned: last hidden states, queries first.

        Args:
            queries_only: return no words, and spare their part of the last layer.
        """
        num_queries, last = query.shape[1], len(self.layers) - 1
        mask = _joint_mask(num_queries, word_mask)
        source_mask = None if visual is None else visual.source_mask()
        looks = 0
        for i, layer in enumerate(self._layers):
            if i > 0:
                hidden = torch.cat([query, word], dim=1)
                rows = layer.attend(query if queries_only and i == last else hidden, hidden, mask)
                query, word = rows[:, :num_queries], layer.text_ffn(rows[:, num_queries:])
            source = None
            if layer.cross_attention is not None and visual is not None:
                source, looks = visual.source(looks), looks + 1
            query = layer.look(query, source, source_mask)
        return query if queries_only else torch.cat([query, word], dim=1)

    def forward(
        self,
        query: Float[Tensor, "batch query hidden"],
        word: Float[Tensor, "batch word hidden"],
        word_mask: Bool[Tensor, "batch word"],
        visual: Visual | None,
        *,
        queries_only: bool = False,
    ) -> Float[Tensor, "batch row hidden"]:
        """Last hidden states, queries first.

        Args:
            query: embedded queries; none of them for the text alone.
            word: embedded words; none of them for the image alone.
            word_mask: True at real words.
            visual: the images (:meth:`project`); ``None`` for the text alone.
            queries_only: see :meth:`finish`.
        """
        begun = self.begin(query, word, word_mask)
        return self.finish(*begun, word_mask, visual, queries_only=queries_only)

    @property
    def last_look(self) -> Attention:
        """The attention of the queries to the image in the last layer that has one."""
        return [layer.cross_attention for layer in self._layers if layer.cross_attention is not None][-1]

    @property
    def _layers(self) -> list[Layer]:
        return cast("list[Layer]", list(self.layers))


class QFormer(nn.Module):
    """Learned queries that read the tokens of an image in the light of a text.

    Attributes:
        query_tokens: the learned queries, ``[query, hidden]``.
        encoder: the layers.
    """

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.empty(config.num_queries, config.hidden))
        self.word_embedding = nn.Embedding(config.vocab_size, config.hidden)
        self.position_embedding = nn.Embedding(config.max_positions, config.hidden)
        self.encoder = QFormerEncoder(config)
        nn.init.normal_(self.query_tokens, std=INIT_STD)
        for table in (self.word_embedding, self.position_embedding):
            nn.init.normal_(table.weight, std=INIT_STD)

    def embed_words(self, ids: Int[Tensor, "text word"]) -> Float[Tensor, "text word hidden"]:
        """Word and position embeddings of token ids.

        Raises:
            ShapeError: there are more words than positions.
        """
        if ids.shape[1] > self.config.max_positions:
            raise ShapeError("token ids", expected=f"at most {self.config.max_positions}", got=ids.shape[1])
        return self.word_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]

    def forward(
        self,
        ids: Int[Tensor, "batch word"],
        word_mask: Bool[Tensor, "batch word"],
        tokens: Float[Tensor, "batch token visual"],
        mask: Bool[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch row hidden"]:
        """Last hidden states of a text and an image each, queries first."""
        query = self.query_tokens.expand(len(ids), -1, -1)
        return self.encoder(query, self.embed_words(ids), word_mask, self.encoder.project(tokens, mask))


def _joint_mask(num_queries: int, word_mask: Bool[Tensor, "batch word"]) -> Bool[Tensor, "batch row"]:
    """Queries are always real."""
    return torch.cat([word_mask.new_ones(len(word_mask), num_queries), word_mask], dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)
