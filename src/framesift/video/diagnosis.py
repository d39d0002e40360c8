"""What a file is that FFmpeg cannot read: a word for the person who has to do something about it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["diagnose"]

HEAD_BYTES = 4096
MOST_BOXES = 1000  # of an mp4's top level; a forged one may claim any number

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the video; run: git lfs pull"),
    (b"ffconcat", "it is a concat script, which is not followed"),
    (b"#EXTM3U", "it is a playlist, which is not followed"),
    (b"[playlist]", "it is a playlist, which is not followed"),
    (b"v=0", "it is a session description (SDP), which is not followed"),
    (b"<!doctype html", "it is a web page, perhaps the error message of a failed download"),
    (b"<html", "it is a web page, perhaps the error message of a failed download"),
    (b"<?xml", "it is an XML document"),
    (b"%PDF", "it is a PDF document"),
    (b"PK\x03\x04", "it is a ZIP archive"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive"),
    (b"Rar!", "it is a RAR archive"),
)
_TEXT = frozenset(range(0x20, 0x7F)) | set(b"\t\r\n\f")


def diagnose(path: str) -> str | None:
    """Why the file at ``path`` is no readable video, if its first bytes tell; never raises."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if not head:
        return "the file is empty"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, what in _BEGINNINGS:
        if start.startswith(beginning.lower()):
            return what
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros, as a copy or download does that was not finished"
    if _TEXT.issuperset(head):
        return "it is a text file"
    if head[4:8] in (b"ftyp", b"wide", b"mdat", b"free", b"skip"):
        return _cut_off(Path(path))
    return None


def _cut_off(path: Path) -> str | None:
    """An mp4 without its ``moov`` box (ISO/IEC 14496-12) cannot be read: it was cut off, or never closed."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            place = 0
            for _ in range(MOST_BOXES):
                if place + 8 > size:
                    break
                file.seek(place)
                header = file.read(16)
                length, kind = int.from_bytes(header[:4], "big"), header[4:8]
                if kind == b"moov":
                    return None if place + length <= size else "its index (moov) is cut off"
                if length == 1:
                    length = int.from_bytes(header[8:16], "big")
                if length < 8:
                    break
                place += length
    except OSError:
        return None
    return "its index (moov) is missing, as in a recording or download that was not finished"
