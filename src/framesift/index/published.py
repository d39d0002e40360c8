"""States of an index under names ("tags"): what a server serves stays as it is until the next state is published.

A tag names one version of both tables, in one small file that is replaced in one step: a reader sees the state from
before or the one after, never the videos of the one with the moments of the other. Cleaning spares what a tag names,
and what one named until a while ago: someone may be reading it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import IndexStateError, InputError, suggest
from .location import Location
from .schema import VIDEOS_TABLE

__all__ = ["DEFAULT_TAG", "PUBLISHED_NAME", "Publication", "Published", "State", "check_tag_name"]

PUBLISHED_NAME = "framesift-published.json"
DEFAULT_TAG = "live"
TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class State:
    """Versions of the two tables that belong together, and when they were committed (seconds since 1970)."""

    videos: int
    moments: int
    time_s: float

    def version(self, table: str) -> int:
        """The version of ``"videos"`` or ``"moments"``."""
        return self.videos if table == VIDEOS_TABLE else self.moments


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a tag names: a version of each of the two tables, and when it was published (seconds since 1970)."""

    tag: str
    videos: int
    moments: int
    published_at_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "tag": self.tag,
            "videos_version": self.videos,
            "moments_version": self.moments,
            "published_at_s": self.published_at_s,
        }


@dataclass(frozen=True)
class Published:
    """All tags of an index.

    Attributes:
        states: by tag, with the time of publication.
        retired: states that a tag has left, with the time at which it did.
    """

    states: Mapping[str, State] = field(default_factory=dict)
    retired: tuple[State, ...] = ()

    @classmethod
    def parse(cls, document: bytes | None, location: Location) -> Published:
        """What :meth:`document` made for the index at ``location``; nothing where nothing was ever published.

        Raises:
            IndexStateError: the document is damaged. It is never taken for an empty one: what it names would be
                cleaned up.
        """
        if document is None:
            return cls()
        try:
            values = json.loads(document)
            states = {str(tag): _state(numbers) for tag, numbers in values["tags"].items()}
            return cls(states, tuple(map(_state, values["retired"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexStateError(
                f"{PUBLISHED_NAME} in the index {str(location)!r}, which says what is published, is damaged ({error}); "
                "delete it and publish again"
            ) from error

    def document(self) -> dict[str, Any]:
        """What :meth:`parse` reads, for JSON."""
        return {
            "tags": {tag: _numbers(state) for tag, state in self.states.items()},
            "retired": [_numbers(state) for state in self.retired],
        }

    def state(self, index: Location, tag: str) -> State:
        """The state of a tag.

        Raises:
            IndexStateError: nothing is published under it.
        """
        if tag not in self.states:
            there = (
                f"there are {', '.join(sorted(self.states))}" if self.states else "nothing is published yet"
            )
            raise IndexStateError(
                f"the index {str(index)!r} has no tag {tag!r} ({there}){suggest(tag, self.states)}; publish its "
                f"present state with: framesift publish --index {index} --tag {tag}"
            )
        return self.states[tag]

    def listed(self) -> tuple[Publication, ...]:
        """What the tags name, by tag."""
        return tuple(
            Publication(tag=tag, videos=state.videos, moments=state.moments, published_at_s=state.time_s)
            for tag, state in sorted(self.states.items())
        )

    def with_tag(self, tag: str, state: State, *, grace_s: float) -> Published:
        """A tag that names ``state`` from ``state.time_s`` on; forgets what was retired ``grace_s`` before that."""
        return self._replaced({**self.states, tag: state}, state.time_s, grace_s)

    def without(self, tag: str, *, now_s: float, grace_s: float) -> Published:
        """The tags but for one."""
        return self._replaced(
            {name: state for name, state in self.states.items() if name != tag}, now_s, grace_s
        )

    def _replaced(self, states: Mapping[str, State], now_s: float, grace_s: float) -> Published:
        left = [
            State(old.videos, old.moments, now_s)
            for tag, old in self.states.items()
            if _pair(states.get(tag)) != _pair(old)
        ]
        recent = (state for state in self.retired if state.time_s >= now_s - grace_s)
        return Published(states, (*recent, *left))

    def kept(self, *, now_s: float, grace_s: float) -> tuple[State, ...]:
        """The states that must not be cleaned up."""
        recent = (state for state in self.retired if state.time_s >= now_s - grace_s)
        return (*self.states.values(), *recent)

    def not_after(self, restored: State) -> Published:
        """The tags after a restoration: one of a state that is gone names the one that was restored.

        Version numbers begin again from there, so that it would name something else some day.
        """
        back = State(restored.videos, restored.moments, time.time())

        def there(state: State) -> bool:
            return state.videos <= restored.videos and state.moments <= restored.moments

        states = {tag: state if there(state) else back for tag, state in self.states.items()}
        return Published(states, tuple(filter(there, self.retired)))


def check_tag_name(tag: str) -> str:
    """The tag, if it can be one. Raises InputError."""
    if not TAG_NAME.fullmatch(tag):
        raise InputError(
            f"{tag[:80]!r} cannot be a tag; it is 1 to 64 letters, digits, dots, dashes and underscores, and begins "
            "with a letter or digit"
        )
    return tag


def _state(numbers: Any) -> State:
    videos, moments, time_s = numbers
    return State(int(videos), int(moments), float(time_s))


def _numbers(state: State) -> list[float]:
    return [state.videos, state.moments, state.time_s]


def _pair(state: State | None) -> tuple[int, int] | None:
    return None if state is None else (state.videos, state.moments)
