"""What docs/encoding.md quotes of results/bench-encode.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RESULT = "bench-encode"
LIMITS = {
    "eager": "fp32",
    "openvino fp32": "fp32",
    "torch bf16": "bf16",
    "openvino bf16": "bf16",
    "openvino int8": "int8",
}  # the type that a system multiplies in
COLUMNS = ("images", "text, batch 1", "text, batch 32")


def encoding_blocks(measured: Callable[[str], dict[str, Any] | None]) -> dict[str, str]:
    """The blocks of the page, or none while nothing is measured."""
    data = measured(RESULT)
    return (
        {}
        if data is None
        else {"speed": _speed(data), "accuracy": _accuracy(data), "preparing": _preparing(data)}
    )


def _speed(data: dict[str, Any]) -> str:
    case, machine = data["case"], data["machine"]
    where = f"one thread of {machine['cpu']} ({' '.join(machine['cpu_instructions'])})"
    versions = f"OpenVINO {machine['openvino']}, torch {machine['torch']}"
    about = (
        f"{case['model']}; {where}, {case['pictures']} pictures a batch, {case['rounds']} rounds; {versions} "
        f"([JSON](../results/{RESULT}.json)). Per second of CPU time, and how many times eager torch in fp32, which "
        "pads texts to 77 tokens (lowest and highest round):"
    )
    lines = [
        about,
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    names = list(dict.fromkeys(name for column in COLUMNS for name in data[column]))
    for name in names:
        cells: list[str] = []
        for column in COLUMNS:
            row = data[column].get(name)
            ratio = row and row["over_eager"]
            spread = ratio and f"{ratio['median']:.1f}× ({ratio['lowest']:.1f}–{ratio['highest']:.1f})"
            cells.append(f"{row['per_cpu_s']:.1f}, {spread}" if row else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if "limits" in data:
        lines += ["", _limits(data)]
    missed = [
        f"{target['what']} with {target['system']} {target['value']:.1f}× of {target['target']:g}×"
        for target in data["targets"]
        if not target["met"]
    ]
    lines += ["", f"Targets missed on this machine: {'; '.join(missed) or 'none'}."]
    return "\n".join(lines)


def _limits(data: dict[str, Any]) -> str:
    """How far each system is from the rate of a large matrix product."""
    limits, images = data["limits"], data["images"]
    shares = [
        f"{name} {images[name]['per_cpu_s'] / limits['pictures_per_cpu_s'][kind]:.0%}"
        for name, kind in LIMITS.items()
    ]
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in limits["gflops"].items())
    return (
        f"A picture takes {limits['gflop_a_picture']:.1f} GFLOP. The fastest large matrix product that torch did here, "
        f"in GFLOP per CPU second: {rates}. Of what that would allow, pictures reach: {', '.join(shares)}."
    )


def _accuracy(data: dict[str, Any]) -> str:
    board = data["storyboard"]
    lines = [
        f"`storyboard-xpool`, text to video, {board['texts']:,} texts and {board['videos']:,} videos of `standard`:",
        "",
        "| | R@1 | ranks changed | largest change | mean (smallest) cosine of frames | of texts |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in board["systems"].items():
        gate = row["gate"]
        cosines = (
            f"{gate['frame_mean']:.5f} ({gate['frame_least']:.5f}) | {gate['text_mean']:.5f} ({gate['text_least']:.5f})"
            if gate
            else "– | –"
        )
        lines.append(
            f"| {name} | {row['t2v_r1']:.1f} | {row['ranks_changed']} | {row['largest_change']} | {cosines} |"
        )
    large = [
        f"{name} {row['frame_mean']:.5f} ({row['frame_least']:.5f})" for name, row in data["gate"].items()
    ]
    lines += ["", f"Cosine of frames with the large encoder of random weights: {'; '.join(large)}."]
    return "\n".join(lines)


def _preparing(data: dict[str, Any]) -> str:
    waits = [
        f"{name} {first:.0f} s, then {second:.1f} s"
        for name, (first, *rest) in data["preparing_wall_s"].items()
        for second in rest
    ]
    return f"Until a text and a picture are encoded, both towers, the first process and the next: {'; '.join(waits)}."
