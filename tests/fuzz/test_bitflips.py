"""Damaged files: whatever happens to the bytes, a file gives frames or one error, and costs only itself.

A failure names the clip, the damage and the seed; ``DAMAGES[damage](clip bytes, random.Random(seed))`` makes the
file again. Of corrupted boxes it names the edits, which ``overwrite`` makes again.
"""

from __future__ import annotations

import random
import re
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from clip_maker import make_clip, x264, x265
from framesift.errors import DecodeError
from framesift.video import Frames, Uniform, load_videos

TIMEOUT_S = 20.0
MAX_RSS_BYTES = int(1.5 * 2**30)
UNPLANNED = re.compile(r"[A-Z]\w*(Error|Exception): ")  # what nobody expected, caught by the last resort
HEADER_BYTES = 2048  # at either end of a file: an mp4 may have its index behind the media data


def _flip(data: bytes, rng: random.Random, positions: Sequence[int], count: int) -> bytes:
    damaged = bytearray(data)
    for _ in range(count):
        damaged[rng.choice(positions)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def flip_header(data: bytes, rng: random.Random) -> bytes:
    ends = [*range(min(HEADER_BYTES, len(data))), *range(max(0, len(data) - HEADER_BYTES), len(data))]
    return _flip(data, rng, ends, rng.choice([1, 3, 10, 40]))


def flip_body(data: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, range(len(data)), rng.choice([1, 10, 100]))


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data) + 1)]


