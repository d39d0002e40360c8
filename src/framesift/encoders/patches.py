"""Frozen image encoders of rerankers: frames -> the tokens of their pictures, no text.

CrossTVR reads the tokens of CLIP ViT-B/32 (its first stage's, or one of its own) or of BLIP-2's EVA-CLIP ViT-g/14.
Nothing here is trained, so that tokens can be computed once and kept (:mod:`framesift.training.token_cache`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Blip2VisionConfig, Blip2VisionModel
from transformers.initialization import no_init_weights

from ..errors import CheckpointError, InputError
from ..features import VideoFeatures
from .base import Pictures, resolve_device
from .clip import ClipEncoder
from .fetch import fetch
from .preprocess import Preprocess
from .registry import load_encoder
from .weights import hash_state, load_state, read_directory, torch_dtype, write_state

__all__ = ["Blip2Patches", "ClipPatches", "PatchEncoder", "load_patch_encoder"]

LN_VISION_EPS = 1e-5  # LAVIS: the LayerNorm after the tower is torch's own, the tower's have 1e-6


class PatchEncoder(nn.Module, ABC):
    """Frames -> image tokens, normalised by the tower's last layer norm; class token first.

    Attributes:
        tower: the vision tower, frozen, in fp32.
        preprocessing: the resizing and scaling of the weights.
        dtype: type of the arithmetic; the tokens are float32.
    """

    name: ClassVar[str]

    def __init__(self, tower: nn.Module, preprocessing: Preprocess) -> None:
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.dtype = torch.float32
        self._weights_hash: str | None = None

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of a token."""

    @abstractmethod
    def forward(self, pixels: Float[Tensor, "frame channel y x"]) -> Float[Tensor, "frame patch width"]:
        """Preprocessed pixels -> tokens."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.tower.parameters()).device

    def use(self, *, device: str | torch.device = "auto", dtype: str | torch.dtype = "fp32") -> PatchEncoder:
        """Move to ``device`` and compute in ``dtype`` (fp32, bf16; on CUDA also fp16).

        Raises:
            InputError: no such device, or fp16 on the CPU.
        """
        target, precision = resolve_device(device), torch_dtype(dtype)
        if precision == torch.float16 and target.type == "cpu":
            raise InputError("dtype='fp16' is for CUDA only; use 'fp32' or 'bf16'")
        self.dtype = precision
        return self.to(target)

    def train(self, mode: bool = True) -> PatchEncoder:
        """Frozen: it stays in evaluation mode."""
        return super().train(False)

    def encode_video(self, videos: Sequence[Pictures], *, batch_size: int = 64) -> VideoFeatures:
        """Tokens of the frames of videos, at most ``batch_size`` frames of one video at a time.

        Returns:
            features padded to the longest video: ``patch`` is what rerankers read, ``frame`` the first token.

        Raises:
            InputError: ``batch_size`` is not positive.
            ShapeError: the pixels are no pictures.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: expected a positive number")
        found = [self._tokens(video, batch_size) for video in videos]
        shapes = {row.shape[1:] for row in found if row is not None}
        empty = torch.zeros(0, *(shapes.pop() if shapes else (1, self.width)), device=self.device)
        rows = [empty if row is None else row for row in found]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        longest = int(lengths.max()) if rows else 0
        patch = pad_sequence(rows, batch_first=True) if rows else empty.unsqueeze(0)[:0]
        mask = torch.arange(longest) < lengths[:, None]
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask.to(patch.device), patch=patch)

    def fingerprint(self) -> str:
        """Hash of what decides a token's value: weights and preprocessing."""
        if self._weights_hash is None:
            self._weights_hash = hash_state(self.tower.state_dict())
        settings = {
            "encoder": self.name,
            "preprocessing": self.preprocessing.to_mapping(),
            "resizer": self.preprocessing.resizer,
        }
        text = json.dumps(settings, sort_keys=True) + self._weights_hash
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.width}-wide tokens on {self.device}>"

    @torch.no_grad()
    def _tokens(self, video: Pictures, batch_size: int) -> Tensor | None:
        """The tokens of one video, ``[frame, patch, width]``; None where it has no frames."""
        parts: list[Tensor] = []
        for start in range(0, len(video.pixels), batch_size):
            pixels = self.preprocessing(video.pixels[start : start + batch_size]).to(self.device)
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
                parts.append(self(pixels).float())
        return torch.cat(parts) if parts else None


