"""Which engine proposes the candidates of a gallery, and how many rows it proposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError

__all__ = ["EXACT_UP_TO", "CandidateConfig", "choose", "default_depth"]

EXACT_UP_TO = (
    100_000  # rows x 512 that one core scores in some 6 ms; below, an approximate engine has little to save
)
DEPTH = 200
"""Candidates that the matcher sees: by scenes three times what 0.98 of X-Pool's own best ten take among 100,000
moments; what they take grows by a quarter when moments become five times as many (results/bench-candidate-depth.json).
"""


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """How candidates are found.

    Attributes:
        kind: the engine. ``auto`` takes ``exact`` for small galleries and ``faiss`` for larger ones; ``milvus`` asks a
            server, which has to be filled first.
        by: what a moment is found by: the ``mean`` of its frames, its best ``frame``, or its best ``scene`` or pair of
            scenes (:func:`.scenes_of`). ``auto`` takes what the model's matcher calls for: the mean where that decides
            its scores, else scenes.
        rescored: how many of the rows that an approximate engine finds are scored again from their exact vectors; it
            grows with the candidate depth. More finds more of the rows that exact scoring finds, for more work.
        probes: how many lists of codes ``faiss`` reads for a query, where the codes are in lists (from
            ``lists_for`` on); None: as many as can be expected to hold what exact scoring finds.
        milvus_uri: where the server is, ``http://host:19530``, or the path of a Milvus Lite file.
        milvus_collection: its collection; by default one named after the index.
    """

    kind: Literal["auto", "exact", "faiss", "milvus"] = "auto"
    by: Literal["auto", "mean", "frame", "scene"] = "auto"
    rescored: int = 1000
    probes: int | None = None
    milvus_uri: str | None = None
    milvus_collection: str | None = None

    def __post_init__(self) -> None:
        for key, value, choices in (
            ("kind", self.kind, ("auto", "exact", "faiss", "milvus")),
            ("by", self.by, ("auto", "mean", "frame", "scene")),
        ):
            if value not in choices:
                raise ConfigError(f"candidates.{key} is {value!r}; it must be one of {', '.join(choices)}")
        if self.rescored < 1:
            raise ConfigError(f"candidates.rescored is {self.rescored}; it must be at least 1")
        if self.probes is not None and self.probes < 1:
            raise ConfigError(
                f"candidates.probes is {self.probes}; it must be at least 1, or None for as many as it takes"
            )


def choose(rows: int, config: CandidateConfig) -> Literal["exact", "faiss", "milvus"]:
    """The engine for a gallery.

    Args:
        rows: how many vectors are searched: moments by their means, else frames, or scenes with pairs of them.
        config: what was asked for.
    """
    if config.kind == "auto":
        return "exact" if rows <= EXACT_UP_TO else "faiss"
    return config.kind


def default_depth(moments: int) -> int:
    """How many candidates the matcher sees by default in a gallery of so many moments."""
    return min(DEPTH, max(moments, 1))