def zero_range(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.randrange(1, 1 + max(1, len(data) // 3))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def repeat_range(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.randrange(1, 1 + max(1, len(data) // 3))
    return data[: start + length] + data[start : start + length] + data[start + length :]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: dict[str, Damage] = {
    damage.__name__: damage for damage in (flip_header, flip_body, truncate, zero_range, repeat_range)
}


@dataclass(frozen=True)
class Variant:
    """A damaged copy of a clip; its repr says how to make it again."""

    clip: str
    damage: str
    seed: int

    def write(self, clip: Path, folder: Path) -> Path:
        path = folder / f"{self.seed}-{self.damage}-{clip.name.lstrip('-')}"
        path.write_bytes(DAMAGES[self.damage](clip.read_bytes(), random.Random(self.seed)))
        return path


def variants(clips: Sequence[Path], folder: Path, *, each: int) -> dict[Path, Variant]:
    """``each`` damaged copies of every clip (but of empty ones), every kind of damage in turn."""
    made: dict[Path, Variant] = {}
    for clip in clips:
        for seed in range(each if clip.stat().st_size else 0):
            variant = Variant(clip.name, list(DAMAGES)[seed % len(DAMAGES)], seed)
            made[variant.write(clip, folder)] = variant
    return made


def check(path: Path, result: object) -> str:
    """What a result is; fails unless it is sound frames or one short error."""
    if isinstance(result, DecodeError):
        assert str(result.path) == str(path)
        assert result.reason.strip()
        assert "\n" not in str(result)
        assert not UNPLANNED.match(result.reason)
        if "took longer than" in result.reason:
            return "timeout"
        return "worker death" if "ended unexpectedly" in result.reason else "error"
    assert isinstance(result, Frames)
    assert result.path == str(path)
    assert 1 <= len(result) <= Uniform().num_frames
    assert result.pixels.dtype == np.uint8
    times_s, info = result.times_s, result.info
    assert np.isfinite(times_s).all()
    assert times_s[0] >= 0
    assert (np.diff(times_s) > 0).all()
    assert info is not None
    assert result.pixels.shape[1:] == (info.height, info.width, 3)
    assert info.duration_s is not None
    assert np.isfinite(info.duration_s)
    assert info.duration_s >= times_s[-1]
    return "frames"


def decode_damaged(made: Mapping[Path, object], folder: Path) -> Counter[str]:
    """Decode files in workers, checking each result; how many there were of each kind.

    made: what to call each file when it fails.
    """
    before = _listing(folder, Path.cwd())
    found: Counter[str] = Counter()
    failures: list[str] = []
    paths = list(made)
    results = load_videos(paths, Uniform(), workers=2, timeout_s=TIMEOUT_S)
    for path in paths:
        started = time.monotonic()
        result = next(results)
        if time.monotonic() - started > 3 * TIMEOUT_S:
            failures.append(f"{made[path]}: took {time.monotonic() - started:.0f} s")
        try:
            kind = check(path, result)
        except AssertionError as error:
            failures.append(f"{made[path]}: {error}")
        else:
            found[kind] += 1
            if kind in ("timeout", "worker death"):
                print(f"{made[path]}: {result}")
    assert next(results, None) is None
    assert not failures, "\n".join(failures)
    assert _listing(folder, Path.cwd()) == before, "decoding made or removed a file"
    return found


def _listing(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*"))


@contextmanager
def peak_rss() -> Iterator[list[int]]:
    """Measures the children of this process in the background; the list grows with each new peak."""
    peaks, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for child in psutil.Process().children():
                try:
                    status = Path(f"/proc/{child.pid}/status").read_text()
                except OSError:  # it ended just now
                    continue
                high = [
                    int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
                ]
                peaks.append(max([peaks[-1], *high]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        make_clip(folder / "h264.mp4", 40, options=x264(gop=12)),
        make_clip(folder / "h264.ts", 40, options=x264(gop=12)),
        make_clip(folder / "h264.mkv", 40, options=x264(gop=12, open_gop=True)),
        make_clip(folder / "hevc.mp4", 40, codec="libx265", options=x265(gop=12)),
        make_clip(folder / "av1.mkv", 24, codec="libsvtav1", gop=12),
        make_clip(folder / "vp9.webm", 24, codec="libvpx-vp9", gop=12),
        make_clip(folder / "mpeg4.avi", 40, codec="mpeg4", gop=12, b_frames=2),
    ]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what a file name or a playlist made would be seen here


def test_damaged_generated_clips(clips: list[Path], tmp_path: Path) -> None:
    found = decode_damaged(variants(clips, tmp_path, each=50), tmp_path)
    assert found["frames"] > 50
    assert found["error"] > 5
    assert not found["worker death"] + found["timeout"], found


def test_damaged_real_clips(real_data: Path, tmp_path: Path) -> None:
    small = [path for path in sorted((real_data / "clips").iterdir()) if path.stat().st_size < 400_000]
    assert small
    found = decode_damaged(variants(small[:8], tmp_path, each=5), tmp_path)
    assert found["frames"] > 0


@pytest.mark.slow
def test_damaged_hostile_files(real_data: Path, tmp_path: Path) -> None:
    hostile = [path for path in sorted((real_data / "hostile").iterdir()) if path.name != "README.md"]
    made = variants(hostile, tmp_path, each=20)
    with peak_rss() as peaks:
        found = decode_damaged(made, tmp_path)
    print(f"{len(made)} files: {dict(found)}; peak of a worker {peaks[-1] / 2**20:.0f} MiB")
    assert peaks[-1] < MAX_RSS_BYTES


CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
BOXES = (
    b"moov",
    b"mvhd",
    b"trak",
    b"tkhd",
    b"elst",
    b"mdhd",
    b"hdlr",
    b"stbl",
    b"stsd",
    b"stts",
    b"stss",
)
BOXES += (b"ctts", b"stsc", b"stsz", b"stco", b"mdat")

Edit = tuple[
    bytes, int, int
]  # a box, which of its 32-bit words (0: its size, 1: its name), the word's new value


def boxes(data: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Where the boxes of an mp4 file with one track begin and how long they are (ISO 14496-12, 4.2)."""
    found: dict[bytes, tuple[int, int]] = {}
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        found[kind] = (start, size)
        if kind in CONTAINERS:
            found |= boxes(data, start + 8, start + size)
        start += size
    return found


def overwrite(data: bytes, edits: Sequence[Edit]) -> bytes:
    found = boxes(data, 0, len(data))
    damaged = bytearray(data)
    for kind, word, value in edits:
        start, size = found[kind]
        struct.pack_into(">I", damaged, start + 4 * (word % (size // 4)), value)
    return bytes(damaged)


words = st.sampled_from([0, 1, 2, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]) | st.integers(
    0, 2**32 - 1
)
edits = st.tuples(st.sampled_from(BOXES), st.integers(0, 30), words)


@settings(deadline=None, max_examples=8, derandomize=True, phases=[Phase.generate])
@given(batch=st.lists(st.lists(edits, min_size=1, max_size=4), min_size=40, max_size=40))
def test_corrupted_boxes(
    clips: list[Path], tmp_path_factory: pytest.TempPathFactory, batch: list[list[Edit]]
) -> None:
    folder, data = tmp_path_factory.mktemp("boxes"), clips[0].read_bytes()
    assert boxes(data, 0, len(data)).keys() >= set(BOXES)
    made: dict[Path, list[Edit]] = {}
    for number, changes in enumerate(batch):
        path = folder / f"{number}.mp4"
        path.write_bytes(overwrite(data, changes))
        made[path] = changes
    found = decode_damaged(made, folder)
    assert not found["worker death"] + found["timeout"], found
