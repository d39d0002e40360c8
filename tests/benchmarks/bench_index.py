"""Indexing a folder of videos: framesift against a straightforward pipeline, and its memory.

    python tests/benchmarks/bench_index.py --json results/bench-index.json

The straightforward pipeline is what one would write in an afternoon: for each file in turn, torchcodec decodes 12
frames, the image processor of transformers prepares them, the encoder runs in eager fp32 on them, the embeddings are
kept and saved in the end. Both get the same files, model and number of cores; both run in a process of their own and
are timed from when their imports and the model are there. With framesift this includes starting the decoding
processes, hashing the files, and committing to disk.

Two models: one of the size of CLIP ViT-B/32 with random weights, and the bundled storyboard-clip. Memory is the
proportional set size (PSS) of the process and its children, polled; it is measured with the bundled model on many
small videos, too, to see that it does not grow with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from record import PeakMemory, keep, machine  # noqa: E402

from framesift.cli.indexing import NO_SPINNING  # noqa: E402

FRAMES = 12


# ---- what is measured, each in a process of its own


def index(model: Any, files: list[Path], folder: Path) -> dict[str, Any]:
    """framesift."""
    from framesift.index import Index

    with Index.create(folder / "an.index", model=model, moments="whole", reference="none") as made:
        report = made.add(files)
        assert report.added == len(files), report.failed
    stages = {"waiting": report.waiting_s, "encoding": report.encoding_s, "writing": report.writing_s}
    return {"stage_wall_s": stages}


def straightforward(model: Any, files: list[Path], folder: Path) -> dict[str, Any]:
    """torchcodec, the image processor of transformers, eager fp32."""
    import numpy as np
    import torch
    from torchcodec.decoders import VideoDecoder
    from transformers import CLIPImageProcessorPil

    size = model.encoder.preprocessing.crop or model.encoder.preprocessing.size
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size[0]}, crop_size={"height": size[0], "width": size[1]}
    )
    stages = dict.fromkeys(("decoding", "preparing", "encoding", "writing"), 0.0)
    kept = []
    for path in files:
        marks = [time.monotonic()]
        decoder = VideoDecoder(str(path))
        count = decoder.metadata.num_frames
        wanted = ((np.arange(FRAMES) + 0.5) * count / FRAMES).astype(int).tolist()
        frames = decoder.get_frames_at(wanted).data
        marks.append(time.monotonic())
        pixels = processor(list(frames.permute(0, 2, 3, 1).numpy()), return_tensors="pt")["pixel_values"]
        marks.append(time.monotonic())
        with torch.inference_mode():
            kept.append(model.encoder.model.get_image_features(pixel_values=pixels).pooler_output)
        marks.append(time.monotonic())
        for name, start, end in zip(stages, marks, marks[1:], strict=False):
            stages[name] += end - start
    started = time.monotonic()
    np.save(folder / "embeddings.npy", torch.stack(kept).numpy())
    stages["writing"] = time.monotonic() - started
    return {"stage_wall_s": stages}


SYSTEMS = {"framesift": index, "straightforward": straightforward}


def _run(name: str, model_name: str, videos: Path) -> None:
    """The inside of a measured process."""
    import framesift as fs

    model = fs.load(model_name)
    files = sorted(videos.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        print("ready", flush=True)
        sys.stdin.readline()
        before, started = _cpu_s(), time.monotonic()
        result = SYSTEMS[name](model, files, Path(folder))
        wall = time.monotonic() - started
    cpu = _cpu_s() - before
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "busy_cores": cpu / wall, **result}))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


# ---- around it


def measure(name: str, model: str, videos: Path) -> dict[str, Any]:
    """One run."""
    command = [sys.executable, str(HERE), "--run", name, model, str(videos)]
    environment = os.environ | dict([NO_SPINNING] if name == "framesift" else [])  # as framesift index does
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with PeakMemory(process.pid) as memory:
            process.stdin.write("go\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
    count = len(list(videos.iterdir()))
    return {
        **answer,
        "videos_per_s": count / answer["wall_s"],
        "cpu_s_per_video": answer["cpu_s"] / count,
    } | {"peak_memory_bytes": memory.peak_bytes}


def clips_720p(folder: Path, count: int) -> Path:
    """15-second H.264 clips, GOP 250, all with the same content."""
    from bench_decode import encode

    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "0000.mp4"
    if not source.exists():
        encode(source, "h264", 720, 250, 15)
    for number in range(1, count):
        if not (path := folder / f"{number:04d}.mp4").exists():
            shutil.copy(source, path)
    return folder


def small_clips(folder: Path, count: int) -> Path:
    """One-second clips of 32 x 32 pixels, 42 different ones."""
    from colour_model import COLOURS, write_clip

    names = list(COLOURS)
    for number in range(count):
        if not (path := folder / f"{number:04d}.mp4").exists():
            write_clip(path, [names[number % len(names)], names[number // 7 % len(names)]], seconds=0.5)
    return folder


def vit_b32(folder: Path) -> Path:
    """A CLIP checkpoint whose image tower has the size of ViT-B/32, with random weights and a small tokenizer."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    from tiny_models import tiny_clip

    tiny_clip(folder)
    text = CLIPConfig.from_pretrained(folder).text_config.to_dict() | {"projection_dim": 512}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, projection_dim=512)).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--videos", type=int, default=100, help="720p clips")
    parser.add_argument("--small", type=int, default=1000, help="small clips; a tenth of them for comparison")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _run(options.run[0], options.run[1], Path(options.run[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        videos = clips_720p(work / "720p", options.videos)
        models = {
            "ViT-B/32 (random weights)": str(vit_b32(work / "vit")),
            "storyboard-clip": "storyboard-clip",
        }
        result: dict[str, Any] = {
            "videos": options.videos,
            "frames": FRAMES,
            "clip": "1280x720, 15 s, H.264, GOP 250",
            "models": {},
        }
        for title, model in models.items():
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
            for number in range(options.rounds):
                for name in SYSTEMS:
                    runs[name].append(measure(name, model, videos))
                    seen = runs[name][-1]
                    print(
                        f"{title}, round {number + 1}: {name} {seen['wall_s']:.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )
            pairs = list(zip(runs["framesift"], runs["straightforward"], strict=True))
            result["models"][title] = {
                **runs,
                "throughput_ratio": [ours["videos_per_s"] / theirs["videos_per_s"] for ours, theirs in pairs],
                "cpu_ratio": [theirs["cpu_s"] / ours["cpu_s"] for ours, theirs in pairs],
            }
        memory: dict[str, Any] = {}
        for count in (options.small // 10, options.small):
            seen = measure("framesift", "storyboard-clip", small_clips(work / f"small{count}", count))
            memory[str(count)] = {"peak_memory_bytes": seen["peak_memory_bytes"], "wall_s": seen["wall_s"]}
        result["memory_by_number_of_small_videos"] = memory
        result["machine"] = machine()
    keep(result, options.json)


if __name__ == "__main__":
    main()
