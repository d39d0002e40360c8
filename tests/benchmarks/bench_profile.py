"""Where indexing and a query spend their time, and how far each stage is from what the machine allows.

    python tests/benchmarks/bench_profile.py --json results/bench-profile.json

First the machine, on one thread: reading memory (the sum of a long array), a large matrix product, writing to the disk
with fsync. Then each stage alone, with the least that it could take: the larger of the bytes that it has to read over
the memory's bandwidth and the arithmetic that it has to do over the matrix product's. A stage at 2.0 takes twice that.

- Indexing: 720p clips (bench_index.py), ViT-B/32's size. Decoding is held against plain sequential decoding of the same
  file by PyAV up to the last frame that is needed, without conversion to RGB: no bound, since frames between may be
  skipped, but what the decoder costs. Writing is held against the disk.
- Query: the stages that bench_query.py has measured, from its JSON, and what they read and compute.

Times are CPU time (user + system), those of the disk wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are loaded

import av
import numpy as np
import torch
from bench_growth import WORK
from bench_index import clips_720p, vit_b32
from growth_gallery import FRAMES, GrowthGallery, Material
from growth_index import PlantedModel, captions, load_tower, write_tables
from record import keep, machine
from torch.utils.flop_counter import FlopCounterMode

import framesift as fs
from framesift.index.files import content_hash
from framesift.model import RetrievalModel
from framesift.storyboard.slices import standard
from framesift.video import Uniform, decode

RESULTS = Path(__file__).resolve().parents[2] / "results"
ARRAY_BYTES = 1 << 29
MATRIX = 2048
WRITTEN_MOMENTS = 20_000


def limits(folder: Path) -> dict[str, float]:
    """What one thread of this machine can do; the best of several tries."""
    array = np.ones(ARRAY_BYTES // 4, np.float32)
    read_s = best_of(lambda: array @ array, 5)  # both operands are the same memory, read once
    a = torch.rand(MATRIX, MATRIX)
    multiply_s = best_of(lambda: a @ a, 5)
    content = os.urandom(1 << 24)

    def write() -> None:
        with (folder / "written").open("wb", buffering=0) as file:
            for _ in range(ARRAY_BYTES // len(content)):
                file.write(content)
            os.fsync(file.fileno())

    write_s = best_of(write, 3, clock=time.monotonic)
    (folder / "written").unlink()
    return {
        "memory_bytes_per_s": ARRAY_BYTES / read_s,
        "flops": 2 * MATRIX**3 / multiply_s,
        "disk_write_bytes_per_s": ARRAY_BYTES / write_s,
    }


def best_of(
    function: Callable[[], Any], times: int, *, clock: Callable[[], float] = time.process_time
) -> float:
    """Seconds of the fastest call, after one to warm up."""
    function()
    taken: list[float] = []
    for _ in range(times):
        before = clock()
        function()
        taken.append(clock() - before)
    return min(taken)


def stage(
    seconds: float, machine: dict[str, float], *, reads: float = 0.0, flops: float = 0.0
) -> dict[str, Any]:
    """A stage's time beside the least that it could take."""
    bounds = {"memory": reads / machine["memory_bytes_per_s"], "arithmetic": flops / machine["flops"]}
    bound = max(bounds, key=bounds.__getitem__)
    least = bounds[bound]
    return {
        "cpu_ms": 1000 * seconds,
        "bound": bound if least else None,
        "least_ms": 1000 * least,
        "times_the_least": seconds / least if least else None,
    }


def indexing(work: Path, clips: int, limit: dict[str, float], backend: str) -> dict[str, Any]:
    """Every stage of indexing a clip, a clip."""
    paths = sorted(clips_720p(work / "720p", clips).iterdir())[:clips]
    checkpoint = work / "vit"
    if not (checkpoint / "config.json").exists():
        vit_b32(checkpoint)
    model = fs.load(checkpoint, device="cpu", backend=backend)
    sampler = Uniform(num_frames=FRAMES)
    frames = decode(paths[0], sampler)
    pixels = model.encoder.preprocess(frames.pixels)

    def encode() -> Any:
        with torch.inference_mode():
            return model.encoder.encode_video([frames])

    reference = fs.load(checkpoint, device="cpu", backend="torch")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        reference.encoder.forward_pixels(pixels)
    decoding = np.mean([best_of(lambda path=path: decode(path, sampler), 3) for path in paths])
    sequential = np.mean(
        [best_of(lambda path=path: decode_through(path, frames.times_s[-1]), 3) for path in paths]
    )
    preparing = best_of(lambda: model.encoder.preprocess(frames.pixels), 5)
    both = best_of(encode, 5)
    hashing = np.mean([best_of(lambda path=path: content_hash(path), 3) for path in paths])
    size = float(np.mean([path.stat().st_size for path in paths]))
    writing = tables(work, limit)
    stages = {
        "decoding": {
            **stage(float(decoding), limit),
            "bound": "sequential decoding",
            "least_ms": 1000 * float(sequential),
            "times_the_least": float(decoding / sequential),
        },
        "preparing": stage(preparing, limit, reads=frames.pixels.nbytes),
        "encoding": stage(both - preparing, limit, flops=counter.get_total_flops()),
        "hashing": stage(float(hashing), limit, reads=size),
        "writing": writing,
    }
    total = sum(one["cpu_ms"] for one in stages.values())
    for one in stages.values():
        one["share"] = one["cpu_ms"] / total
    return {
        "clip": "1280x720, 15 s, H.264, GOP 250; one moment",
        "clips": len(paths),
        "clip_bytes": size,
        "frames": FRAMES,
        "backend": backend,
        "gflop_a_frame": counter.get_total_flops() / FRAMES / 1e9,
        "stages": stages,
        "cpu_ms": total,
    }


