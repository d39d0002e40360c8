"""Files of weights: safetensors, and pickles of tensors only. The room of safetensors."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import CheckpointError, InputError

__all__ = [
    "check_shapes",
    "hash_state",
    "load_state",
    "read_directory",
    "read_pickle",
    "read_state",
    "torch_dtype",
    "write_state",
]

State = dict[str, Tensor]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_dtype(name: str | torch.dtype) -> torch.dtype:
    """``"fp32"``, ``"bf16"`` or ``"fp16"`` as torch's type.

    Raises:
        InputError: another name.
    """
    if isinstance(name, torch.dtype) and name in DTYPES.values():
        return name
    if name not in DTYPES:
        raise InputError(f"dtype={name!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[str(name)]


def read_state(path: str | Path) -> State:
    """Named tensors of a ``.safetensors`` file, or of a pickle (its ``state_dict`` or ``model``, where it has one).

    Raises:
        CheckpointError: the file is missing, damaged, or a pickle of more than tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise CheckpointError(f"cannot read the weights {str(path)!r}: {error}") from None
    loaded = read_pickle(path)
    inside = loaded.get("model")  # LAVIS has its tensors there
    nested = loaded.get("state_dict", inside if isinstance(inside, Mapping) else loaded)
    if not isinstance(nested, Mapping):
        kind = type(nested).__name__
        raise CheckpointError(f"{str(path)!r}: its 'state_dict' is {kind}, expected tensors by name")
    return {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}


def read_pickle(path: str | Path) -> Mapping[str, object]:
    """A pickled mapping of tensors and plain values; code in it is never run.

    Raises:
        CheckpointError: the file is missing, damaged, not a mapping, or wants to run code.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about protocols; what matters is raised
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no file {str(path)!r}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{str(path)!r} holds more than tensors (or is no checkpoint) and is not loaded: that could"
            " run code; save its state_dict alone and try again"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0]
        if "TorchScript" in reason:
            reason = (
                "it is a program (TorchScript); where you trust it, save the weights alone with"
                " torch.save(torch.jit.load(path, 'cpu').state_dict(), new_path)"
            )
        raise CheckpointError(f"cannot read the weights {str(path)!r}: {reason}") from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{str(path)!r} holds {type(loaded).__name__}, expected tensors by name")
    return loaded


def read_directory(directory: str | Path) -> State:
    """All weights of a Hugging Face directory: one file or shards; safetensors before pickles.

    Raises:
        CheckpointError: there are no weights, a shard is missing, or a file is damaged.
    """
    directory = Path(directory)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (directory / name).is_file():
            return read_state(directory / name)
        index = directory / f"{name}.index.json"
        if index.is_file():
            try:
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise CheckpointError(f"cannot read {str(index)!r}: {error!r}") from None
            return {key: value for shard in shards for key, value in read_state(directory / shard).items()}
    raise CheckpointError(f"no weights in {str(directory)!r}: expected model.safetensors")


def write_state(state: Mapping[str, Tensor], path: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write named tensors as safetensors, floating-point ones as ``dtype`` where that is given."""
    tensors = {
        name: x.detach().to(device="cpu", dtype=dtype if x.is_floating_point() else None).contiguous().clone()
        for name, x in state.items()
    }
    path = Path(path)
    try:
        path.touch()
        mode = path.stat().st_mode  # what the umask gives: safetensors writes a private file in its place
        save_file(tensors, path, metadata={"format": "pt"})
        path.chmod(mode)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {str(path)!r}: {error}") from None


def check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]], *, source: str) -> None:
    """See that ``state`` has every expected tensor, nothing else, and all in their shapes.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape; the message names up to three.
    """
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(expected[name])}"
        for name in expected.keys() & state.keys()
        if list(state[name].shape) != list(expected[name])
    ]
    for what, names in (
        ("lack", expected.keys() - state.keys()),
        ("have the unknown", state.keys() - expected.keys()),
        ("have", shapes),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise CheckpointError(f"the weights of {source} {what} {some}")


def load_state(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy ``state`` into ``module``: every parameter, nothing else, converted to the module's type.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape; the message names up to three.
    """
    check_shapes(state, {name: x.shape for name, x in module.state_dict().items()}, source=source)
    module.load_state_dict(dict(state))


def hash_state(state: Mapping[str, Tensor]) -> str:
    """Hexadecimal hash of names, shapes and fp32 values; the order of names does not matter."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashlib lets go of the interpreter's lock
        for part in pool.map(_hash_tensor, sorted(state.items())):
            digest.update(part)
    return digest.hexdigest()


def _hash_tensor(item: tuple[str, Tensor]) -> bytes:
    name, x = item
    x = x.detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.sha256(f"{name} {list(x.shape)}".encode())
    digest.update(x.reshape(-1).numpy().data)
    return digest.digest()
