"""Matchers: how similar is every text to every video?"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from ..config import from_dict
from ..errors import ConfigError, suggest
from ..similarity import QueryScorer, Scorer
from .base import Matcher
from .mean_pool import MeanPool, MeanPoolConfig
from .multi_grained import Contrasts, MultiGrained, MultiGrainedConfig
from .selected_tokens import SelectedTokens, SelectedTokensConfig
from .softmax_pool import SoftmaxPool, SoftmaxPoolConfig
from .top_k import TopK, TopKConfig
from .xpool import XPool, XPoolConfig

__all__ = [
    "MATCHERS",
    "Contrasts",
    "Matcher",
    "MeanPool",
    "MeanPoolConfig",
    "MultiGrained",
    "MultiGrainedConfig",
    "QueryScorer",
    "Scorer",
    "SelectedTokens",
    "SelectedTokensConfig",
    "SoftmaxPool",
    "SoftmaxPoolConfig",
    "TopK",
    "TopKConfig",
    "XPool",
    "XPoolConfig",
    "build_matcher",
]

MATCHERS: dict[str, type[Matcher]] = {
    "mean_pool": MeanPool,
    "top_k": TopK,
    "softmax_pool": SoftmaxPool,
    "xpool": XPool,
    "multi_grained": MultiGrained,
    "selected_tokens": SelectedTokens,
}
"""The matchers of this package, by name."""

ENTRY_POINTS = "framesift.matchers"
"""Group in which other packages list their matchers: ``name = "package.module:Class"``."""


def build_matcher(name: str, config: Mapping[str, Any] | None = None) -> Matcher:
    """A matcher by name, ours or another package's, from plain configuration values.

    Raises:
        ConfigError: unknown name, unknown key or bad value; or another package's matcher cannot be loaded.
    """
    cls = MATCHERS.get(name) or _from_entry_point(name)
    return cls.from_config(from_dict(cls.Config, config or {}, where="matcher.config"))


def _from_entry_point(name: str) -> type[Matcher]:
    others = entry_points(group=ENTRY_POINTS)
    if name not in others.names:
        known = sorted({*MATCHERS, *others.names})
        raise ConfigError(f"no matcher {name!r}{suggest(name, known)} (known: {', '.join(known)})")
    point = others[name]
    try:
        cls = point.load()
    except Exception as error:  # another package's code: it may fail in any way
        raise ConfigError(f"matcher {name!r} ({point.value}) cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Matcher)):
        raise ConfigError(f"matcher {name!r} ({point.value}) is not a subclass of framesift.matchers.Matcher")
    return cls
