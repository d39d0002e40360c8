"""An encoder that notes every chunk that it begins, so that a test knows what was done twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

from framesift.jobs.chunks import Chunk, ChunkEncoder, Outcome

__all__ = ["CHUNKS_FILE", "CountingEncoder", "encoded_names"]

CHUNKS_FILE = "FRAMESIFT_TEST_CHUNKS"
"""Environment variable that names the file of notes; the nodes see it as they see the driver's other settings."""


class CountingEncoder(ChunkEncoder):
    """As its base; appends the names of a chunk's files, in one write, when it has encoded them."""

    def outcome(self, chunk: Chunk) -> Outcome:
        result = super().outcome(chunk)
        names = [os.path.basename(file.uri) for file, _ in chunk.todo]
        with open(os.environ[CHUNKS_FILE], "a") as notes:
            notes.write(json.dumps(names) + "\n")
        return result


def encoded_names(notes: Path) -> list[str]:
    """The names of all files that were encoded, each as often as it was."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [name for line in lines for name in json.loads(line)]
