"""Terms into features, and files that are not what they seem."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_maker import make_clip
from colour_model import COLOURS, ColourModel, write_clip
from framesift.errors import DecodeError, InputError
from framesift.features import VideoFeatures, masked_mean
from framesift.index import Index
from framesift.index.gallery import LanceGallery
from framesift.search.examples import encode_term, read_picture
from framesift.search.query import ClipTerm, ImageTerm, MomentRef, MomentTerm, TextTerm
from framesift.search.terms import kind_of, score_term
from framesift.video.frames import Frames


class Model(ColourModel):
    """With what only whole models have."""

    device = torch.device("cpu")

    def encode_video(self, videos: Sequence[Frames]) -> VideoFeatures:
        return self.inform(self.encoder.encode_video(videos))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LanceGallery]:
    """Two clips of single colours, and one of three that is cut into its shots."""
    folder = tmp_path_factory.mktemp("library")
    write_clip(folder / "red.mp4", ["red"], seconds=2)
    write_clip(folder / "green.mp4", ["green"], seconds=2)
    write_clip(folder / "mixed.mp4", ["blue", "yellow", "cyan"], seconds=3)
    with Index.create(folder / "index", model=Model(), moments="shots") as index:
        index.add(folder)
        return folder, index.gallery()


def best(gallery: LanceGallery, term) -> tuple[str, float]:  # type: ignore[no-untyped-def]
    """The row that fits best: its file, and when it starts."""
    features = encode_term(Model(), gallery, term)
    assert len(features) == 1
    rows = torch.arange(len(gallery))
    scores = score_term(Model(), features, kind_of(term), gallery.features(rows))
    place = gallery.moment(int(scores.argmax()))
    return Path(place.uri).name, place.start_s


def picture(path: Path, colour: str, *, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, COLOURS[colour]).save(path, format=kind)
    return path


def test_every_kind_of_term_finds_what_it_shows(library: tuple[Path, LanceGallery], tmp_path: Path) -> None:
    folder, gallery = library
    assert best(gallery, TextTerm(text=" green ")) == ("green.mp4", 0.0)
    assert best(gallery, ImageTerm(path=picture(tmp_path / "a.png", "red"))) == ("red.mp4", 0.0)
    assert best(gallery, ClipTerm(path=write_clip(tmp_path / "b.mp4", ["green"]))) == ("green.mp4", 0.0)
    moment = MomentRef(video=str(folder / "mixed.mp4"), start_s=3.0, end_s=6.0)
    assert best(gallery, MomentTerm(moment=moment)) == ("mixed.mp4", 3.5)  # frames are a second apart


def test_a_stretch_of_a_clip_is_what_is_looked_for(library: tuple[Path, LanceGallery]) -> None:
    folder, gallery = library
    clip = folder / "mixed.mp4"
    assert best(gallery, ClipTerm(path=clip, start_s=6.5))[1] == 6.5
    assert best(gallery, ClipTerm(path=clip, start_s=0.0, end_s=2.5))[1] == 0.0
    with pytest.raises(InputError, match=r"nothing from 90 s"):
        encode_term(Model(), gallery, ClipTerm(path=clip, start_s=90.0))


def test_a_stored_moment_is_its_frames_whatever_rows_they_lie_in(library: tuple[Path, LanceGallery]) -> None:
    folder, gallery = library
    uri = str(folder / "mixed.mp4")
    rows = sorted(gallery.rows_of(uri), key=lambda row: gallery.moment(row).start_s)
    stored, times = gallery.features_and_times(torch.tensor(rows))
    seconds = np.concatenate(times)
    for start_s, end_s in ((2.0, 5.0), (0.0, 9.0), (4.0, 6.0)):
        moment = MomentRef(video=uri, start_s=start_s, end_s=end_s)
        found = encode_term(Model(), gallery, MomentTerm(moment=moment))
        frames = stored.frame[stored.frame_mask][(seconds >= start_s) & (seconds < end_s)]
        assert found.word is not None
        torch.testing.assert_close(found.word[0], frames)
        mask = torch.ones(1, len(frames), dtype=torch.bool)
        torch.testing.assert_close(found.sentence, masked_mean(frames[None], mask))
    between = MomentRef(video=uri, start_s=0.51, end_s=0.52)
    assert encode_term(Model(), gallery, MomentTerm(moment=between)).word_mask is not None


def test_what_cannot_be_looked_for(library: tuple[Path, LanceGallery], tmp_path: Path) -> None:
    _, gallery = library
    with pytest.raises(InputError, match="no words"):
        encode_term(Model(), gallery, TextTerm(text="  "))
    with pytest.raises(InputError, match="holds nothing"):
        encode_term(
            Model(), gallery, MomentTerm(moment=MomentRef(video=str(tmp_path / "no.mp4"), start_s=0, end_s=1))
        )
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DecodeError):
        encode_term(Model(), gallery, ClipTerm(path=tmp_path / "text.mp4"))


# ---- pictures


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_pictures_of_the_usual_formats_are_read(tmp_path: Path, kind: str) -> None:
    found = read_picture(picture(tmp_path / "a", "green", kind=kind))
    assert found.shape == (30, 40, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.mean((0, 1)) - COLOURS["green"]).max() < 6


def test_a_picture_is_read_upright_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste((0, 0, 255), (0, 0, 20, 20))  # blue on the left; orientation 6 shows it at the top
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    found = read_picture(tmp_path / "phone.jpg")
    assert found.shape == (40, 20, 3)
    assert found[2, 10, 2] > 200 > 60 > found[2, 10, 0]
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (8, 8, 3)
    Image.new("I;16", (8, 8), 40_000).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").shape == (8, 8, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that claims to be enormous."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9_000, 9_000), (30_000, 30_000), (2_000_000_000, 1_000)])
def test_decompression_bombs_are_refused_before_they_are_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    with pytest.raises(InputError, match="pixels"):
        read_picture(tmp_path / "bomb.png")


def test_the_limit_is_of_pixels(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", "red", size=(30, 20))
    assert read_picture(path, most_pixels=600).shape == (20, 30, 3)
    with pytest.raises(InputError, match="30 x 20 pixels"):
        read_picture(path, most_pixels=599)


def test_what_is_no_picture_is_refused_with_a_reason(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, format="PNG")
    files = {
        "empty": b"",
        "text": b"hello",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "cut.png": whole.getvalue()[: len(whole.getvalue()) // 2],
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",  # Pillow would run Ghostscript
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="picture"):
            read_picture(tmp_path / name)
    make_clip(tmp_path / "clip.mp4", 3)
    for path in (tmp_path / "clip.mp4", tmp_path / "missing.png", tmp_path):
        with pytest.raises(InputError, match="picture"):
            read_picture(path)


def test_flipped_bits_are_an_error_of_ours_or_a_picture(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    noise = Image.fromarray(dice.integers(0, 255, (32, 32, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        whole = io.BytesIO()
        noise.save(whole, format=kind)
        for _ in range(40):
            data = bytearray(whole.getvalue())
            for place in dice.integers(0, len(data), 3):
                data[place] ^= 1 << int(dice.integers(8))
            (tmp_path / "x").write_bytes(bytes(data))
            try:
                assert read_picture(tmp_path / "x").ndim == 3
            except InputError:
                continue