def decode_through(path: Path, until_s: float) -> int:
    """Decode every frame up to a time on one thread; how many there were."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            count += 1
            if frame.time is not None and frame.time >= until_s:
                break
    return count


def tables(work: Path, limit: dict[str, float]) -> dict[str, Any]:
    """Committing a moment's features, in large commits, against the disk."""
    gallery = GrowthGallery(Material.of(work), moments=WRITTEN_MOMENTS)
    model = PlantedModel(load_tower(work, backend="torch"), captions(gallery))
    with tempfile.TemporaryDirectory(dir=work) as folder:
        path = Path(folder) / "an.index"
        taken = write_tables(path, gallery, model)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    least = size / limit["disk_write_bytes_per_s"]
    return {
        "cpu_ms": 1000 * taken["cpu_s"] / gallery.moments,
        "wall_ms": 1000 * taken["wall_s"] / gallery.moments,
        "bytes": size / gallery.moments,
        "bound": "disk",
        "least_ms": 1000 * least / gallery.moments,
        "times_the_least": taken["wall_s"] / least,  # wall: the disk is waited for
    }


def query(work: Path, limit: dict[str, float], measured: dict[str, Any]) -> dict[str, Any]:
    """The stages of a query as bench_query.py measured them, with their bounds."""
    model = load_tower(work, backend="torch")
    dim, depth, moments = model.dim, measured["depth"], measured["moments"]
    flops = text_flops(model)
    weights = sum(
        x.numel() for name, x in model.encoder.model.text_model.named_parameters() if "embedding" not in name
    )
    read = measured["read_a_query"]
    frames = depth * FRAMES * dim
    stored = 2 * dim  # of a vector, in float16
    bounds: dict[str, dict[str, float]] = {
        "text": {"reads": 4 * weights, "flops": flops},
        "candidates": {
            "reads": measured["vectors"] * stored
            if read is None
            else read["code_bytes"] + read["vectors"] * stored
        },
        "frames": {"reads": depth * FRAMES * stored},
        # two products with every frame, two of dim x dim with what is pooled (FoldedQueries)
        "xpool": {"reads": 4 * frames, "flops": 2 * (2 * frames + 2 * depth * dim**2)},
        "results": {},
    }
    stages = {
        name: {
            **stage(measured["stages_cpu_ms"][name]["mean"] / 1000, limit, **bound),
            "share": measured["share_of_stages"][name],
        }
        for name, bound in bounds.items()
    }
    return {
        "moments": moments,
        "depth": depth,
        "backend": measured["backend"],
        "engine": measured["engine_used"],
        "stages": stages,
        "cpu_ms": measured["query_cpu_ms"]["mean"],
    }


def text_flops(model: RetrievalModel) -> float:
    """Arithmetic of a caption in the text tower, the mean of some."""
    texts = standard(20).texts
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for text in texts:
            model.encode_text([text])
    return counter.get_total_flops() / len(texts)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--clips", type=int, default=8, help="720p clips that are decoded")
    parser.add_argument("--backend", default="openvino", help="of the encoder; torch for the reference")
    parser.add_argument(
        "--query", type=Path, default=RESULTS / "bench-query.json", help="JSON of bench_query.py"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="where clips and checkpoints are made")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    limit = limits(options.work)
    result: dict[str, Any] = {
        "limits_of_one_thread": limit,
        "indexing": indexing(options.work, options.clips, limit, options.backend),
    }
    if options.query.exists():
        measured = json.loads(options.query.read_text())
        result["query"] = {
            backend: query(options.work, limit, held)
            for backend, held in measured.items()
            # the limits are those of fp32
            if backend != "machine" and held.get("precision", "fp32") == "fp32"
        }
    keep({**result, "machine": machine()}, options.json)


if __name__ == "__main__":
    main()
