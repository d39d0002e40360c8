"""Which system is the best of a table, if that can be said at all."""

from __future__ import annotations

from collections.abc import Sequence

from .measured import METRICS, Difference, Score, System

__all__ = ["best_of", "leader", "stands_apart"]

_HIGHER = {metric.key: metric.higher_is_better for metric in METRICS}


def leader(systems: Sequence[System], key: str) -> System | None:
    """The system with the best value, by ``t2v_r1`` or another key; None where none has one."""
    having = [system for system in systems if key in system.scores]
    if not having:
        return None
    sign = 1 if _HIGHER[key.partition("_")[2]] else -1
    return max(having, key=lambda system: sign * system.scores[key].value)


def best_of(systems: Sequence[System], key: str, differences: Sequence[Difference] = ()) -> System | None:
    """The system that is better than every other one beyond doubt; None where there is none, or nothing to compare.

    Beyond doubt is a significant paired difference; or, where there is no paired comparison, a 95 % interval that lies
    apart from the other's.
    """
    first = leader(systems, key)
    others = [system for system in systems if key in system.scores and system is not first]
    if first is None or not others:
        return None
    clear = all(_is_better(first, other, key, differences) for other in others)
    return first if clear else None


def stands_apart(first: Score, second: Score) -> bool:
    """Whether both have intervals, and these do not touch."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.low > second.high or first.high < second.low


def _is_better(first: System, other: System, key: str, differences: Sequence[Difference]) -> bool:
    for difference in differences:
        if difference.metric == key and {difference.first, difference.second} == {first.name, other.name}:
            return difference.significant
    return stands_apart(first.scores[key], other.scores[key])
