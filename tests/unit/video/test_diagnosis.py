"""Files that are no videos are called by their name."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_maker import make_clip
from framesift.errors import DecodeError
from framesift.video.container import VideoFile
from framesift.video.diagnosis import diagnose


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "web page"),
        (b"\xef\xbb\xbf#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist, which is not followed"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "concat script, which is not followed"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "session description"),
        (b"just words\n", "text file"),
        (bytes(5000), "nothing but zeros"),
        (b"PK\x03\x04" + bytes(30), "ZIP archive"),
        (b"%PDF-1.7\n\xff", "PDF"),
    ],
)
def test_what_it_is_instead(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert reason in (diagnose(str(path)) or "")
    with pytest.raises(DecodeError, match=reason), VideoFile(path):
        pass


def test_recording_that_was_not_finished(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", 12)
    whole = path.read_bytes()
    assert diagnose(str(path)) is None
    moov = whole.index(b"moov") - 4
    assert moov > whole.index(b"mdat"), "the clip should have its index at the end"
    path.write_bytes(whole[:moov])
    with pytest.raises(DecodeError, match=r"index \(moov\) is missing"), VideoFile(path):
        pass
    path.write_bytes(whole[: moov + 40])
    assert "cut off" in (diagnose(str(path)) or "")


@pytest.mark.parametrize("content", [b"\x80\x81\x82", b"\0\0\0\x08wide" + b"\0\0\0\x08moov"])
def test_nothing_to_say(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert diagnose(str(path)) is None


@pytest.mark.parametrize("length", [0, 1, 7, 2**31])
def test_boxes_of_any_claimed_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(length.to_bytes(4, "big") + b"mdat" + b"\xff" * 8)
    assert "moov" in (diagnose(str(path)) or "")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert diagnose(str(tmp_path / "none.mp4")) is None
