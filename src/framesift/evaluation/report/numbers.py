"""Numbers, sizes and names of JSON values as a reader wants them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["as_number", "as_words", "show", "show_duration", "show_fixed"]

LONGEST = 300  # characters of one value
FEW = 12  # numbers of a list that are still shown one by one


def as_number(value: Any) -> float | None:
    """A finite number, else None; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def as_words(key: str) -> str:
    """``median_rank`` as ``median rank``; the unit of a key in brackets: ``cpu_s`` as ``cpu (s)``."""
    for ending, unit in (("_bytes", ""), ("_s", " (s)"), ("_px", " (px)")):
        if key.endswith(ending) and len(key) > len(ending):
            return key.removesuffix(ending).replace("_", " ") + unit
    return key.replace("_", " ")


def show_fixed(value: float, digits: int = 1) -> str:
    """With a fixed number of decimals and a comma between thousands."""
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text.removeprefix("-")
    return text.replace("-", "−")


def show_duration(seconds: float) -> str:
    """``8.2 s``, ``5 min 57 s``, ``3 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def show(value: Any, *, key: str = "") -> str:
    """A value of a JSON file in few characters; ``key`` tells sizes in bytes from other numbers."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return (
            _bytes(float(value))
            if key.endswith("bytes")
            else f"{value:,}"
            if abs(value) >= 10_000
            else str(value)
        )
    if isinstance(value, float):
        return _bytes(float(value)) if key.endswith("bytes") else _float(value)
    if isinstance(value, list):
        return _list(value, key)
    if isinstance(value, dict):
        return _short(
            "; ".join(f"{as_words(str(name))} {show(held, key=str(name))}" for name, held in value.items())
        )
    return _short(str(value))


def _list(values: list[Any], key: str) -> str:
    if not values:
        return "none"
    numbers = [number for value in values if (number := as_number(value)) is not None]
    if len(numbers) == len(values) > FEW:
        low, high = show(min(numbers), key=key), show(max(numbers), key=key)
        return f"{len(values)} values, {low} to {high}"
    return _short(", ".join(show(value, key=key) for value in values))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _float(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e9:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.4g}"


def _bytes(size: float) -> str:
    for suffix in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {suffix}" if suffix == "B" else f"{size:.1f} {suffix}"
        size /= 1000
    return f"{size:.1f} TB"
