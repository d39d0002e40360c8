"""Encoding on a CPU: eager torch in fp32 against torch in bf16 and OpenVINO in fp32, bf16 and int8.

    python tests/benchmarks/bench_encode.py --json results/bench-encode.json

Pictures and texts per second of CPU time (user and system), one thread, in one process, the systems in turn in every
round, with a CLIP of the size of ViT-B/32 with random weights. Texts: eager torch pads them to CLIP's 77 tokens, as the
processor of transformers does by default; the others, our torch among them, to the longest of the batch. Eager torch is
also measured with a thread for every core, as it comes, where threads that wait for one another count. Cosines are
to eager fp32 on the same inputs. Beside it, what a picture needs at least: its floating-point operations at the rate of
the fastest large matrix product in the same type that was found in the same run. Conversion is timed as what it is: the
wait of the first process, and of the next one.

Ranks: the bundled storyboard-xpool on videos of Storyboard's slice standard, by its own matcher, in every precision;
with the gate's own report for it and for the large encoder.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: spinning threads would count as work

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import torch  # noqa: E402
from record import keep, machine  # noqa: E402

SYSTEMS = {
    "eager": ("torch", "fp32"),
    "torch bf16": ("torch", "bf16"),
    "openvino fp32": ("openvino", "fp32"),
    "openvino bf16": ("openvino", "bf16"),
    "openvino int8": ("openvino", "int8"),
}
TARGETS = {
    ("images", "openvino fp32"): 1.8,
    ("images", "openvino bf16"): 3.5,
    ("images", "openvino int8"): 6.0,
    ("text, batch 1", "openvino fp32"): 5.0,
}
CONTEXT = 77


def vit_b32(folder: Path) -> Path:
    """A CLIP checkpoint with both towers of the size of ViT-B/32, random weights and a small tokenizer."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    from tiny_models import tiny_clip

    tiny_clip(folder)
    tiny = CLIPConfig.from_pretrained(folder).text_config
    ids = {name: getattr(tiny, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    config = CLIPConfig(text_config={"projection_dim": 512, **ids}, projection_dim=512)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_turn(
    runs: dict[str, Callable[[], torch.Tensor]], items: int, rounds: int, repeat: int
) -> dict[str, Any]:
    """CPU seconds an item of every system, the systems in turn, and their outputs against the first's."""
    outputs = {name: run() for name, run in runs.items()}  # also warms them up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = cpu_s()
            for _ in range(repeat):
                run()
            seconds[name].append((cpu_s() - started) / (items * repeat))
    reference = next(iter(outputs.values()))
    first = next(iter(seconds.values()))
    result: dict[str, Any] = {}
    for name, values in seconds.items():
        ratios = [base / own for base, own in zip(first, values, strict=True)]
        cosine = torch.cosine_similarity(outputs[name].double(), reference.double(), dim=-1)
        result[name] = {
            "cpu_ms": [1000 * value for value in values],
            "per_cpu_s": 1 / statistics.median(values),
            "over_eager": {
                "median": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            },
            "cosine": {"least": cosine.min().item(), "mean": cosine.mean().item()},
            "largest_difference": (outputs[name] - reference).abs().max().item(),
        }
    return result


def speed(folder: Path, *, pictures: int, rounds: int) -> dict[str, Any]:
    """Pictures and texts per CPU second of the large encoder."""
    import numpy as np

    from framesift.encoders import load_encoder
    from framesift.encoders.gate import measure
    from framesift.encoders.samples import EVERYDAY, calibration_pictures, textures

    encoders, preparing = {}, {}
    for name, (backend, dtype) in SYSTEMS.items():
        waits = []
        for _ in range(2 if backend == "openvino" else 1):  # the second finds what the first kept
            encoder = load_encoder(folder, device="cpu", dtype=dtype, backend=backend)
            encoder.fingerprint()  # not part of it: an index asks for it in any case
            started = time.monotonic()
            encoder.encode_text(["a dog"])
            encoder.encode_pixels(encoder.preprocess(textures(1, seed=0)))
            waits.append(time.monotonic() - started)
        encoders[name], preparing[name] = encoder, waits
        print(f"{name} prepared in {waits[0]:.1f} s", file=sys.stderr, flush=True)
    eager = encoders["eager"]
    both = np.concatenate(
        [calibration_pictures(96)[48 - pictures // 2 :][: pictures // 2], textures(pictures, seed=3)]
    )
    pixels = eager.preprocess(both[:pictures])
    runs = {name: partial(one.encode_pixels, pixels) for name, one in encoders.items()}
    cores = len(os.sched_getaffinity(0))
    if cores > 1:
        runs[f"eager, {cores} threads"] = partial(_with_threads, cores, runs["eager"])
    result: dict[str, Any] = {"images": in_turn(runs, pictures, rounds, 1), "limits": limits(eager, pixels)}
    for size, repeat in ((1, 20), (32, 1)):
        texts = [EVERYDAY[i % len(EVERYDAY)] for i in range(size)]
        runs = {name: partial(_sentences, one, texts) for name, one in encoders.items()}
        padded = partial(_padded, eager, *eager.tokenize(texts, length=CONTEXT))
        runs = {"eager": padded, "torch fp32": runs.pop("eager"), **runs}
        result[f"text, batch {size}"] = in_turn(runs, size, rounds, repeat)
    result["preparing_wall_s"] = preparing
    result["gate"] = {
        name: measure(one).to_dict() for name, one in encoders.items() if one.arithmetic.reduced
    }
    return result


def limits(encoder: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """Operations of a picture, and the rate of the fastest of some matrix products in each type."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        encoder.encode_pixels(pixels[:1])
    gflop = counter.get_total_flops() / 1e9
    rates: dict[str, float] = {}
    for rows, inner, columns in ((3200, 768, 3072), (2048, 2048, 2048), (4096, 1024, 4096)):
        work = 2 * rows * inner * columns / 1e9
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("int8", torch.int8)):
            a = torch.randint(-9, 9, (rows, inner)).to(dtype)
            b = torch.randint(-9, 9, (inner, columns)).to(dtype)
            product = partial(torch._int_mm if dtype == torch.int8 else torch.mm, a, b)
            product()
            for _ in range(6):
                started = cpu_s()
                product()
                rates[name] = max(rates.get(name, 0.0), work / (cpu_s() - started))
    return {
        "gflop_a_picture": gflop,
        "gflops": rates,
        "pictures_per_cpu_s": {name: rate / gflop for name, rate in rates.items()},
    }


def _with_threads(count: int, run: Callable[[], torch.Tensor]) -> torch.Tensor:
    torch.set_num_threads(count)
    try:
        return run()
    finally:
        torch.set_num_threads(1)


def _sentences(encoder: Any, texts: list[str]) -> torch.Tensor:
    return encoder.encode_text(texts).sentence


def _padded(encoder: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return encoder.encode_tokens(ids, mask).sentence


def ranks_on_storyboard(count: int) -> dict[str, Any]:
    """What becomes of the ranks of storyboard-xpool."""
    from framesift.encoders.gate import gate
    from framesift.evaluation.benchmark import evaluate_model, storyboard_task
    from framesift.hub import load

    task = storyboard_task("standard", count)
    rows: dict[str, Any] = {}
    truth: list[int] = []
    for name, (backend, dtype) in SYSTEMS.items():
        model = load("storyboard-xpool", device="cpu", dtype=dtype, backend=backend, force=True)
        found = evaluate_model(model, task)
        ranks = [int(rank) for rank in found["ranks"]["t2v"].split()]
        truth = truth or ranks
        report = gate(model.encoder, force=True)
        rows[name] = {
            "t2v_r1": 100 * sum(rank == 1 for rank in ranks) / len(ranks),
            "ranks_changed": sum(rank != other for rank, other in zip(ranks, truth, strict=True)),
            "largest_change": max(abs(rank - other) for rank, other in zip(ranks, truth, strict=True)),
            "gate": report and {**report.to_dict(), "problems": report.problems},
        }
        print(f"{name}: R@1 {rows[name]['t2v_r1']:.1f}", file=sys.stderr, flush=True)
    return {"videos": count, "texts": len(truth), "systems": rows}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--pictures", type=int, default=64, help="in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=400, help="of Storyboard")
    options = parser.parse_args()
    from framesift.encoders.arithmetic import instructions

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")  # cold, and gone afterwards
        result = speed(vit_b32(Path(folder) / "vit"), pictures=options.pictures, rounds=options.rounds)
        result["storyboard"] = ranks_on_storyboard(options.videos)
    result["targets"] = [
        {
            "what": what,
            "system": system,
            "target": target,
            "value": result[what][system]["over_eager"]["median"],
            "met": result[what][system]["over_eager"]["median"] >= target,
        }
        for (what, system), target in TARGETS.items()
    ]
    result["case"] = {
        "model": "CLIP of the size of ViT-B/32, random weights",
        "pictures": options.pictures,
        "rounds": options.rounds,
        "threads": 1,
    }
    from importlib.metadata import version

    result["machine"] = machine() | {
        "openvino": version("openvino"),
        "nncf": version("nncf"),
        "cpu_instructions": list(instructions()),
    }
    keep(result, options.json)


if __name__ == "__main__":
    main()