@final
class ClipPatches(PatchEncoder):
    """The vision tower of a CLIP."""

    name = "clip"

    @property
    def width(self) -> int:
        return int(self.tower.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(self, pixels: Float[Tensor, "frame channel y x"]) -> Float[Tensor, "frame patch width"]:
        tower: Any = self.tower
        return tower.post_layernorm(tower(pixels).last_hidden_state)


@final
class Blip2Patches(PatchEncoder):
    """The vision tower of BLIP-2: EVA-CLIP ViT-g/14 without its last block, then BLIP-2's own LayerNorm."""

    name = "blip_2_vision_model"

    def __init__(self, tower: Blip2VisionModel, preprocessing: Preprocess) -> None:
        super().__init__(tower, preprocessing)
        tower.post_layernorm.eps = LN_VISION_EPS

    @property
    def width(self) -> int:
        return int(self.tower.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(self, pixels: Float[Tensor, "frame channel y x"]) -> Float[Tensor, "frame patch width"]:
        return self.tower(pixels).last_hidden_state

    @classmethod
    def from_state(
        cls, config: dict[str, Any], state: dict[str, Tensor], preprocessing: Preprocess, *, source: str
    ) -> Blip2Patches:
        """From transformers' configuration and parameters of the tower.

        Raises:
            CheckpointError: the configuration is wrong, or a tensor missing, unknown or of another shape.
        """
        try:
            with no_init_weights():
                tower = Blip2VisionModel(Blip2VisionConfig.from_dict(config))
        except Exception as error:  # transformers' validation raises many kinds
            reason = (str(error).strip().splitlines() or [""])[0]
            raise CheckpointError(f"cannot build {source}: {reason}") from None
        load_state(tower, state, source=source)
        return cls(tower, preprocessing)

    def save(self, directory: str | Path, *, dtype: str | torch.dtype = "fp32") -> None:
        """Write a directory that :func:`load_patch_encoder` reads.

        Raises:
            InputError: the directory cannot be written.
        """
        directory, config = Path(directory), self.tower.config
        try:
            directory.mkdir(parents=True, exist_ok=True)
            config.save_pretrained(directory)  # type: ignore[union-attr, operator]
            preprocessor = json.dumps(self.preprocessing.to_mapping(), indent=2) + "\n"
            (directory / "preprocessor_config.json").write_text(preprocessor, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {str(directory)!r}: {error.strerror or error}") from None
        write_state(self.tower.state_dict(), directory / "model.safetensors", dtype=torch_dtype(dtype))


def load_patch_encoder(
    name: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "fp32",
    resize: str = "torch",
    local_files_only: bool = False,
) -> PatchEncoder:
    """Load a frozen image encoder: a CLIP, a BLIP-2 (its vision tower alone is kept), or a saved one.

    Args:
        name: directory or hub id ``owner/name``.
        device, dtype: as for :meth:`PatchEncoder.use`.
        resize: see :mod:`.preprocess`.
        local_files_only: do not use the network.

    Raises:
        UnknownModelError: no such directory or hub id, or it cannot be downloaded.
        CheckpointError: a file is missing or damaged, or the model is of another kind.
    """
    directory = fetch(name, local_files_only=local_files_only)
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == "clip":
        encoder = load_encoder(directory, device="cpu", resize=resize)
        assert isinstance(encoder, ClipEncoder)
        return ClipPatches(encoder.model.vision_model, encoder.preprocessing).use(device=device, dtype=dtype)
    if kind not in ("blip-2", "blip_2_vision_model"):
        raise CheckpointError(
            f"model_type {kind!r} in {str(path)!r} has no patch encoder (supported: clip, blip-2)"
        )
    state = read_directory(directory)
    if kind == "blip-2":
        config = config.get("vision_config", {})
        prefix = "vision_model."
        state = {key.removeprefix(prefix): x for key, x in state.items() if key.startswith(prefix)}
    preprocessing = Preprocess.load(directory / "preprocessor_config.json", resizer=resize)
    tower = Blip2Patches.from_state(config, state, preprocessing, source=repr(str(directory)))
    return tower.use(device=device, dtype=dtype)
