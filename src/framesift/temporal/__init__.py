"""Temporal modules: how do frames inform one another?"""

from __future__ import annotations

from .base import Identity, IdentityConfig, Temporal
from .lstm import TemporalLSTM, TemporalLSTMConfig
from .token_selection import TokenSelection, TokenSelectionConfig
from .transformer import TemporalTransformer, TemporalTransformerConfig

__all__ = [
    "TEMPORALS",
    "Identity",
    "IdentityConfig",
    "Temporal",
    "TemporalLSTM",
    "TemporalLSTMConfig",
    "TemporalTransformer",
    "TemporalTransformerConfig",
    "TokenSelection",
    "TokenSelectionConfig",
]

TEMPORALS: dict[str, type[Temporal]] = {
    "identity": Identity,
    "transformer": TemporalTransformer,
    "lstm": TemporalLSTM,
    "token_selection": TokenSelection,
}
"""The temporal modules of this package, by name."""
