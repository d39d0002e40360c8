"""The subtitles' database of an index in an object store: one object, of which everyone works on a local copy.

SQLite needs a file. The writer changes one of its own in the cache folder and uploads it when it has finished, so that
readers see the subtitles of a build at its end; each reader downloads it when it has changed. A copy is never changed
and never replaced: one of another version gets a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import IndexStateError
from ..durable import write_json
from ..subtitle_store import remove_database
from ..subtitles import SUBTITLES_NAME
from .objects import Objects

__all__ = ["SubtitleCopies"]

KEPT_S = 600.0  # since it was last given to somebody, who may be reading it
STATE_NAME = "uploaded.json"


class SubtitleCopies:
    """The local copies.

    Args:
        objects: of the index.
        folder: where they are kept; made when it is needed.
        refresh_s: for so long a copy may be taken for the newest.

    Raises:
        IndexStateError: every method, where the object store or the folder cannot be used.
    """

    def __init__(self, objects: Objects, folder: Path, *, refresh_s: float) -> None:
        self._objects, self._folder, self._refresh_s = objects, folder, refresh_s
        self._seen: tuple[float, Path] | None = None
        self._fetched = False

    def to_read(self) -> Path:
        """The folder with the newest copy; an empty one if there are no subtitles."""
        if (
            self._seen is not None
            and time.monotonic() - self._seen[0] < self._refresh_s
            and self._seen[1].exists()
        ):
            return self._seen[1]
        asked = time.monotonic()
        mark = self._objects.mark(SUBTITLES_NAME)
        folder = self._copy_of(mark)
        if not folder.exists():
            folder = self._download(mark)
            self._tidy(folder)
        with suppress(OSError):
            os.utime(folder)  # for who tidies: it is in use
        self._seen = asked, folder
        return folder

    def to_write(self) -> Path:
        """The writer's folder; what is in it is what was uploaded last, with what a killed build did since."""
        folder = self._folder / "writer"
        if self._fetched:
            return folder
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            mark = self._objects.mark(SUBTITLES_NAME)
            if mark is not None and mark != self._state().get("mark"):
                path = folder / SUBTITLES_NAME
                remove_database(path)
                (folder / STATE_NAME).unlink(missing_ok=True)
                self._note(self._objects.fetch(SUBTITLES_NAME, path))
        self._fetched = True
        return folder

    def begin(self) -> None:
        """A writer begins: another one may have uploaded since."""
        self._fetched = False

    def keep(self) -> None:
        """Upload the writer's database, if it has changed."""
        path = self._folder / "writer" / SUBTITLES_NAME
        if not self._fetched or not path.exists():
            return
        if self._facts() == self._state().get("facts"):
            return
        with _disk_errors(path), tempfile.TemporaryDirectory(dir=self._folder) as draft:
            copy = Path(draft) / SUBTITLES_NAME
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # whoever only reads needs no log beside it
            self._note(self._objects.put(SUBTITLES_NAME, copy).get("e_tag"))
        self._seen = None

    def _facts(self) -> list[int]:
        """What changes with the database, once nobody has it open."""
        facts = (self._folder / "writer" / SUBTITLES_NAME).stat()
        return [facts.st_size, facts.st_mtime_ns]

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self._folder / "writer" / STATE_NAME).read_bytes())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _note(self, mark: str | None) -> None:
        write_json(self._folder / "writer" / STATE_NAME, {"mark": mark, "facts": self._facts()})

    def _copy_of(self, mark: str | None) -> Path:
        name = "none" if mark is None else hashlib.blake2b(mark.encode(), digest_size=8).hexdigest()
        return self._folder / f"copy-{name}"

    def _download(self, mark: str | None) -> Path:
        with _disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                if mark is not None:  # the version that comes may be a newer one
                    mark = self._objects.fetch(SUBTITLES_NAME, draft / SUBTITLES_NAME)
                target = self._copy_of(mark)
                with suppress(OSError):  # another process was faster
                    draft.rename(target)
                return target
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def _tidy(self, newest: Path) -> None:
        """Delete copies that nobody can have been given lately."""
        with suppress(OSError):
            for copy in self._folder.glob("copy-*"):
                if copy != newest and copy.stat().st_mtime < time.time() - KEPT_S:
                    shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise IndexStateError(
            f"cannot keep a copy of the subtitles in {str(path)!r}: {error}; see to the disk, or choose another cache "
            "folder with XDG_CACHE_HOME"
        ) from error
