"""Times of videos as people read them, for the command line and for agents."""

from __future__ import annotations

__all__ = ["format_time"]


def format_time(seconds: float) -> str:
    """``1:02:03.5``, or ``2:03.5`` below an hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
