"""Temporal modules: how do frames inform one another?"""

from __future__ import annotations

from .base import Identity, IdentityConfig, Temporal
from .lstm import TemporalLSTM, TemporalLSTMConfig
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
]

TEMPORALS: dict[str, type[Temporal]] = {
    "identity": Identity,
    "transformer": TemporalTransformer,
    "lstm": TemporalLSTM,
}
"""The temporal modules of this package, by name."""
