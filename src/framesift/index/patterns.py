"""Which files of a folder are wanted: patterns of the caller's, and ``.framesiftignore`` files in the folders.

Patterns are those of ``.gitignore`` (gitignore(5)), relative to the folder that is searched; those of a
``.framesiftignore`` are relative to its own folder. What wins, in this order:

1. A file that the caller names is taken, whatever the patterns say.
2. What is excluded is left out, and so is all of an excluded folder. ``!pattern`` takes back an earlier pattern.
3. What a ``.framesiftignore`` leaves out is left out; the file in the deeper folder has the last word.
4. Where there are include patterns, a file must match one of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pathspec import GitIgnoreSpec

from ..errors import DecodeError, InputError

__all__ = ["IGNORE_NAME", "Patterns", "Selection"]

IGNORE_NAME = ".framesiftignore"
MAX_IGNORE_BYTES = 2**20


@dataclass(frozen=True)
class Patterns:
    """Patterns of a caller's.

    Attributes:
        include: files must match one of these; empty for all.
        exclude: files and folders that match are left out.

    Raises:
        InputError: one of them is no pattern.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    _specs: tuple[GitIgnoreSpec, GitIgnoreSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_specs", (_spec(self.include), _spec(self.exclude)))

    @classmethod
    def of(cls, include: Iterable[str] | str = (), exclude: Iterable[str] | str = ()) -> Self:
        """From one pattern or several."""
        listed = [(given,) if isinstance(given, str) else tuple(given) for given in (include, exclude)]
        return cls(*listed)

    def includes(self, name: str) -> bool:
        """Whether a file, by its path inside the folder that is searched, is among those asked for."""
        return not self.include or self._specs[0].match_file(name)

    def excludes(self, name: str) -> bool:
        """Whether a file, or a folder whose name ends in a slash, is excluded by itself."""
        return self._specs[1].match_file(name)


class Selection:
    """The patterns that hold in one folder that is searched, ``.framesiftignore`` files included.

    These are read when they are first needed; ``failed`` receives an error for each that cannot be.
    """

    def __init__(self, root: str, patterns: Patterns, failed: list[DecodeError] | None = None) -> None:
        self._root = root
        self._prefix = os.path.join(root, "")
        self._patterns = patterns
        self._failed = [] if failed is None else failed
        self._ignored: dict[str, GitIgnoreSpec | None] = {}

    def takes_folder(self, path: str) -> bool:
        """Whether to look into a folder; all folders above it are known to be taken."""
        return not self._leaves_out(path, "/")

    def takes_file(self, path: str) -> bool:
        """Whether a file is wanted; all folders above it are known to be taken."""
        return self._patterns.includes(path[len(self._prefix) :]) and not self._leaves_out(path, "")

    def takes(self, path: str) -> bool:
        """Whether a file somewhere below is wanted; the folders above it are asked, too."""
        folder = os.path.dirname(path)
        while len(folder) > len(self._root):
            if not self.takes_folder(folder):
                return False
            folder = os.path.dirname(folder)
        return self.takes_file(path)

    def walk(self, unreadable: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
        """Every folder that is looked into, with the names of its files; hidden ones are left out.

        The files are not chosen among: which kinds are wanted, and whether patterns are about them, the caller knows.
        ``unreadable`` is told of folders that cannot be read.
        """
        for parent, folders, names in os.walk(self._root, onerror=unreadable):
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".") and self.takes_folder(os.path.join(parent, name))
            ]
            yield parent, [name for name in names if not name.startswith(".")]

    def _leaves_out(self, path: str, slash: str) -> bool:
        if self._patterns.excludes(path[len(self._prefix) :] + slash):
            return True
        folder = os.path.dirname(path)
        while True:
            spec = self._ignored_in(folder)
            if spec is not None:
                verdict = spec.check_file(os.path.relpath(path, folder) + slash).include
                if verdict is not None:
                    return verdict
            if len(folder) <= len(self._root):
                return False
            folder = os.path.dirname(folder)

    def _ignored_in(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._ignored:
            self._ignored[folder] = None
            path = os.path.join(folder, IGNORE_NAME)
            try:
                lines = _lines(path)
                self._ignored[folder] = _spec(lines) if lines else None
            except FileNotFoundError:
                pass
            except OSError as error:
                self._failed.append(DecodeError(path, error.strerror or str(error)))
            except InputError as error:
                self._failed.append(DecodeError(path, str(error)))
        return self._ignored[folder]


def _lines(path: str) -> list[str]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe of that name would block
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError("it is not a regular file")
        content = file.read(MAX_IGNORE_BYTES + 1)
    if len(content) > MAX_IGNORE_BYTES:
        raise InputError(f"it has more than {MAX_IGNORE_BYTES} bytes")
    return os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).splitlines()


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise InputError(
                f"{line!r} is no pattern; patterns are written as in a .gitignore file"
            ) from error
    return GitIgnoreSpec.from_lines(lines)
