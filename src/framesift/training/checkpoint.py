"""Checkpoints of a run: whole or not there, whenever the process is killed or the power fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, InputError
from ..index.durable import fsync_path

__all__ = ["load_state", "replace_folder", "save_state"]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file ``path`` by tensors and plain values.

    Raises:
        InputError: it cannot be written; the old file is then as it was.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        for left in path.parent.glob(f"{path.name}.*.part"):  # of a process that was killed
            left.unlink(missing_ok=True)
        torch.save(dict(state), unfinished)
        fsync_path(unfinished)
        os.replace(unfinished, path)
        fsync_path(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer has a RuntimeError for a full disk
        unfinished.unlink(missing_ok=True)
        raise InputError(f"cannot write {str(path)!r}: {str(error).splitlines()[0]}") from None


def load_state(path: Path) -> dict[str, Any] | None:
    """What :func:`save_state` wrote, on the CPU; None where there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises a dozen kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot read the checkpoint {str(path)!r}: {reason}; delete it to start again"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(path)!r} is no checkpoint of a run; delete it to start again")
    return state


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a new folder by ``write`` and put it in place of ``folder``.

    A kill in between leaves the old folder, the new one or, for an instant, none; a run that is resumed writes it anew.

    Raises:
        InputError: it cannot be written.
    """
    draft, old = folder.with_name(f".{folder.name}.draft"), folder.with_name(f".{folder.name}.old")
    try:
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
        write(draft)
        for path in draft.rglob("*"):
            fsync_path(path)
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        fsync_path(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {str(folder)!r}: {error.strerror or error}") from None
