"""Models by name: the bundled ones, directories, and the Hugging Face hub.

A model directory of ours::

    framesift.json       format_version, name, num_frames, resize; which encoder, temporal, matcher, reranker
    head.safetensors     temporal.*, matcher.*, reranker.* and logit_scale
    reranker/            files of the reranker, where it has any, such as a vocabulary
    encoder/             a Hugging Face checkpoint: config.json, model.safetensors, preprocessor, tokenizer
    README.md            the model card

``"encoder": {"from": NAME}`` in place of ``{"path": "encoder"}`` shares the encoder of another model (a
bundled name, a directory or a hub id); with ``"shift_layers": [10, 11]`` beside it, as one with token shift. A
directory with only a ``config.json`` is a plain encoder: it gets a matcher that needs no training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import from_dict, to_dict
from .encoders import Encoder, load_encoder
from .encoders.arithmetic import asked, forced
from .encoders.clip import ClipEncoder
from .encoders.fetch import HUB_ID, fetch
from .encoders.gate import gate
from .encoders.patches import PatchEncoder, load_patch_encoder
from .encoders.token_shift import TokenShiftClipEncoder
from .encoders.weights import load_state, read_state, torch_dtype, write_state
from .errors import CheckpointError, ConfigError, InputError, ModelError, UnknownModelError, suggest
from .matchers import Matcher, build_matcher
from .model import LOGIT_SCALE_MAX, RetrievalModel
from .rerankers import RERANKERS
from .temporal import TEMPORALS, Identity

__all__ = ["DEFAULT_MODEL", "MODELS", "find", "load", "load_image_encoder", "save"]

WEIGHTS = Path(__file__).parent / "weights"

MODELS: dict[str, Path] = {
    name: WEIGHTS / name
    for name in (
        "storyboard-clip",
        "storyboard-xpool",
        "storyboard-seqtransf",
        "storyboard-seqlstm",
        "storyboard-tight",
        "storyboard-xclip",
        "storyboard-ts2net",
        "storyboard-crosstvr-xpool",
        "storyboard-crosstvr-seqtransf",
        "storyboard-crosstvr-ts2net",
    )
}
"""The models inside the package, by name. They know drawn shapes only."""

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
DEFAULT_MATCHER = "softmax_pool"  # weighs frames by the text, and has nothing to train

FORMAT_VERSION = 1
LAYOUT_FILE = "framesift.json"
HEAD_FILE = "head.safetensors"
RERANKER_FOLDER = "reranker"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A registered class and its configuration."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The content of ``framesift.json``."""

    format_version: int
    matcher: _Part
    encoder: dict[str, Any] = field(default_factory=lambda: {"path": "encoder"})
    temporal: _Part = field(default_factory=lambda: _Part(name=Identity.name))
    reranker: _Part | None = None
    resize: str = "torch"
    num_frames: int = 12
    name: str = ""


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    backend: str | None = None,
    force: bool | None = None,
    matcher: str | Matcher | None = None,
    resize: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> RetrievalModel:
    """Load a model by bundled name, directory or hub id ``owner/name``; ready for inference.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: arithmetic of the encoder: ``fp32``, ``bf16``, ``int8`` on CPUs with OpenVINO, or ``fp16`` on CUDA.
            Default: the environment variable ``FRAMESIFT_PRECISION``, else ``fp32``. The first time that an encoder is
            used below fp32 it is compared with fp32 on a sample, see :mod:`.encoders.gate`.
        backend: ``torch``, ``openvino``, or ``auto``: OpenVINO on a CPU where it is installed and pays. Default: the
            environment variable ``FRAMESIFT_BACKEND``, else ``auto``.
        force: take a precision that the comparison found too far from fp32. Default: whether the environment variable
            ``FRAMESIFT_FORCE_PRECISION`` is set.
        matcher: use this one instead of the model's: an object, or the name of one that needs no training.
        resize: ``torch`` or ``pil``; default: as the model says.
        revision: branch, tag or commit of a hub repository.
        local_files_only: do not use the network.

    Raises:
        UnknownModelError: no such name, directory or hub id, or it cannot be downloaded.
        CheckpointError: a file is missing or damaged.
        InputError: no such device, type, backend or matcher.
        MissingExtraError: OpenVINO is asked for and not installed.
        ModelError: the precision is too far from fp32 with this encoder.
    """
    backend, dtype = asked(backend, dtype)
    directory = find(name_or_path, revision=revision, local_files_only=local_files_only)
    if (directory / LAYOUT_FILE).is_file():
        model = _load_ours(directory, resize=resize, local_files_only=local_files_only)
    elif (directory / "config.json").is_file():
        encoder = load_encoder(directory, device="cpu", resize=resize or "torch")
        scale = LOGIT_SCALE_MAX if encoder.logit_scale is None else encoder.logit_scale
        chosen = build_matcher(DEFAULT_MATCHER, {})
        model = RetrievalModel(encoder, Identity(), chosen, logit_scale=scale, name=str(name_or_path))
    else:
        raise CheckpointError(
            f"no model in {str(directory)!r}: expected framesift.json, or the config.json of a CLIP or SigLIP"
        )
    if matcher is not None:
        model.matcher = build_matcher(matcher, {}) if isinstance(matcher, str) else matcher
    model.encoder.use(device=device, dtype=dtype, backend=backend)
    gate(model.encoder, force=forced() if force is None else force)
    return model.to(model.encoder.device).eval()


