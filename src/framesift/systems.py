"""The published systems, each a sentence of an encoder, a temporal module, a matcher and perhaps a reranker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .explanation import Explained
from .matchers import MATCHERS
from .rerankers import RERANKERS
from .temporal import TEMPORALS

__all__ = ["EXPLAINED", "SYSTEMS", "Feature", "Paper", "System"]

Feature: TypeAlias = Literal["frames", "words", "patch tokens"]
"""What is read of texts and videos, besides the embedding of the sentence."""

EXPLAINED: dict[Explained, str] = {
    "frame_weight": "frame weights",
    "contrasts": "contrast scores",
    "word_frame": "words x frames",
    "patch_selected": "selected patches",
    "patch_weight": "patch attention",
}
"""Fields of an :class:`.Explanation` in words, in the order in which they are listed."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a system was published.

    Attributes:
        authors: as cited, ``First et al.``
        year: of the first version on arXiv.
        arxiv: its number there.
        title: in full.
    """

    authors: str
    year: int
    arxiv: str
    title: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}, arXiv:{self.arxiv}"


@dataclass(frozen=True, kw_only=True)
class System:
    """A published system in the registries' names.

    Attributes:
        name: as the paper calls it.
        paper: where it is from.
        encoder: key of :data:`.ENCODERS`.
        temporal: key of :data:`.TEMPORALS`.
        matcher: key of :data:`.MATCHERS`.
        reranker: key of :data:`.RERANKERS`; None: the matcher's order is final.
        needs: what it reads of texts and videos, besides the embedding of the sentence.
        note: what the sentence does not say.
    """

    name: str
    paper: Paper
    encoder: str = "clip"
    temporal: str = "identity"
    matcher: str
    reranker: str | None = None
    needs: tuple[Feature, ...] = ("frames",)
    note: str = ""

    @property
    def sentence(self) -> str:
        """Its parts, joined by plus signs."""
        parts = [self.encoder, self.temporal, self.matcher, self.reranker]
        return " + ".join(part for part in parts if part is not None)

    @property
    def explains(self) -> tuple[Explained, ...]:
        """Fields of an :class:`.Explanation` that its parts fill."""
        told = TEMPORALS[self.temporal].explains | MATCHERS[self.matcher].explains
        if self.reranker is not None:
            told |= RERANKERS[self.reranker].explains
        return tuple(field for field in EXPLAINED if field in told)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "paper": dict(vars(self.paper)),
            "encoder": self.encoder,
            "temporal": self.temporal,
            "matcher": self.matcher,
            "reranker": self.reranker,
            "needs": list(self.needs),
            "explains": list(self.explains),
            "note": self.note,
        }


CLIP = Paper(
    authors="Radford et al.",
    year=2021,
    arxiv="2103.00020",
    title="Learning Transferable Visual Models From Natural Language Supervision",
)
SIGLIP = Paper(
    authors="Zhai et al.",
    year=2023,
    arxiv="2303.15343",
    title="Sigmoid Loss for Language Image Pre-Training",
)
SIGLIP2 = Paper(
    authors="Tschannen et al.",
    year=2025,
    arxiv="2502.14786",
    title="SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization, and"
    " Dense Features",
)
CLIP4CLIP = Paper(
    authors="Luo et al.",
    year=2021,
    arxiv="2104.08860",
    title="CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval",
)
XPOOL = Paper(
    authors="Gorti et al.",
    year=2022,
    arxiv="2203.15086",
    title="X-Pool: Cross-Modal Language-Video Attention for Text-Video Retrieval",
)
XCLIP = Paper(
    authors="Ma et al.",
    year=2022,
    arxiv="2207.07285",
    title="X-CLIP: End-to-End Multi-grained Contrastive Learning for Video-Text Retrieval",
)
TS2NET = Paper(
    authors="Liu et al.",
    year=2022,
    arxiv="2207.07852",
    title="TS2-Net: Token Shift and Selection Transformer for Text-Video Retrieval",
)
CROSSTVR = Paper(
    authors="Dai et al.",
    year=2023,
    arxiv="2307.09972",
    title="Fine-grained Text-Video Retrieval with Frozen Image Encoders",
)

SYSTEMS: tuple[System, ...] = (
    System(name="CLIP, zero-shot", paper=CLIP, matcher="mean_pool", note="nothing is trained on videos"),
    System(name="SigLIP, zero-shot", paper=SIGLIP, encoder="siglip", matcher="softmax_pool"),
    System(name="SigLIP 2, zero-shot", paper=SIGLIP2, encoder="siglip2", matcher="softmax_pool"),
    System(name="CLIP4Clip meanP", paper=CLIP4CLIP, matcher="mean_pool"),
    System(name="CLIP4Clip seqTransf", paper=CLIP4CLIP, temporal="transformer", matcher="mean_pool"),
    System(name="CLIP4Clip seqLSTM", paper=CLIP4CLIP, temporal="lstm", matcher="mean_pool"),
    System(
        name="CLIP4Clip tightTransf",
        paper=CLIP4CLIP,
        matcher="mean_pool",
        reranker="cross_transformer",
        note="as published, the rerank depth is the whole gallery",
    ),
    System(name="X-Pool", paper=XPOOL, matcher="xpool"),
    System(name="X-Pool's mean pooling", paper=XPOOL, matcher="mean_pool", note="baseline"),
    System(name="X-Pool's top-k pooling", paper=XPOOL, matcher="top_k", note="baseline"),
    System(name="X-Pool's attention", paper=XPOOL, matcher="softmax_pool", note="baseline; no parameters"),
    System(
        name="X-CLIP",
        paper=XCLIP,
        temporal="transformer",
        matcher="multi_grained",
        needs=("frames", "words"),
        note="the transformer makes the whole video's embedding and keeps the frames",
    ),
    System(
        name="TS2-Net",
        paper=TS2NET,
        encoder="token_shift_clip",
        temporal="token_selection",
        matcher="selected_tokens",
        needs=("frames", "patch tokens"),
    ),
    System(
        name="CrossTVR",
        paper=CROSSTVR,
        encoder="token_shift_clip",
        temporal="token_selection",
        matcher="selected_tokens",
        reranker="cross_tvr",
        needs=("frames", "words", "patch tokens"),
        note="over any first stage, by default TS2-Net; tokens of a frozen encoder of its own, or of the first stage's",
    ),
)
"""Every system of this package: zero-shot ones, then paper by paper."""
