"""Local copies of the subtitles of an index in an object store: which are deleted, and which are not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

from framesift.index.object_store.subtitles import KEPT_S, SubtitleCopies
from framesift.index.subtitles import SUBTITLES_NAME


class PlayedObjects:
    """One object, whose mark is its content."""

    def __init__(self) -> None:
        self.content = "first"

    def mark(self, name: str) -> str:
        return self.content

    def fetch(self, name: str, target: Path) -> str:
        target.write_text(self.content)
        return self.content


def test_copies_that_somebody_looks_at_stay_and_others_go(tmp_path: Path) -> None:
    objects = PlayedObjects()
    copies = SubtitleCopies(cast(Any, objects), tmp_path, refresh_s=0.0)
    long_ago = time.time() - 2 * KEPT_S

    first = copies.to_read()
    assert (first / SUBTITLES_NAME).read_text() == "first"
    os.utime(first, (long_ago, long_ago))  # downloaded long ago,
    assert copies.to_read() == first  # but given to somebody just now
    objects.content = "second"
    second = copies.to_read()
    assert (second / SUBTITLES_NAME).read_text() == "second"
    assert first.exists()

    os.utime(first, (long_ago, long_ago))
    objects.content = "third"
    assert copies.to_read().exists()
    assert second.exists()
    assert not first.exists()
