"""Every real clip, and hostile files: what is taken from them plays, is what was asked for, or has a reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from framesift.errors import InputError
from framesift.exporting.media import media_of
from framesift.video import probe
from framesift.video.cutting import Mode, cut_file
from framesift.video.pictures import contact_sheet, pictures_at
from framesift.video.playable import playability, playable_copy

LONGEST_S = 0.6  # of what is encoded here; the machine may be slow

MODES: tuple[Mode, ...] = ("copy", "encode")
TRANSCODED = {
    "bgs_video02.avi",
    "ffwasm_video3s.avi",
    "ft_fixture.3gp",
    "ft_fixture.asf",
    "ft_fixture.mxf",
    "ft_fixture2.3gp",
    "ft_realmedia.rm",
    "libde265_girlshy.h265",
    "moviepy_pigs.gif",
    "pe_dog.mp4",
    "tc_h265_10bits.mp4",
    "tc_h265_video.mp4",
}
REMUXED = {"decord_rot0.mov", "decord_rot90.mov", "decord_rot180.mov"}


def clips(real_data: Path) -> list[Path]:
    found = sorted((real_data / "clips").iterdir())
    assert len(found) > 25
    return found


def test_every_clip_plays_or_gets_a_copy_that_does(
    real_data: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for path in clips(real_data):
        with subtests.test(path.name):
            found = playability(path)
            wanted = "transcode" if path.name in TRANSCODED else "remux" if path.name in REMUXED else "as_is"
            assert found.verdict == wanted, found.reason
            if wanted == "as_is":
                continue
            info = probe(path)
            length_s = min(LONGEST_S, info.duration_s or 0.0)
            copy = playable_copy(path, tmp_path / f"{path.name}.mp4", max_s=length_s)
            assert playability(copy.path).media_type == "video/mp4"
            made = probe(copy.path)
            assert made.duration_s == pytest.approx(length_s, abs=0.15)
            assert made.rotation == info.rotation


def test_every_clip_can_be_cut(real_data: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    for path in clips(real_data):
        with subtests.test(path.name):
            middle_s = (probe(path).duration_s or 0.0) / 2
            cut = cut_file(path, middle_s, middle_s + 0.3, tmp_path / f"{path.name}.mkv")
            assert cut.start_s <= middle_s + 1e-6
            assert probe(cut.path).duration_s == pytest.approx(cut.end_s - cut.start_s, abs=0.1)
            (first,) = pictures_at(cut.path, [0.0], height_px=90)
            (wanted,) = pictures_at(path, [cut.start_s], height_px=90)
            difference = np.abs(
                np.asarray(first, dtype=float) - np.asarray(wanted.resize(first.size), dtype=float)
            )
            assert difference.mean() < (1e-9 if cut.mode == "copy" else 4.0)
            assert cut.mode == "copy" or cut.start_s == middle_s


def test_every_clip_has_pictures_and_a_rate(real_data: Path, subtests: pytest.Subtests) -> None:
    for path in clips(real_data):
        with subtests.test(path.name):
            duration_s = probe(path).duration_s or 0.0
            times = [duration_s * part / 4 for part in range(4)]
            pictures = pictures_at(path, times, height_px=90)
            assert {picture.height for picture in pictures} == {90}
            assert contact_sheet(pictures, [f"{time_s:.1f}" for time_s in times]).width > pictures[0].width
            media = media_of(str(path))
            assert float(media.num_frames / media.rate) == pytest.approx(
                duration_s, abs=0.6 / float(media.rate)
            )


def test_hostile_files_do_no_harm(real_data: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    for path in sorted((real_data / "hostile").iterdir()):
        with subtests.test(path.name):
            assert_copy_or_reason(path, tmp_path / "copy.mp4")
            for mode in MODES:
                cut = partial(cut_file, path, 0.0, 0.2, tmp_path / "cut.mp4", mode=mode, overwrite=True)
                refusal = refusal_of(cut)
                assert refusal == "" or str(path) in refusal
            assert set(os.listdir(tmp_path)) <= {"copy.mp4", "cut.mp4"}


def refusal_of(call: Callable[[], object]) -> str:
    try:
        call()
    except InputError as error:
        return str(error)
    return ""


def assert_copy_or_reason(path: Path, target: Path) -> None:
    def copy() -> None:
        assert playability(path).reason
        pictures_at(path, [0.0, 1.0], height_px=64)
        made = playable_copy(path, target, max_s=0.3, overwrite=True)
        assert playability(made.path).media_type == "video/mp4"

    refusal = refusal_of(copy)
    assert refusal == "" or refusal.startswith(f"cannot decode {str(path)!r}: ")
