"""A folder for what one replica makes while it runs, which does not outlive the replica by more than a start.

A replica may be killed at any time, and then deletes nothing. So all replicas of a user on a machine have their folders
side by side; each holds a lock on its own, which the kernel lets go of when the replica ends, however it ends; and the
next one to start there deletes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["ReplicaFolder"]

LOCK = "in-use.lock"


class ReplicaFolder:
    """A new folder, locked until :meth:`delete`, or until this process ends.

    Args:
        root: where the folders of this user's replicas are; default: in the system's folder for temporary files.

    Attributes:
        path: the folder.

    Raises:
        OSError: there is no room for it, or ``root`` is somebody else's.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or Path(tempfile.gettempdir()) / f"framesift-replicas-{os.getuid()}"
        root.mkdir(mode=0o700, exist_ok=True)
        if root.lstat().st_uid != os.getuid() or root.is_symlink():
            raise PermissionError(f"{str(root)!r} belongs to another user, who could read what is put there")
        starting = _locked(root / LOCK, wait=True)  # nobody deletes a folder between its making and its lock
        assert starting is not None
        try:
            _sweep(root)
            self.path = Path(tempfile.mkdtemp(dir=root, prefix="replica-"))
            self._lock = _locked(self.path / LOCK)
        finally:
            os.close(starting)

    def delete(self) -> None:
        """Delete it, now that the replica ends."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _sweep(root: Path) -> None:
    for folder in root.glob("replica-*"):
        held = _locked(folder / LOCK)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)


def _locked(path: Path, *, wait: bool = False) -> int | None:
    """A descriptor that holds the lock; None where another process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(file)
        return None
    return file
