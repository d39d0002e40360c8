"""The writer's lock: one holder, named to the others, gone with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.errors import IndexLockedError, IndexStateError
from framesift.index.lock import WriterLock

HOLD = """
import sys, time
from pathlib import Path
from framesift.index.lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with WriterLock(tmp_path), pytest.raises(IndexLockedError), WriterLock(tmp_path):
        pass


def test_lock_is_free_again_after_use_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), WriterLock(tmp_path):
        raise ZeroDivisionError
    with WriterLock(tmp_path):
        pass


def test_other_process_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IndexLockedError, match=f"process {holder.pid} "), WriterLock(tmp_path):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with WriterLock(tmp_path):
        pass


def test_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IndexStateError, match="cannot write to the index"), WriterLock(tmp_path / "none"):
        pass