def save(
    model: RetrievalModel,
    directory: str | Path,
    *,
    dtype: str | torch.dtype = "fp32",
    head_dtype: str | torch.dtype = "fp32",
    encoder_from: str | None = None,
    card: str | None = None,
) -> None:
    """Write a model directory that :func:`load` reads.

    Args:
        dtype: type in which the encoder's weights are stored.
        head_dtype: the same of all others.
        encoder_from: do not write the encoder, refer to this model's instead.
        card: text of the model card, ``README.md``.

    Raises:
        InputError: the directory cannot be written.
    """
    directory = Path(directory)
    if encoder_from is None:
        model.encoder.save(directory / "encoder", dtype=torch_dtype(dtype))
    layout = _Layout(
        format_version=FORMAT_VERSION,
        name=model.name,
        encoder={"path": "encoder"} if encoder_from is None else _shared(model.encoder, encoder_from),
        resize=model.encoder.preprocessing.resizer,
        temporal=_Part(name=model.temporal.name, config=to_dict(model.temporal.config)),
        matcher=_Part(name=model.matcher.name, config=to_dict(model.matcher.config)),
        reranker=None
        if model.reranker is None
        else _Part(name=model.reranker.name, config=to_dict(model.reranker.config)),
        num_frames=model.num_frames,
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / LAYOUT_FILE).write_text(json.dumps(to_dict(layout), indent=2) + "\n", encoding="utf-8")
        if card is not None:
            (directory / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {str(directory)!r}: {error.strerror or error}") from None
    if model.reranker is not None:
        model.reranker.save_files(directory / RERANKER_FOLDER)
    write_state(_head(model), directory / HEAD_FILE, dtype=torch_dtype(head_dtype))


def find(name: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The directory of a model: bundled, on disk, or a snapshot of the hub.

    Raises:
        UnknownModelError: no such name, directory or hub id, or it cannot be downloaded.
    """
    if str(name) in MODELS:
        return MODELS[str(name)]
    try:
        return fetch(name, revision=revision, local_files_only=local_files_only)
    except UnknownModelError:
        if HUB_ID.fullmatch(str(name)) or os.path.exists(os.path.expanduser(name)):
            raise
        raise UnknownModelError(
            f"no model {str(name)!r}{suggest(str(name), MODELS)} (expected one of {', '.join(MODELS)}, a"
            f" directory, or a hub id such as {DEFAULT_MODEL})"
        ) from None


def load_image_encoder(
    name: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "fp32",
    local_files_only: bool = False,
) -> PatchEncoder:
    """The frozen image encoder of a model, for its patch tokens: what a reranker names as its own.

    Args:
        name: as for :func:`load`: a bundled name, a directory or a hub id; of a model of ours, its encoder is taken.
        device, dtype: see :meth:`.PatchEncoder.use`.
        local_files_only: do not use the network.

    Raises:
        UnknownModelError: no such name, directory or hub id, or it cannot be downloaded.
        CheckpointError: a file is missing or damaged, or the encoder has no patch tokens to give: one with token shift,
            whose tokens depend on the other frames, or one that is neither a CLIP nor a BLIP-2.
    """
    directory, resize = find(name, local_files_only=local_files_only), "torch"
    if (directory / LAYOUT_FILE).is_file():
        layout = _read_layout(directory)
        if "shift_layers" in layout.encoder:
            raise CheckpointError(
                f"the encoder of {str(name)!r} has token shift, so that its tokens are not of single frames; name the"
                f" model that it shares its encoder with, {layout.encoder['from']!r}"
            )
        directory = _encoder_directory(directory, layout, local_files_only=local_files_only)
        resize = layout.resize
    return load_patch_encoder(
        directory, device=device, dtype=dtype, resize=resize, local_files_only=local_files_only
    )


def _read_layout(directory: Path) -> _Layout:
    path = directory / LAYOUT_FILE
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from None
    version = mapping.get("format_version") if isinstance(mapping, Mapping) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{str(path)!r} has format_version {version!r}, but this framesift reads {FORMAT_VERSION};"
            " update framesift"
        )
    try:
        return from_dict(_Layout, mapping)
    except ConfigError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None


def _load_ours(directory: Path, *, resize: str | None, local_files_only: bool) -> RetrievalModel:
    path, layout = directory / LAYOUT_FILE, _read_layout(directory)
    try:
        temporal = _registered(TEMPORALS, layout.temporal, "temporal")
        matcher = build_matcher(layout.matcher.name, layout.matcher.config)
        reranker = None if layout.reranker is None else _registered(RERANKERS, layout.reranker, "reranker")
    except ConfigError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None
    if layout.num_frames < 1:
        raise CheckpointError(f"{str(path)!r}: num_frames={layout.num_frames}: expected a positive number")
    if reranker is not None:
        reranker.load_files(directory / RERANKER_FOLDER)
    encoder = _load_encoder(directory, layout, resize=resize, local_files_only=local_files_only)
    for part in (temporal, matcher):
        width = getattr(part.config, "dim", encoder.dim)
        if width != encoder.dim:
            kind = "matcher" if part is matcher else "temporal module"
            raise CheckpointError(
                f"{str(path)!r}: the {part.name} {kind} is {width} wide, but the encoder gives {encoder.dim}"
                " dimensions"
            )
    model = RetrievalModel(
        encoder, temporal, matcher, reranker, num_frames=layout.num_frames, name=layout.name or directory.name
    )
    _load_head(model, read_state(directory / HEAD_FILE), source=repr(str(directory / HEAD_FILE)))
    return model


def _load_encoder(directory: Path, layout: _Layout, *, resize: str | None, local_files_only: bool) -> Encoder:
    found = _encoder_directory(directory, layout, local_files_only=local_files_only)
    other, shift_layers = layout.encoder.get("from"), layout.encoder.get("shift_layers")
    try:
        encoder = load_encoder(found, device="cpu", resize=resize or layout.resize)
        return encoder if shift_layers is None else _shifted(encoder, shift_layers)
    except ModelError as error:
        if other is None:
            raise
        raise type(error)(_shared_with(directory, other, error)) from None


def _encoder_directory(directory: Path, layout: _Layout, *, local_files_only: bool) -> Path:
    """Where the files of a model's encoder are: in its own directory, or with the model that it shares it with."""
    match layout.encoder:
        case {"path": path, **rest} if not rest:
            return directory / path
        case {"from": str(other), **rest} if not set(rest) - {"shift_layers"}:
            try:
                source = find(other, local_files_only=local_files_only)
                if not (source / LAYOUT_FILE).is_file():
                    return source
                theirs = _read_layout(source)
                shift = theirs.encoder.get("shift_layers")
                if shift not in (None, rest.get("shift_layers")):
                    raise CheckpointError(
                        f"it has token shift in {shift}, and not in {rest.get('shift_layers')}"
                    )
                return _encoder_directory(source, theirs, local_files_only=local_files_only)
            except ModelError as error:
                raise type(error)(_shared_with(directory, other, error)) from None
        case _:
            path = str(directory / LAYOUT_FILE)
            raise CheckpointError(f"{path!r}: encoder is {layout.encoder}, expected a 'path' or a 'from'")


def _shared_with(directory: Path, other: str, error: ModelError) -> str:
    return f"the encoder of {directory.name!r} is that of {other!r}: {error}"


def _shifted(encoder: Encoder, shift_layers: Any) -> Encoder:
    """The same weights with token shift, where it is not there already."""
    if not isinstance(shift_layers, list) or any(type(layer) is not int for layer in shift_layers):
        raise CheckpointError(f"shift_layers is {shift_layers!r}, expected a list of blocks such as [10, 11]")
    if isinstance(encoder, TokenShiftClipEncoder) and encoder.shift_layers == tuple(sorted(shift_layers)):
        return encoder
    if type(encoder) is not ClipEncoder:
        raise CheckpointError(f"shift_layers={shift_layers}: expected a CLIP without them, found {encoder}")
    return TokenShiftClipEncoder.from_clip(encoder, shift_layers=shift_layers)


def _shared(encoder: Encoder, source: str) -> dict[str, Any]:
    shift = {"shift_layers": list(encoder.shift_layers)} if isinstance(encoder, TokenShiftClipEncoder) else {}
    return {"from": source, **shift}


def _registered(registry: Mapping[str, Any], part: _Part, kind: str) -> Any:
    if part.name not in registry:
        known = ", ".join(registry) or "none"
        raise ConfigError(f"no {kind} {part.name!r}{suggest(part.name, registry)} (known: {known})")
    cls = registry[part.name]
    return cls.from_config(from_dict(cls.Config, part.config, where=f"{kind}.config"))


def _head(model: RetrievalModel) -> dict[str, Tensor]:
    """Everything but the encoder."""
    return {name: x for name, x in model.state_dict().items() if not name.startswith("encoder.")}


def _load_head(model: RetrievalModel, state: Mapping[str, Tensor], *, source: str) -> None:
    own = {f"encoder.{name}": x for name, x in model.encoder.state_dict().items()}
    load_state(model, {**own, **state}, source=source)
