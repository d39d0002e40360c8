"""Twelve frames of a video as RGB: framesift against other decoders and two published loaders, in one run.

    python tests/benchmarks/bench_decode.py --json results/bench-decode.json

The task is the frames on display at the middles of 12 equal intervals. Index-based peers get the numbers of exactly
the frames that framesift returns, found outside the timing, so that all do equal work (CLIP4Clip's loader reads a
frame for every second, which is its strategy). Whether a peer's frames are the right ones is recorded, and so is
whether ours are bit for bit those of plain sequential decoding.

Time is CPU time of this process (user + system, all threads), one decoding thread each, because other processes may
share the machine. The systems take turns, every file is in the page cache, and a run that takes longer than
``SLOW_S`` is not repeated. Ratios are medians over the median of framesift's exact frames: above 1, framesift is
faster. Clips are encoded once, from moving textures with grain, into ``--clips`` (by default in the temporary
folder); real ones come from ``$FRAMESIFT_REAL_DATA`` or ../shared/data where that exists.

Peers come with ``pip install -c constraints.txt -e ".[bench]"``. torchcodec also needs the FFmpeg shared libraries
(Debian: ``apt-get install ffmpeg``) and runs with their version of FFmpeg. A peer that cannot be loaded is reported
as missing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from record import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clip_maker import scheduling_kept
from framesift.video import Uniform, decode, decode_all
from framesift.video.sampling import clip4clip_extract_indices, clip4clip_slice

Pixels = NDArray[np.uint8]

NUM_FRAMES = 12
SNAP_S = 0.5
FPS = 25
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet about codecs that it cannot decode
WIDTHS = {240: 426, 720: 1280, 1080: 1920}
SLOW_S = 1.5  # CPU time of a run that is not repeated
CALLS_S = 0.1  # a run repeats the task until framesift would have taken about this long
SAME_PICTURE = 8.0  # grey levels by which other colour conversions may differ on average

ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {  # codec: suffix, encoder, options
    "h264": (".mp4", "libx264", {"preset": "veryfast", "x264-params": "threads=1"}),
    "hevc": (
        ".mp4",
        "libx265",
        {"preset": "superfast", "x265-params": "pools=none:frame-threads=1:log-level=none"},
    ),
    "vp9": (".webm", "libvpx-vp9", {"deadline": "good", "cpu-used": "5", "crf": "34", "b": "0"}),
    "av1": (".mp4", "libsvtav1", {"preset": "10", "svtav1-params": "lp=1"}),
}


@dataclass(frozen=True)
class Clip:
    """A file, and what it takes to check the answers."""

    name: str
    path: Path
    codec: str
    height: int
    gop: int | None  # None: unknown, a real clip
    fps: float | None
    bytes: int
    numbers: list[int]  # of the frames that framesift returns
    frames: Pixels  # these, from framesift
    neighbours: list[list[Pixels]]  # the pictures before and after each, thinned out
    exact: bool  # whether framesift's are those of sequential decoding
    frame_count: int

    @property
    def generated(self) -> bool:
        return self.gop is not None


# ---------------------------------------------------------------------------------------------- clips


def scenery(width: int, height: int, num_frames: int) -> Iterator[av.VideoFrame]:
    """A textured background that drifts, six textured things that cross it, and grain that never repeats."""
    rng = np.random.default_rng(0)

    def texture(rows: int, columns: int) -> Pixels:
        total = np.zeros((rows, columns), dtype=np.float32)
        for cell in (4, 16, 64, 256):
            grid = torch.from_numpy(
                rng.standard_normal((1, 1, rows // cell + 2, columns // cell + 2), dtype=np.float32)
            )
            smooth = torch.nn.functional.interpolate(grid, (rows, columns), mode="bicubic")[0, 0].numpy()
            total += smooth * (4 + 2 * math.log2(cell))
        return np.clip(128 + total, 16, 235).astype(np.uint8)

    luma, chroma = texture(2 * height, 2 * width), [texture(height, width) for _ in "uv"]
    side = height // 5
    things = [texture(side, side) for _ in range(6)]
    grain = rng.normal(0, 2.0, (8, 2 * height, 2 * width)).round().astype(np.int8)
    for i in range(num_frames):
        y = round(height / 2 * (1 + math.sin(i / 90)))
        x = round(width / 2 * (1 + math.sin(i / 140)))
        picture = luma[y : y + height, x : x + width].copy()
        for k, thing in enumerate(things):
            top = round((height - side) / 2 * (1 + math.sin(i / (25 + 7 * k) + k)))
            left = round((width - side) / 2 * (1 + math.cos(i / (33 + 5 * k) + k)))
            picture[top : top + side, left : left + side] = thing
        down, right = rng.integers(0, height), rng.integers(0, width)
        noise = grain[i % len(grain), down : down + height, right : right + width]
        picture = (picture.view(np.int8) + noise).view(np.uint8)  # 16..235 and little noise: never wraps
        half_y, half_x = y // 2, x // 2
        planes = [c[half_y : half_y + height // 2, half_x : half_x + width // 2] for c in chroma]
        flat = np.concatenate([picture.ravel(), *(plane.ravel() for plane in planes)])
        yield av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), format="yuv420p")


@scheduling_kept()
def encode(path: Path, codec: str, height: int, gop: int, seconds: int) -> None:
    """One clip; the encoders' own choice of B-frames and hidden frames."""
    suffix, encoder, options = ENCODERS[codec]
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format=suffix[1:]) as container:
        stream = container.add_stream(encoder, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTHS[height], height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.gop_size = gop
        for i, frame in enumerate(scenery(WIDTHS[height], height, seconds * FPS)):
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.rename(path)


def generated(folder: Path, quick: bool) -> Iterator[tuple[Path, str, int, int]]:
    """Path, codec, height and GOP length of every clip, encoded where it is not there yet."""
    cases = [
        (codec, height, gop, 10 if height == 1080 else 15)
        for codec in ENCODERS
        for height in ((240,) if quick else WIDTHS)
        for gop in (12, 250)
    ]
    if not quick:
        cases += [("h264", 720, 12, 600), ("h264", 720, 250, 600)]
    folder.mkdir(parents=True, exist_ok=True)
    for codec, height, gop, seconds in cases:
        path = folder / f"{codec}-{height}p-gop{gop}-{seconds}s{ENCODERS[codec][0]}"
        if not path.exists():
            note(f"encoding {path.name}")
            encode(path, codec, height, gop, seconds)
        yield path, codec, height, gop


def real(folder: Path) -> Iterator[Path]:
    """The real clips, or none."""
    listed = folder / "captions.json"
    if listed.exists():
        for fact in json.loads(listed.read_text()):
            yield folder / fact["video"]
    else:
        note(f"no real clips: {folder} is not there")


def examine(path: Path, gop: int | None) -> Clip:
    """Decode the whole file once, to know which frames are wanted and whether ours are the right ones."""
    ours = decode(path, Uniform(num_frames=NUM_FRAMES))
    info = ours.info
    assert info is not None
    numbers: list[int] = []
    neighbours: list[list[Pixels]] = []
    exact, count = True, 0
    before: Pixels | None = None
    for number, (time_s, pixels) in enumerate(decode_all(path)):
        count = number + 1
        if numbers and number == numbers[-1] + 1:
            neighbours[-1].append(thin(pixels))
        if len(numbers) < len(ours) and abs(time_s - ours.times_s[len(numbers)]) < 1e-9:
            exact = exact and np.array_equal(pixels, ours.pixels[len(numbers)])
            numbers.append(number)
            neighbours.append([] if before is None else [before])
        before = thin(pixels)
    return Clip(
        name=path.stem if gop is not None else path.name,
        path=path,
        codec=info.codec,
        height=info.height,
        gop=gop,
        fps=info.fps,
        bytes=info.size_bytes,
        numbers=numbers,
        frames=ours.pixels,
        neighbours=neighbours,
        exact=exact and len(numbers) == len(ours),
        frame_count=count,
    )


def thin(pixels: Pixels) -> Pixels:
    """Every fourth pixel of every fourth line: enough to tell pictures apart."""
    return pixels[..., ::4, ::4, :].copy()


# -------------------------------------------------------------------------------------------- systems


def framesift_exact(clip: Clip) -> Pixels:
    return decode(clip.path, Uniform(num_frames=NUM_FRAMES)).pixels


def framesift_snap(clip: Clip) -> Pixels:
    """Other frames: keyframes at most ``SNAP_S`` seconds away."""
    return decode(clip.path, Uniform(num_frames=NUM_FRAMES), snap_s=SNAP_S).pixels


def _cv2_open(clip: Clip) -> Any:
    import cv2

    return cv2.VideoCapture(str(clip.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _cv2_rgb(bgr: Pixels) -> Pixels:
    import cv2

    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _stacked(frames: list[Pixels]) -> Pixels:
    if not frames:
        raise RuntimeError("it decodes no frame")
    return np.stack(frames)


def opencv_sequential(clip: Clip) -> Pixels:
    """Grab every frame up to the last wanted one, retrieve the wanted ones."""
    capture, wanted, frames = _cv2_open(clip), set(clip.numbers), []
    for number in range(clip.numbers[-1] + 1):
        if not capture.grab():
            break
        if number in wanted:
            frames.append(_cv2_rgb(capture.retrieve()[1]))
    capture.release()
    return _stacked(frames)


def xpool_loader(clip: Clip) -> Pixels:
    """A seek by frame number for every wanted frame."""
    import cv2

    capture, frames = _cv2_open(clip), []
    for number in clip.numbers:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        found, bgr = capture.read()
        if found:
            frames.append(_cv2_rgb(bgr))
    capture.release()
    return _stacked(frames)


def clip4clip_loader(clip: Clip) -> Pixels:
    """A seek by frame number for every second, all frames converted, 12 of them kept."""
    import cv2

    capture, frames = _cv2_open(clip), []
    count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    for number in clip4clip_extract_indices(count, fps):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(number))
        found, bgr = capture.read()
        if not found:
            break
        frames.append(_cv2_rgb(bgr))
    capture.release()
    return _stacked([frames[row] for row in clip4clip_slice(len(frames), NUM_FRAMES)])


def decord_batch(clip: Clip) -> Pixels:
    import decord

    reader = decord.VideoReader(str(clip.path), ctx=decord.cpu(0), num_threads=1)
    return reader.get_batch(clip.numbers).asnumpy()


def _torchcodec(clip: Clip, seek_mode: str) -> Pixels:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(clip.path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=seek_mode)
    return decoder.get_frames_at(clip.numbers).data.numpy()


def torchcodec_exact(clip: Clip) -> Pixels:
    return _torchcodec(clip, "exact")


def torchcodec_approximate(clip: Clip) -> Pixels:
    """Believes the header's frame rate: not exact, shown for comparison."""
    return _torchcodec(clip, "approximate")


@dataclass(frozen=True)
class System:
    run: Callable[[Clip], Pixels]
    needs: str  # the module
    same_frames: bool = True  # as ours; else they are not compared
    longest: int = 1_000_000  # frames of a clip that it is asked to read


SYSTEMS = {
    "framesift": System(framesift_exact, "framesift"),
    "framesift_snap": System(framesift_snap, "framesift", same_frames=False),
    "torchcodec": System(torchcodec_exact, "torchcodec.decoders"),
    "torchcodec_approximate": System(torchcodec_approximate, "torchcodec.decoders"),
    "decord": System(decord_batch, "decord"),
    "opencv_sequential": System(opencv_sequential, "cv2", longest=5000),
    "xpool_loader": System(xpool_loader, "cv2"),
    "clip4clip_loader": System(clip4clip_loader, "cv2", same_frames=False, longest=5000),
}


def reason(error: Exception) -> str:
    """An error's first line, without the time and the place that decord puts before it."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"^\[[\d:]+\] \S+: ", "", first)


def loadable() -> tuple[dict[str, System], dict[str, str]]:
    """The systems that are installed, and why the others are not."""
    present, missing = {}, {}
    for name, system in SYSTEMS.items():
        try:
            importlib.import_module(system.needs)
            present[name] = system
        except Exception as error:  # torchcodec without FFmpeg raises RuntimeError
            missing[name] = reason(error)
            note(f"missing: {name} ({missing[name]})")
    return present, missing


# ---------------------------------------------------------------------------------------- measurement


@dataclass
class Runs:
    """What one system did with one clip."""

    cpu_s: list[float] = field(default_factory=list)
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def report(self, ours_s: float) -> dict[str, Any]:
        if self.error is not None:
            return {"error": self.error}
        median = statistics.median(self.cpu_s)
        return {
            "cpu_s": round(median, 5),
            "lowest": round(min(self.cpu_s), 5),
            "highest": round(max(self.cpu_s), 5),
            "runs": len(self.cpu_s),
            "ratio": round(median / ours_s, 3),
        } | self.facts


def compare(clip: Clip, pixels: Pixels) -> dict[str, Any]:
    """How a peer's frames differ from ours, in grey levels, and whether they are the same pictures."""
    if pixels.shape != clip.frames.shape:
        return {"right_frames": False, "shape": list(pixels.shape)}
    off = [np.abs(ours.astype(np.int16) - theirs) for ours, theirs in zip(clip.frames, pixels, strict=True)]

    def nearest(i: int) -> bool:
        theirs = thin(pixels[i]).astype(np.int16)
        away = [np.abs(other - theirs).mean() for other in (thin(clip.frames[i]), *clip.neighbours[i])]
        return off[i].mean() < SAME_PICTURE and away[0] == min(away)

    return {
        "right_frames": all(nearest(i) for i in range(len(pixels))),
        "max_difference": int(max(o.max() for o in off)),
        "mean_difference": round(float(np.mean([o.mean() for o in off])), 3),
    }


def measure(clip: Clip, systems: dict[str, System], rounds: int) -> dict[str, Runs]:
    """Every system's runs, taking turns; the first call of each warms up and is checked."""
    results = {name: Runs() for name in systems}
    calls = 1
    for name, system in systems.items():
        runs, started = results[name], time.process_time()
        if clip.frame_count > system.longest:
            runs.error = "not run: it would read far too much of a long clip"
            continue
        try:
            pixels = system.run(clip)
        except Exception as error:
            runs.error = reason(error)
            continue
        taken_s = time.process_time() - started
        if name == "framesift":
            calls = math.ceil(CALLS_S / taken_s)
        if taken_s > SLOW_S:
            runs.cpu_s.append(taken_s)
        if system.same_frames:
            runs.facts = compare(clip, pixels)
    for _ in range(rounds):
        for name, system in systems.items():
            runs = results[name]
            if runs.error is None and not (runs.cpu_s and runs.cpu_s[0] > SLOW_S):
                gc.collect()
                started = time.process_time()
                for _ in range(calls):
                    system.run(clip)
                runs.cpu_s.append((time.process_time() - started) / calls)
    return results


def describe(clip: Clip, results: dict[str, Runs]) -> dict[str, Any]:
    ours_s = statistics.median(results["framesift"].cpu_s)
    return {
        "clip": clip.name,
        "codec": clip.codec,
        "height": clip.height,
        "gop": clip.gop,
        "generated": clip.generated,
        "num_frames": clip.frame_count,
        "bytes": clip.bytes,
        "bit_identical_to_sequential": clip.exact,
        "systems": {name: runs.report(ours_s) for name, runs in results.items()},
    }


def summary(clips: list[dict[str, Any]], system: str) -> dict[str, Any] | None:
    """The system's ratios over these clips: geometric mean, the lowest and its clip; None without any.

    Clips of which it returned wrong frames are counted as well, and how many they are.
    """
    ratios = {
        c["clip"]: c["systems"][system]["ratio"] for c in clips if "ratio" in c["systems"].get(system, {})
    }
    if not ratios:
        return None
    lowest = min(ratios, key=ratios.__getitem__)
    return {
        "geometric_mean": round(statistics.geometric_mean(ratios.values()), 3),
        "lowest": ratios[lowest],
        "lowest_clip": lowest,
        "clips": len(ratios),
        "with_wrong_frames": sum(c["systems"][system].get("right_frames") is False for c in clips),
    }


def groups(clips: list[dict[str, Any]]) -> dict[str, Any]:
    """Every system's summary for each codec, and for long GOPs."""
    made = [c for c in clips if c["generated"]]
    parts = {codec: [c for c in made if c["codec"] == codec] for codec in ENCODERS}
    parts["h264+hevc"] = parts["h264"] + parts["hevc"]
    parts["vp9+av1"] = parts["vp9"] + parts["av1"]
    parts["gop250"] = [c for c in made if c["gop"] == 250]
    parts["real"] = [c for c in clips if not c["generated"]]
    parts["real_h264+hevc"] = [c for c in parts["real"] if c["codec"] in ("h264", "hevc")]
    return {
        part: {name: found for name in SYSTEMS if (found := summary(chosen, name)) is not None}
        for part, chosen in parts.items()
    }


def targets(by_group: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed for, and whether it was met, on the generated clips and on the real ones."""
    aims = [
        ("torchcodec", "h264+hevc", "geometric_mean", 1.4),
        ("torchcodec", "h264+hevc", "lowest", 1.2),
        ("decord", "h264+hevc", "geometric_mean", 1.8),
        ("decord", "h264+hevc", "lowest", 1.2),
        ("torchcodec", "real_h264+hevc", "geometric_mean", 1.4),
        ("torchcodec", "real_h264+hevc", "lowest", 1.2),
        ("decord", "real_h264+hevc", "geometric_mean", 1.8),
        ("decord", "real_h264+hevc", "lowest", 1.2),
        ("torchcodec", "vp9", "geometric_mean", 1.0),
        ("torchcodec", "av1", "geometric_mean", 1.0),
        ("decord", "vp9", "geometric_mean", 1.0),
        ("clip4clip_loader", "gop250", "geometric_mean", 5.0),
    ]
    rows = []
    for peer, part, statistic, aim in aims:
        value = by_group[part].get(peer, {}).get(statistic)
        met = None if value is None else value >= aim
        rows.append(
            {"peer": peer, "clips": part, "statistic": statistic, "target": aim, "value": value, "met": met}
        )
    return rows


# --------------------------------------------------------------------------------------------- report


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    """Of the systems and of the FFmpeg that each of them has loaded."""
    found = {"av": av.__version__, "numpy": np.__version__, "torch": torch.__version__}
    for name in ("decord", "torchcodec", "cv2"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__
    libraries = {
        Path(line.split()[-1])
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "libavcodec" in line
    }
    return found | {f"libavcodec in {path.parent.name}": path.name for path in sorted(libraries)}


def report(
    clips: list[dict[str, Any]],
    missing: dict[str, str],
    failed: list[str],
    rounds: int,
    where: dict[str, Any],
) -> str:
    """Everything that was measured, as JSON."""
    by_group = groups(clips)
    result = {
        "task": f"{NUM_FRAMES} frames as RGB; CPU seconds, ratios to framesift's exact decoding",
        "rounds": rounds,
        "threads": 1,
        "snap_s": SNAP_S,
        "encoders": {codec: [encoder, encoding] for codec, (_, encoder, encoding) in ENCODERS.items()},
        "targets": targets(by_group),
        "groups": by_group,
        "missing": missing,
        "failed": failed,
        "clips": clips,
        "versions": versions(),
        "machine": where,
    }
    return json.dumps(result, indent=2) + "\n"


def main() -> int:
    """Encode, check, measure, print, keep; 1 if a frame of ours was wrong or missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--quick", action="store_true", help="generated clips of 240p only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=Path, default=Path(tempfile.gettempdir()) / "framesift-bench-clips")
    parser.add_argument("--only", default="", help="only clips whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    systems, missing = loadable()
    if "opencv_sequential" in systems:
        sys.modules["cv2"].setNumThreads(1)
    sources: list[tuple[Path, int | None]] = [
        (path, gop) for path, *_, gop in generated(options.clips, options.quick)
    ]
    if not options.quick:
        sources += [
            (path, None) for path in real(Path(os.environ.get("FRAMESIFT_REAL_DATA", "../shared/data")))
        ]
    where = machine()
    clips, failed = [], []
    for path, gop in sources:
        if options.only not in path.name:
            continue
        clip = examine(path, gop)
        results = measure(clip, systems, options.rounds)
        if results["framesift"].error is not None or not clip.exact:
            failed.append(clip.name)
        clips.append(describe(clip, results))
        row = "  ".join(
            f"{name} {'error' if runs.error else round(clips[-1]['systems'][name]['ratio'], 2)}"
            for name, runs in results.items()
        )
        note(f"{clip.name}: {statistics.median(results['framesift'].cpu_s):.4f} s  {row}")
        if options.json is not None:  # after every clip: a full run takes long
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(report(clips, missing, failed, options.rounds, where), encoding="utf-8")
    print(report(clips, missing, failed, options.rounds, where), end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
