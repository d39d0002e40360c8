from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_maker import make_clip
from film_maker import make_film
from framesift.errors import DecodeError, InputError
from framesift.video import decode_all
from framesift.video.pictures import (
    contact_sheet,
    jpeg_bytes,
    picture_at,
    pictures_at,
    save_picture,
    webp_bytes,
)

RED, GREEN = (220, 20, 20), (20, 220, 20)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 50, gop=10)


def test_pictures_are_the_frames_on_display(clip: Path) -> None:
    frames = list(decode_all(clip))
    times = [1.0, 0.0, 0.05, 1.0, 99.0]
    expected = [25, 0, 1, 25, 49]
    for picture, number in zip(pictures_at(clip, times), expected, strict=True):
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), frames[number][1])


def test_sizes_keep_the_proportions_and_never_grow(clip: Path) -> None:
    assert picture_at(clip, 0.5).size == (96, 64)
    assert picture_at(clip, 0.5, height_px=32).size == (48, 32)
    assert picture_at(clip, 0.5, width_px=24).size == (24, 16)
    assert picture_at(clip, 0.5, width_px=24, height_px=1000).size == (24, 16)
    assert picture_at(clip, 0.5, height_px=1000).size == (96, 64)
    assert picture_at(clip, 0.5, height_px=1).size == (2, 1)
    small = np.asarray(picture_at(clip, 0.5, height_px=16), dtype=float)
    large = np.asarray(picture_at(clip, 0.5), dtype=float)
    means = large.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - means).mean() < 12  # the same picture, not another frame: those differ by 60


def test_rotation_is_applied(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mp4", seconds=0.4, audio=None, rotation=90)
    assert picture_at(path, 0.0).size == (64, 96)
    assert picture_at(path, 0.0, width_px=32).size == (32, 48)


@pytest.mark.parametrize(("turned", "size"), [(False, (192, 64)), (True, (64, 192))])
def test_pixels_become_square(
    tmp_path: Path, turned: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_film(tmp_path / "a.mp4", seconds=0.4, audio=None, rotation=90 if turned else None)
    module = importlib.import_module("framesift.video.pictures")
    monkeypatch.setattr(module, "pixel_aspect", lambda video: 2.0)
    assert picture_at(path, 0.0).size == size


def test_the_memory_of_a_call_is_bounded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("framesift.video.pictures")
    monkeypatch.setattr(module, "MAX_STRIP_BYTES", 10 * 96 * 64 * 3)
    times = [number / 25 for number in range(11)]
    assert len(pictures_at(clip, times[:10])) == 10
    assert len(pictures_at(clip, [0.0] * 1000)) == 1000  # one picture
    with pytest.raises(InputError, match="11 pictures of 96x64"):
        pictures_at(clip, times)
    assert len(pictures_at(clip, times, height_px=32)) == 11


@pytest.mark.parametrize("time_s", [-0.1, float("nan"), float("inf")])
def test_times_that_are_none(clip: Path, time_s: float) -> None:
    with pytest.raises(InputError, match="a number of seconds from 0"):
        picture_at(clip, time_s)


def test_other_bad_input(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one time"):
        pictures_at(clip, [])
    with pytest.raises(InputError, match="at least 1 pixel"):
        picture_at(clip, 0.0, height_px=0)
    with pytest.raises(DecodeError):
        picture_at(tmp_path / "none.mp4", 0.0)


@pytest.mark.parametrize(("encode", "kind"), [(jpeg_bytes, "JPEG"), (webp_bytes, "WEBP")])
def test_encoded_pictures(clip: Path, encode: Callable[..., bytes], kind: str) -> None:
    picture = picture_at(clip, 0.0)
    read = Image.open(io.BytesIO(encode(picture, quality=95)))
    assert (read.format, read.size) == (kind, picture.size)
    assert np.abs(np.asarray(read.convert("RGB"), float) - np.asarray(picture, float)).mean() < 12
    with pytest.raises(InputError, match="quality"):
        encode(picture, quality=0)
    with pytest.raises(InputError, match="too large"):
        encode(Image.new("RGB", (20_000, 1)))


def test_a_sheet_has_a_cell_for_each_picture() -> None:
    pictures = [Image.new("RGB", (80, 60), colour) for colour in (RED, GREEN, RED, GREEN, RED)]
    sheet = contact_sheet(pictures, ["0:00.0"] * 5, columns=3)
    pixels = np.asarray(sheet)
    rows = [(pixels == colour).all(axis=-1) for colour in (RED, GREEN)]
    assert [int(mask.sum()) for mask in rows] == [3 * 80 * 60, 2 * 80 * 60]
    assert sheet.width < 3 * 80 + 40
    caption = contact_sheet(pictures[:1], ["0:00.0"])
    assert (np.asarray(caption) != np.asarray(contact_sheet(pictures[:1], [""]))).any()


def test_bars_are_as_long_as_the_attention() -> None:
    pictures = [Image.new("RGB", (80, 60), RED)] * 3
    sheet = np.asarray(contact_sheet(pictures, [""] * 3, columns=1, attention=[0.2, 0.1, 0.0]))
    orange = (sheet == (0xF2, 0xA3, 0x3A)).all(axis=-1)
    lengths = [int(row.sum()) for row in orange if row.any()]
    assert sorted(set(lengths)) == [40, 80]
    nothing = np.asarray(contact_sheet(pictures, [""] * 3, attention=[0.0] * 3))
    assert not (nothing == (0xF2, 0xA3, 0x3A)).all(axis=-1).any()


def test_captions_of_any_kind_fit() -> None:
    picture = Image.new("RGB", (80, 60), RED)
    for caption in ("a" * 10_000, "视频\n\t🐕\0", "\ud800", ""):
        assert contact_sheet([picture], [caption]).width == 92


def test_sheets_that_cannot_be() -> None:
    picture = Image.new("RGB", (80, 60))
    with pytest.raises(InputError, match="at least one picture"):
        contact_sheet([], [])
    with pytest.raises(InputError, match="one caption"):
        contact_sheet([picture], [])
    with pytest.raises(InputError, match="one caption and weight"):
        contact_sheet([picture], [""], attention=[])
    with pytest.raises(InputError, match="numbers from 0"):
        contact_sheet([picture], [""], attention=[float("nan")])
    with pytest.raises(InputError, match="columns"):
        contact_sheet([picture], [""], columns=0)
    with pytest.raises(InputError, match="too large"):
        contact_sheet([picture] * 300, [""] * 300, columns=300)


def test_saving(tmp_path: Path) -> None:
    picture = Image.new("RGB", (80, 60), RED)
    for name, kind in (("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")):
        save_picture(picture, tmp_path / name)
        with Image.open(tmp_path / name) as read:
            assert read.format == kind
    with pytest.raises(InputError, match="exists already"):
        save_picture(picture, tmp_path / "a.jpg")
    with pytest.raises(InputError, match="must end in"):
        save_picture(picture, tmp_path / "a.tiff")
