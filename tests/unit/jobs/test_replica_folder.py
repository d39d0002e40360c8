"""What a killed replica leaves is deleted by the next one that starts, and what a living one has is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.jobs.replica_folder import ReplicaFolder

KEEP = """
import sys, time
from pathlib import Path
from framesift.jobs.replica_folder import ReplicaFolder
folder = ReplicaFolder(Path(sys.argv[1]))
(folder.path / "cache").mkdir()
(folder.path / "cache" / "picture.jpg").write_bytes(b"x")
print(folder.path, flush=True)
time.sleep(600)
"""


def folders(root: Path) -> set[str]:
    return {path.name for path in root.glob("replica-*")}


def test_what_a_killed_replica_left_goes_with_the_next_start(tmp_path: Path) -> None:
    root = tmp_path / "replicas"
    with subprocess.Popen(
        [sys.executable, "-c", KEEP, str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            theirs = Path(process.stdout.readline().strip())
            mine = ReplicaFolder(root)
            assert folders(root) == {theirs.name, mine.path.name}
            assert (theirs / "cache" / "picture.jpg").exists()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert theirs.exists()
    third = ReplicaFolder(root)
    assert folders(root) == {mine.path.name, third.path.name}
    for folder in (mine, third):
        folder.delete()
        folder.delete()
    assert folders(root) == set()


def test_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    folder = ReplicaFolder(tmp_path / "replicas")
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "replicas", folder.path)] == [0o700, 0o700]
    folder.delete()


def test_a_root_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "replicas").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="another user"):
        ReplicaFolder(tmp_path / "replicas")
