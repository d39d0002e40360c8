"""Temporal modules: how do frames inform one another?"""

from __future__ import annotations

from .base import Identity, IdentityConfig, Temporal

__all__ = ["TEMPORALS", "Identity", "IdentityConfig", "Temporal"]

TEMPORALS: dict[str, type[Temporal]] = {"identity": Identity}
"""The temporal modules of this package, by name."""
