"""Single frames as pictures for people: stills, strips and contact sheets.

Other than what models see, a picture has the proportions in which a player shows the video: it is upright, and
pixels that are not square (DV, 3GP) are made so.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from ..unfinished import unfinished
from .container import VideoFile
from .decode import decode

__all__ = [
    "MAX_SHEET_PIXELS",
    "MAX_STRIP_BYTES",
    "contact_sheet",
    "jpeg_bytes",
    "picture_at",
    "pictures_at",
    "pixel_aspect",
    "save_picture",
    "webp_bytes",
]

Path = str | os.PathLike[str]

MAX_STRIP_BYTES = (
    256 << 20
)  # of the pictures of one call: 80 of 1280x720, or 2 of the largest that are decoded
MAX_SHEET_PIXELS = 40_000_000  # as for a frame of a video
MAX_SIDE_PX = 16_383  # of a WebP picture; a JPEG may be four times as large
_PLAUSIBLE_ASPECTS = (0.25, 4.0)  # anamorphic film has 2; files that lie have anything
_SQUARE_ENOUGH = 0.01  # nobody sees it, and scaling would cost sharpness

_MARGIN_PX = 6
_BAR_PX = 6
_BACKGROUND, _INK, _TRACK, _BAR = "#14181d", "#e6e9ec", "#2b323a", "#f2a33a"


@dataclass(frozen=True)
class _At:
    """A sampler of given times."""

    wanted_s: NDArray[np.float64]

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        return self.wanted_s


def pixel_aspect(video: VideoFile) -> float:
    """Width of a stored pixel over its height, 1 where the file does not say, says nonsense or nearly says 1."""
    aspect = float(video.stream.sample_aspect_ratio or 1)
    low, high = _PLAUSIBLE_ASPECTS
    return aspect if low <= aspect <= high and abs(aspect - 1) > _SQUARE_ENOUGH else 1.0


def picture_at(
    path: Path, time_s: float, *, width_px: int | None = None, height_px: int | None = None
) -> Image.Image:
    """The frame on display at ``time_s`` as an RGB picture; see :func:`pictures_at`."""
    return pictures_at(path, [time_s], width_px=width_px, height_px=height_px)[0]


def pictures_at(
    path: Path, times_s: Sequence[float], *, width_px: int | None = None, height_px: int | None = None
) -> list[Image.Image]:
    """The frames on display at these times, one RGB picture for each in the given order, from one decoding pass.

    Args:
        path: a video file.
        times_s: seconds from the video's first frame; a time after the end gives the last frame.
        width_px, height_px: the most that a picture may measure. It keeps its proportions and is never enlarged.

    Raises:
        DecodeError: the file cannot be read.
        InputError: no times, a time that is negative or no number, a size below 1, or pictures that take more than
            ``MAX_STRIP_BYTES`` together.
    """
    if not times_s:
        raise InputError("pictures_at needs at least one time")
    for time_s in times_s:
        if not 0 <= time_s < math.inf:
            raise InputError(f"a time must be a number of seconds from 0, got {time_s}")
    for size_px in (width_px, height_px):
        if size_px is not None and size_px < 1:
            raise InputError(f"a picture's size must be at least 1 pixel, got {size_px}")
    wanted = np.unique(np.asarray(times_s, dtype=np.float64))
    with VideoFile(path, quick=True) as video:
        aspect, stored = pixel_aspect(video), (video.codec.height, video.codec.width)

    def resized(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        turned = (height, width) != stored and (width, height) == stored
        size = _fit(width, height, 1 / aspect if turned else aspect, width_px, height_px)
        if (needed := 3 * size[0] * size[1] * len(wanted)) > MAX_STRIP_BYTES:
            raise InputError(
                f"{len(wanted)} pictures of {size[0]}x{size[1]} take {needed >> 20} MiB, more than "
                f"{MAX_STRIP_BYTES >> 20} MiB; ask for fewer or smaller ones"
            )
        if size == (width, height):
            return pixels
        # BOX first: a picture a tenth as wide is made in a tenth of the time, and looks the same
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(small)

    frames = decode(path, _At(wanted), transform=resized)
    images = [Image.fromarray(pixels) for pixels in frames.pixels]
    shown = np.searchsorted(frames.times_s - 1e-7, times_s, side="right") - 1  # ticks are rounded so
    return [images[max(0, int(row))] for row in shown]


def _fit(
    width: int, height: int, aspect: float, width_px: int | None, height_px: int | None
) -> tuple[int, int]:
    """The size of a picture whose pixels are square, within the box that was asked for."""
    wide, high = (width * aspect, float(height)) if aspect >= 1 else (float(width), height / aspect)
    scale = min(1.0, (width_px or math.inf) / wide, (height_px or math.inf) / high)
    return max(1, round(wide * scale)), max(1, round(high * scale))


def jpeg_bytes(picture: Image.Image, *, quality: int = 85) -> bytes:
    """A JPEG file of the picture; ``quality`` from 1 to 95."""
    return _encoded(picture, "JPEG", quality=quality)


def webp_bytes(picture: Image.Image, *, quality: int = 80) -> bytes:
    """A WebP file of the picture, about a third smaller than JPEG; ``quality`` from 1 to 100."""
    return _encoded(picture, "WEBP", quality=quality)


def save_picture(picture: Image.Image, target: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the picture to a ``.jpg``, ``.jpeg``, ``.webp`` or ``.png`` file, as a whole or not at all.

    Raises InputError for another suffix, a picture that is too large, and a target that exists or cannot be written.
    """
    suffix = os.path.splitext(os.fspath(target))[1].lower()
    if suffix in (".jpg", ".jpeg"):
        content = jpeg_bytes(picture)
    elif suffix == ".webp":
        content = webp_bytes(picture)
    elif suffix == ".png":
        file = io.BytesIO()
        picture.save(file, "PNG")
        content = file.getvalue()
    else:
        raise InputError(
            f"cannot tell the format of {os.fspath(target)!r}; its name must end in .jpg, .webp or .png"
        )
    with unfinished(target, overwrite=overwrite) as draft:
        draft.write_bytes(content)


