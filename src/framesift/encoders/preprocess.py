"""From frames to the pixels a tower was trained on: resize, crop, scale. A property of the weights.

Read from a checkpoint's ``preprocessor_config.json``. Three geometries occur: the short edge scaled and the
centre cropped (CLIP), a fixed height and width (SigLIP), and as many whole patches as fit while the aspect
ratio is kept (SigLIP2 NaFlex). Four resizers:

* ``pil``: Pillow on 8-bit pixels, what the CLIP family was trained and published with;
* ``torch`` (default): antialiased on 8-bit tensors, 4 to 7 times faster, a grey level away here and there;
* ``tensor`` and ``tensor-antialias``: resizing of float pixels without clamping, as X-Pool does with an old
  and with a current torchvision (spec: section 0.3). For parity only: what they return is no picture.

This module imports torch only where it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import CheckpointError, ConfigError, ShapeError, suggest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLIP_MEAN", "CLIP_STD", "RESIZERS", "Preprocess"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI CLIP, clip.py
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

RESIZERS = ("pil", "torch", "tensor", "tensor-antialias")
Pixels = np.ndarray
"""8-bit RGB pictures, ``[frame, height, width, 3]``."""

_TORCH_MODES = {"bicubic": "bicubic", "bilinear": "bilinear", "nearest": "nearest-exact"}
_PIL_MODES = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Resize, crop and normalise frames as one set of weights expects.

    Exactly one of ``shortest_edge``, ``size`` and ``max_num_patches`` is given.

    Attributes:
        shortest_edge: pixels of the short side after resizing; the long side follows by truncation.
        size: height and width after resizing, in pixels; the aspect ratio is not kept.
        max_num_patches: most patches of ``patch_size`` pixels squared; the aspect ratio is nearly kept.
        crop: height and width of the centre crop after resizing, or None.
        resample: ``bicubic``, ``bilinear``, ``lanczos`` or ``nearest``.
        mean, std: per channel, of pixels scaled by ``scale``.
        resizer: the implementation, see the module.
    """

    shortest_edge: int | None = None
    size: tuple[int, int] | None = None
    max_num_patches: int | None = None
    patch_size: int = 16
    crop: tuple[int, int] | None = None
    resample: str = "bicubic"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resizer: str = "torch"

    def __post_init__(self) -> None:
        if self.resizer not in RESIZERS:
            hint = suggest(self.resizer, RESIZERS)
            raise ConfigError(f"resize={self.resizer!r}: expected one of {', '.join(RESIZERS)}{hint}")
        if self.resample not in _PIL_MODES:
            raise ConfigError(f"resample={self.resample!r}: expected one of {', '.join(_PIL_MODES)}")
        if self.resample not in _TORCH_MODES and self.resizer != "pil":
            raise ConfigError(f"these weights want {self.resample} resizing, which only resize='pil' has")
        if sum(x is not None for x in (self.shortest_edge, self.size, self.max_num_patches)) != 1:
            raise ConfigError("expected exactly one of shortest_edge, size and max_num_patches")

    def __call__(self, pixels: Pixels) -> Tensor:
        """Frames ``[frame, H, W, 3]`` uint8 as the tower's float32 input ``[frame, 3, height, width]``."""
        import torch

        _check(pixels)
        if self.resizer in ("tensor", "tensor-antialias"):
            x = self._crop_tensor(self._resize_float(pixels))
        else:
            x = torch.from_numpy(self.resize_crop(pixels)).permute(0, 3, 1, 2).float() * self.scale
        mean, std = (
            torch.tensor(value, dtype=torch.float32)[:, None, None] for value in (self.mean, self.std)
        )
        return ((x - mean) / std).contiguous()

    def resize_crop(self, pixels: Pixels) -> Pixels:
        """Frames ``[frame, H, W, 3]`` uint8 resized and cropped, still uint8; a second time changes nothing.

        Raises:
            ConfigError: the resizer has no 8-bit result (``tensor``, ``tensor-antialias``).
        """
        _check(pixels)
        height, width = self.resized(pixels.shape[1], pixels.shape[2])
        if self.resizer == "pil":
            x = self._resize_pil(pixels, height, width)
        elif self.resizer == "torch":
            x = self._resize_torch(pixels, height, width)
        else:
            raise ConfigError(
                f"resize={self.resizer!r} works on float pixels; use 'pil' or 'torch' for 8-bit pictures"
            )
        top, left, height, width = self._crop_box(height, width)
        cropped = x[:, max(top, 0) : top + height, max(left, 0) : left + width]
        if cropped.shape[1:3] == (height, width):
            return np.ascontiguousarray(cropped)
        padded = np.zeros((len(x), height, width, 3), dtype=np.uint8)  # a crop larger than the picture
        padded[:, max(-top, 0) :, max(-left, 0) :][:, : cropped.shape[1], : cropped.shape[2]] = cropped
        return padded

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing a picture of ``height`` x ``width``, before the crop."""
        if self.size is not None:
            return self.size
        if self.shortest_edge is not None:
            short, long = sorted((height, width))
            scaled = int(self.shortest_edge * long / short)  # truncation: spec, section 0.3
            return (self.shortest_edge, scaled) if height <= width else (scaled, self.shortest_edge)
        return self._most_patches(height, width)

    def with_resizer(self, resizer: str) -> Preprocess:
        """The same preprocessing with another resizer."""
        return replace(self, resizer=resizer)

    @classmethod
    def load(cls, path: str | Path, *, resizer: str = "torch") -> Preprocess:
        """Read a ``preprocessor_config.json``, or the ``image_processor`` in a ``processor_config.json``.

        Raises:
            CheckpointError: the file is missing, is not JSON, or asks for something this class does not do.
        """
        try:
            mapping = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read {str(path)!r}: {error}") from None
        try:
            return cls.from_mapping(mapping.get("image_processor", mapping), resizer=resizer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise CheckpointError(f"{str(path)!r}: {error}") from None
            raise CheckpointError(f"{str(path)!r} is not an image preprocessor: {error!r}") from None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, resizer: str = "torch") -> Preprocess:
        """From the keys of Hugging Face's ``preprocessor_config.json``, old and new spellings."""
        geometry: dict[str, Any] = {}
        size = mapping.get("size")
        if mapping.get("max_num_patches"):
            geometry["max_num_patches"] = int(mapping["max_num_patches"])
            geometry["patch_size"] = int(mapping.get("patch_size", 16))
        elif isinstance(size, int):  # the spelling of 2021
            geometry["shortest_edge"] = size
        elif isinstance(size, Mapping) and size.get("shortest_edge"):
            geometry["shortest_edge"] = int(size["shortest_edge"])
        else:
            geometry["size"] = _height_width(size)
        if mapping.get("do_center_crop"):
            geometry["crop"] = _height_width(mapping["crop_size"])
        names = {int(value): name for name, value in _PIL_MODES.items()}
        normalised = mapping.get("do_normalize", True)
        return cls(
            **geometry,
            resample=names[int(mapping.get("resample", 3))],
            scale=float(mapping.get("rescale_factor", 1 / 255)) if mapping.get("do_rescale", True) else 1.0,
            mean=_three(mapping["image_mean"]) if normalised else (0.0, 0.0, 0.0),
            std=_three(mapping["image_std"]) if normalised else (1.0, 1.0, 1.0),
            resizer=resizer,
        )

    def to_mapping(self) -> dict[str, Any]:
        """The keys of Hugging Face's ``preprocessor_config.json``. The resizer is not among them."""
        mapping: dict[str, Any] = {
            "do_resize": True,
            "do_center_crop": self.crop is not None,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "resample": int(_PIL_MODES[self.resample]),
            "rescale_factor": self.scale,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
        if self.crop is not None:
            mapping["crop_size"] = {"height": self.crop[0], "width": self.crop[1]}
        if self.shortest_edge is not None:
            kind, mapping["size"] = "CLIP", {"shortest_edge": self.shortest_edge}
        elif self.size is not None:
            kind, mapping["size"] = "Siglip", {"height": self.size[0], "width": self.size[1]}
        else:
            kind = "Siglip2"
            mapping.update(max_num_patches=self.max_num_patches, patch_size=self.patch_size)
        return {"image_processor_type": f"{kind}ImageProcessor", **mapping}

    def _most_patches(self, height: int, width: int) -> tuple[int, int]:
        """NaFlex (SigLIP 2, section 2.4): the largest scale whose sides, rounded up to whole patches, fit."""
        assert self.max_num_patches is not None

        def patches(length: int, scale: float) -> int:
            return max(1, math.ceil(length * scale / self.patch_size))

        low, high = 1e-6, 100.0  # bounds and precision of the published preprocessing
        while high - low >= 1e-5:
            middle = (low + high) / 2
            if patches(height, middle) * patches(width, middle) <= self.max_num_patches:
                low = middle
            else:
                high = middle
        return patches(height, low) * self.patch_size, patches(width, low) * self.patch_size

    def _crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the centre crop; offsets round half to even, as torchvision's do."""
        if self.crop is None:
            return 0, 0, height, width
        return round((height - self.crop[0]) / 2), round((width - self.crop[1]) / 2), *self.crop

    def _resize_pil(self, pixels: Pixels, height: int, width: int) -> Pixels:
        if pixels.shape[1:3] == (height, width):
            return pixels
        mode = _PIL_MODES[self.resample]
        frames = [np.asarray(Image.fromarray(frame).resize((width, height), mode)) for frame in pixels]
        return np.stack(frames) if frames else np.zeros((0, height, width, 3), np.uint8)

    def _resize_torch(self, pixels: Pixels, height: int, width: int) -> Pixels:
        import torch
        import torch.nn.functional as F

        if pixels.shape[1:3] == (height, width) or not len(pixels):
            return pixels if len(pixels) else np.zeros((0, height, width, 3), np.uint8)
        # channels stay last in memory: that is the layout of torch's vectorised 8-bit kernel
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
        mode = _TORCH_MODES[self.resample]
        antialias = mode != "nearest-exact"
        y = F.interpolate(
            x, (height, width), mode=mode, antialias=antialias, align_corners=False if antialias else None
        )
        return y.permute(0, 2, 3, 1).contiguous().numpy()

    def _resize_float(self, pixels: Pixels) -> Tensor:
        import torch
        import torch.nn.functional as F

        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() * self.scale
        size = self.resized(pixels.shape[1], pixels.shape[2])
        if size == pixels.shape[1:3]:
            return x
        mode = _TORCH_MODES[self.resample]
        return F.interpolate(
            x.contiguous(), size, mode=mode, align_corners=False, antialias=self.resizer == "tensor-antialias"
        )

    def _crop_tensor(self, x: Tensor) -> Tensor:
        top, left, height, width = self._crop_box(x.shape[2], x.shape[3])
        return x[:, :, top : top + height, left : left + width]


def _check(pixels: Pixels) -> None:
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise ShapeError(
            "pixels", expected="uint8 [frame, height, width, 3]", got=f"{pixels.dtype} {list(pixels.shape)}"
        )
    if 0 in pixels.shape[1:3]:
        raise ShapeError("pixels", expected="pictures of at least one pixel", got=list(pixels.shape))


def _height_width(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return int(size["height"]), int(size["width"])


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
