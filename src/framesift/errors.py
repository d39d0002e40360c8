"""Every error that framesift raises on purpose.

::

    FramesiftError
    +- InputError (also a ValueError)   the caller's value is wrong
    |  +- DecodeError                   a video cannot be read
    |  |  +- EmptyVideoError            it opens, but holds no frame
    |  +- ShapeError                    a tensor or list has the wrong shape
    |  +- ConfigError                   an unknown or ill-typed configuration key
    +- ModelError                       a model cannot be had or used
    |  +- UnknownModelError             no such name, directory or hub id
    |  +- CheckpointError               the files are there, but not what they should be
    |  +- MissingFeatureError           a matcher needs a feature that was not computed
    +- IndexStateError                  an index is not in the state that the call needs
    |  +- IndexNotFoundError
    |  +- FingerprintError              it was built by another model
    |  +- IndexLockedError              another process is writing to it
    +- DatasetError                     a benchmark's files are missing or malformed
    +- MissingExtraError                an optional dependency is not installed
    +- ClusterError                     a Ray cluster cannot be reached, or not all of it can do its part

:class:`IndexRecoveredWarning` is a UserWarning: the index works, but what was written last is missing. So is
:class:`NotRerankedWarning`: a search has results, but some files that a reranker needs could not be read;
:class:`StaleCandidatesWarning`: it has all results, but a server that proposes candidates is behind the index; and
:class:`IndexCacheWarning`: it has all results, but is slower than it could be.

A message says what was wrong (with the value), what was expected and what to do. ``exit_code`` is the
status with which the command line ends; ``framesift --help`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

__all__ = [
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "DatasetError",
    "DecodeError",
    "EmptyVideoError",
    "FingerprintError",
    "FramesiftError",
    "IndexCacheWarning",
    "IndexLockedError",
    "IndexNotFoundError",
    "IndexRecoveredWarning",
    "IndexStateError",
    "InputError",
    "MissingExtraError",
    "MissingFeatureError",
    "ModelError",
    "NotRerankedWarning",
    "ShapeError",
    "StaleCandidatesWarning",
    "UnknownModelError",
    "suggest",
]


def suggest(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when one of ``choices`` is close to ``word``, else an empty string."""
    close = get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class FramesiftError(Exception):
    """Base of every error that framesift raises on purpose."""

    exit_code = 1

    def __reduce__(self) -> tuple[Callable[..., FramesiftError], tuple[Any, ...]]:
        """Errors travel between processes, whatever their constructors take."""
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[FramesiftError], args: tuple[Any, ...], attributes: dict[str, Any]) -> FramesiftError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(attributes)
    return error


class InputError(FramesiftError, ValueError):
    """The caller's value is wrong."""

    exit_code = 2


class DecodeError(InputError):
    """A video file cannot be read. ``path`` and ``reason`` are kept as attributes."""

    exit_code = 3

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"cannot decode {str(path)!r}: {reason}")
        self.path = path
        self.reason = reason


class EmptyVideoError(DecodeError):
    """A file opens as a video but yields no frame."""


class ShapeError(InputError):
    """A tensor or list has the wrong shape."""

    def __init__(self, what: str, *, expected: object, got: object) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class ConfigError(InputError):
    """An unknown or ill-typed configuration key."""


class ModelError(FramesiftError):
    """A model cannot be had or used."""

    exit_code = 4


class UnknownModelError(ModelError):
    """No model of that name, directory or hub id."""


class CheckpointError(ModelError):
    """A checkpoint's files are there, but are not what they should be."""


class MissingFeatureError(ModelError):
    """A matcher or reranker needs a feature that was not computed."""


class IndexStateError(FramesiftError):
    """An index is not in the state that the call needs."""

    exit_code = 5


class IndexNotFoundError(IndexStateError):
    """There is no index at that place."""


class FingerprintError(IndexStateError):
    """The index holds features of another model (or other decoder settings)."""


class IndexLockedError(IndexStateError):
    """Another process is writing to the index."""


class IndexCacheWarning(UserWarning):
    """Part of an index's cache is damaged or could not be written; its tables are read instead, with equal results."""


class IndexRecoveredWarning(UserWarning):
    """An index was damaged, by a power failure for instance, and an earlier state of it was restored."""


class NotRerankedWarning(UserWarning):
    """A reranker could not see the frames of some candidates, which keep the places that the matcher gave them."""


class StaleCandidatesWarning(UserWarning):
    """A server that proposes candidates does not hold all moments of an index; the others are scored one by one."""


class DatasetError(FramesiftError):
    """A benchmark's files are missing or malformed."""

    exit_code = 6


class MissingExtraError(FramesiftError):
    """An optional dependency is not installed."""

    exit_code = 7

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'framesift[{extra}]'")
        self.package = package
        self.extra = extra


class ClusterError(FramesiftError):
    """A Ray cluster cannot be reached, or not all of it can do its part."""

    exit_code = 8
