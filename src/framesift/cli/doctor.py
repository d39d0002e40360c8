"""``framesift doctor``: does this machine have what framesift needs?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from .output import JSON_OPTION, emit_json, format_bytes, say

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = """Examples: `framesift doctor` prints what was found, and ends with exit code 1 if something does not work.
`framesift doctor --json` is good to attach to a bug report."""

PACKAGES = ("torch", "transformers", "av", "pylance", "pyarrow", "pillow", "numpy")
LOW_DISK_BYTES = 2_000_000_000


def doctor(as_json: bool = JSON_OPTION) -> None:
    """Check packages, devices, codecs, the bundled models, the model cache and the disk."""
    checks: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
        "python": _python,
        "machine": _machine,
        "devices": _devices,
        "encoders": _encoders,
        "codecs": _codecs,
        "decoding": _decoding,
        "models": _models,
        "cache": _cache,
        "disk": _disk,
    }
    results: dict[str, dict[str, Any]] = {}
    for name, check in checks.items():
        try:
            summary, details = check()
            results[name] = {"ok": True, "summary": summary, **details}
        except Exception as error:  # the point of the command is to survive and report whatever is broken
            results[name] = {"ok": False, "summary": f"{type(error).__name__}: {error}"}
    healthy = all(result["ok"] for result in results.values())
    if as_json:
        emit_json({"ok": healthy, "checks": results})
    else:
        for name, result in results.items():
            say(f"{'ok  ' if result['ok'] else 'FAIL'}  {name:<9} {result['summary']}")
    if not healthy:
        raise typer.Exit(1)


def _python() -> tuple[str, dict[str, Any]]:
    found = {"framesift": version("framesift")}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            raise RuntimeError(f"{package} is not installed; reinstall framesift") from None
    words = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"Python {platform.python_version()}; {words}", {"packages": found}


def _machine() -> tuple[str, dict[str, Any]]:
    import psutil

    from ..video import available_cores

    cores = available_cores()
    memory = psutil.virtual_memory()
    summary = (
        f"{platform.system()} {platform.machine()}, {cores} cores, {format_bytes(memory.total)} memory "
        f"({format_bytes(memory.available)} available)"
    )
    return summary, {"cores": cores, "memory_bytes": memory.total, "available_bytes": memory.available}


def _devices() -> tuple[str, dict[str, Any]]:
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    summary = (
        ", ".join(f"cuda:{number} {name}" for number, name in enumerate(names)) or "cpu (no CUDA device)"
    )
    return summary, {"cuda": names, "threads": torch.get_num_threads()}


def _encoders() -> tuple[str, dict[str, Any]]:
    """What would compute a large encoder, and what else could."""
    import torch

    from ..encoders.arithmetic import WORTH_COMPILING, asked, choose, has_openvino, instructions, speeds_up
    from ..encoders.base import resolve_device

    installed = version("openvino") if has_openvino() else None
    backend, precision = asked(None, None)
    device = resolve_device()
    chosen = choose(backend=backend, precision=precision, device=device, parameters=WORTH_COMPILING)
    fast = [name for name in ("bf16", "int8") if speeds_up(name)]
    if device.type == "cuda":
        fast = ["bf16", "fp16"] if torch.cuda.is_bf16_supported() else ["fp16"]
    elif installed is None:
        fast = [name for name in fast if name != "int8"]  # which torch does not have
    details = {
        "openvino": installed,
        "instructions": list(instructions()),
        "chosen": {"backend": chosen.backend, "precision": chosen.precision},
        "faster_precisions": fast,
    }
    hint = "" if installed or device.type != "cpu" else "; faster: pip install 'framesift[openvino]'"
    summary = (
        f"{chosen} for CLIP ViT-B/32 and larger; OpenVINO {installed or 'is not installed'}; "
        f"instructions: {' '.join(instructions()) or 'unknown'}; faster than fp32 here: {', '.join(fast) or 'nothing'}"
    )
    return summary + hint, details


def _codecs() -> tuple[str, dict[str, Any]]:
    from ..video import decoders

    found = decoders()
    missing = [name for name, present in found.items() if not present]
    if not found["h264"]:
        raise RuntimeError(
            "the installed PyAV cannot decode H.264; reinstall it with: pip install --force-reinstall av"
        )
    words = ", ".join(name for name, present in found.items() if present)
    return words + (f"; not: {', '.join(missing)}" if missing else ""), {"decoders": found}


def _decoding() -> tuple[str, dict[str, Any]]:
    from ..storyboard import draw_storyboard, render_frames, write_mp4
    from ..video import Uniform, decode

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "check.mp4"
        write_mp4(render_frames(draw_storyboard(0, num_scenes=1)), path)
        frames = decode(path, Uniform(num_frames=4))
    return f"wrote an H.264 video and read {len(frames)} frames of it", {"frames": len(frames)}


def _models() -> tuple[str, dict[str, Any]]:
    from ..hub import MODELS, load

    for name in MODELS:
        load(name, device="cpu").encode_text(["a red circle"])
    return f"{', '.join(MODELS)} load and encode", {"bundled": list(MODELS)}


def _cache() -> tuple[str, dict[str, Any]]:
    from ..encoders.fetch import offline
    from ..hub import DEFAULT_MODEL
    from ..inventory import cache_folder, cached_models

    cached = cached_models()
    state = "is in the cache" if DEFAULT_MODEL in cached else "is not in the cache yet"
    summary = f"{len(cached)} dual encoders in {str(cache_folder())!r}; the default, {DEFAULT_MODEL}, {state}"
    return summary + ("; offline mode is on" if offline() else ""), {"cached": cached, "offline": offline()}


def _disk() -> tuple[str, dict[str, Any]]:
    usage = shutil.disk_usage(".")
    if usage.free < LOW_DISK_BYTES:
        raise RuntimeError(
            f"only {format_bytes(usage.free)} free here; an index of 10,000 moments needs about 0.2 GB"
        )
    writable = os.access(".", os.W_OK)
    note = "" if writable else "; this directory is not writable"
    return f"{format_bytes(usage.free)} free here{note}", {
        "free_bytes": usage.free,
        "writable": writable,
        "platform": sys.platform,
    }