def _encoded(picture: Image.Image, kind: str, *, quality: int) -> bytes:
    if not 1 <= quality <= 100:
        raise InputError(f"quality must be from 1 to 100, got {quality}")
    if max(picture.size) > MAX_SIDE_PX:
        raise InputError(f"a picture of {picture.width}x{picture.height} is too large for {kind}")
    file = io.BytesIO()
    picture.convert("RGB").save(file, kind, quality=quality)
    return file.getvalue()


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    columns: int = 4,
    attention: Sequence[float] | None = None,
) -> Image.Image:
    """One picture with all of them in rows, each above its caption.

    Args:
        pictures: in reading order; a cell is as large as the largest.
        captions: one for each, usually the time; cut off where it is wider than the cell.
        columns: pictures in a row, at most.
        attention: one weight for each, drawn as a bar as long as the weight's share of the largest.

    Raises:
        InputError: no pictures, lists of different lengths, weights that are negative or no numbers, or a sheet of more
            than ``MAX_SHEET_PIXELS``.
    """
    if not pictures:
        raise InputError("a contact sheet needs at least one picture")
    if len(captions) != len(pictures) or (attention is not None and len(attention) != len(pictures)):
        raise InputError(f"a contact sheet needs one caption and weight for each of {len(pictures)} pictures")
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    if attention is not None and not all(0 <= weight < math.inf for weight in attention):
        raise InputError("attention must be numbers from 0")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    wide, high = max(p.width for p in pictures), max(p.height for p in pictures)
    font = ImageFont.load_default(size=max(10, min(22, wide // 14)))
    line_px = math.ceil(sum(_metrics(font)))
    below_px = line_px + 4 + (_BAR_PX + 4 if attention is not None else 0)
    width = columns * (wide + _MARGIN_PX) + _MARGIN_PX
    height = rows * (high + below_px + _MARGIN_PX) + _MARGIN_PX
    if width * height > MAX_SHEET_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise InputError(
            f"a contact sheet of {width}x{height} pixels is too large; use fewer or smaller pictures"
        )
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top_weight = max(attention, default=0.0) if attention is not None else 0.0
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        x = _MARGIN_PX + column * (wide + _MARGIN_PX)
        y = _MARGIN_PX + row * (high + below_px + _MARGIN_PX)
        sheet.paste(picture, (x + (wide - picture.width) // 2, y + (high - picture.height) // 2))
        draw.text((x + 2, y + high + 2), _shortened(caption, font, wide - 4), fill=_INK, font=font)
        if attention is not None:
            bar_y = y + high + line_px + 6
            draw.rectangle((x, bar_y, x + wide - 1, bar_y + _BAR_PX - 1), fill=_TRACK)
            share = attention[number] / top_weight if top_weight > 0 else 0.0
            if (length := round(share * wide)) > 0:
                draw.rectangle((x, bar_y, x + length - 1, bar_y + _BAR_PX - 1), fill=_BAR)
    return sheet


_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def _metrics(font: _Font) -> tuple[float, float]:
    """How far letters reach above and below the line they stand on; a bitmap font has one height."""
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    _, top, _, bottom = font.getbbox("Ag")
    return bottom - top, 0


def _shortened(caption: str, font: _Font, width_px: int) -> str:
    text = " ".join(caption.split())[:500]
    if isinstance(font, ImageFont.ImageFont):
        text = text.encode("latin-1", "replace").decode("latin-1")  # all that a bitmap font knows
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."
