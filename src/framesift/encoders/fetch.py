"""From a name to a directory of files: a local path, or a hub id in the local cache or from the network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import UnknownModelError

__all__ = ["fetch", "offline"]

# Only what is read. No pickles here: they are asked for when a repository has nothing else.
FILES = (
    "config.json",
    "framesift.json",
    "head.safetensors",
    "encoder/*",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
)
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

WITHOUT_NETWORK = "Give a checkpoint on disk (--model DIR), or try the bundled models: framesift demo"


def fetch(name: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The directory of a checkpoint: ``name`` itself, or the snapshot of the hub id ``owner/name``.

    Raises:
        UnknownModelError: no such directory or repository, or it is not cached and cannot be downloaded.
    """
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):  # unlike Path.is_dir, False for what cannot even be looked at
        return path
    if os.path.exists(path):
        raise UnknownModelError(f"{str(name)!r} is a file, expected the directory of a checkpoint")
    if not isinstance(name, str) or not HUB_ID.fullmatch(name) or name.startswith("."):
        raise UnknownModelError(
            f"no model {str(name)!r}: expected a directory, or a hub id such as openai/clip-vit-base-patch32"
        )
    return _snapshot(name, revision=revision, local_files_only=local_files_only or offline())


def offline() -> bool:
    """Whether the hub's client was told to use its cache only."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _snapshot(name: str, *, revision: str | None, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def download(patterns: tuple[str, ...]) -> Path:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=list(patterns), local_files_only=local_files_only
            )
        )

    try:
        folder = download(FILES)
        if (folder / "config.json").is_file() and not list(folder.glob("model*.safetensors")):
            folder = download((*FILES, *PICKLES))
    except GatedRepoError:
        raise UnknownModelError(
            f"{name!r} asks for consent: accept its terms on huggingface.co, then log in"
        ) from None
    except RevisionNotFoundError:
        raise UnknownModelError(f"{name!r} has no revision {revision!r}") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UnknownModelError(f"no model {name!r} on the Hugging Face hub, and no such directory") from None
    except LocalEntryNotFoundError:
        why = (
            "downloads are switched off"
            if local_files_only
            else "there is no connection to the Hugging Face hub"
        )
        raise UnknownModelError(f"{name!r} is not in the local cache and {why}. {WITHOUT_NETWORK}") from None
    except Exception as error:  # the client's and the operating system's many kinds of failure
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UnknownModelError(f"cannot download {name!r}: {reason}. {WITHOUT_NETWORK}") from None
    return folder
