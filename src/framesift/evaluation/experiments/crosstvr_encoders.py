"""CrossTVR's Table 7: a larger image encoder, fine-tuned end to end or frozen with its tokens kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ...encoders.scratch import ClipSizes
from ...errors import ConfigError, suggest
from ...rerankers.qformer import QFormerConfig
from .bench import Bench
from .outcome import Outcome, Series, Table
from .training_cost import TrainingCost, measure_in_process

__all__ = ["ENCODER_SIZES", "EncodersConfig", "measure_encoders"]

GIB = 2.0**30
SMALL_TEXT: dict[str, Any] = {"text_width": 256, "text_layers": 4, "text_heads": 4}
"""One text tower beside every image encoder, so that the image encoder alone makes the difference."""

ENCODER_SIZES: dict[str, ClipSizes] = {
    "ViT-Ti/32": ClipSizes(
        image_size_px=224, patch_size_px=32, vision_width=192, vision_layers=12, vision_heads=3, **SMALL_TEXT
    ),
    "ViT-S/32": ClipSizes(
        image_size_px=224, patch_size_px=32, vision_width=384, vision_layers=12, vision_heads=6, **SMALL_TEXT
    ),
    "ViT-B/32": ClipSizes(
        image_size_px=224, patch_size_px=32, vision_width=768, vision_layers=12, vision_heads=12, **SMALL_TEXT
    ),
    "ViT-B/16": ClipSizes(
        image_size_px=224, patch_size_px=16, vision_width=768, vision_layers=12, vision_heads=12, **SMALL_TEXT
    ),
    "ViT-L/14": ClipSizes(
        image_size_px=224,
        patch_size_px=14,
        vision_width=1024,
        vision_layers=24,
        vision_heads=16,
        **SMALL_TEXT,
    ),
    "ViT-g/14": ClipSizes(
        image_size_px=224,
        patch_size_px=14,
        vision_width=1408,
        vision_layers=40,
        vision_heads=16,
        **SMALL_TEXT,
    ),
}
"""Image encoders by the names of Dosovitskiy et al. 2021 and, for the last, Fang et al. 2023 (EVA; its inner width is
6,144 there, and four times the width here)."""

WAYS = {"fine-tuned": "fine-tuned end to end", "cached": "frozen, tokens from a cache"}

PAPER = Table(
    title="In the paper (MSR-VTT; the columns' units are lost in our copy: GB in total and hours, presumably)",
    columns=("model", "R@1", "batch", "memory", "training time"),
    rows=(
        ("CLIP4Clip ViT-B/32, end to end", 44.5, 128, 41, 9),
        ("CLIP4Clip ViT-G/14, end to end", 47.4, 48, 546, 50),
        ("CrossTVR ViT-B/32, frozen", 49.6, 128, 41, 18),
        ("CrossTVR ViT-G/14, frozen", 54.0, 128, 50, 21),
    ),
)


def _small_qformer() -> QFormerConfig:
    return QFormerConfig(
        hidden=256, num_layers=4, num_heads=4, ffn_width=1024, num_queries=16, vocab_size=64, max_positions=64
    )


@dataclass(frozen=True, kw_only=True)
class EncodersConfig:
    """Configuration.

    Attributes:
        encoders: keys of :data:`ENCODER_SIZES`.
        qformer: of the reranker; the default is a small one, for the CPU. BLIP-2's: ``qformer={hidden = 768, num_layers
            = 12, num_heads = 12, ffn_width = 3072, num_queries = 32}``.
        num_frames, batch_size: of a training step.
        steps: timed ones.
    """

    encoders: tuple[str, ...] = ("ViT-Ti/32", "ViT-S/32", "ViT-B/32")
    qformer: QFormerConfig = field(default_factory=_small_qformer)
    num_frames: int = 4
    batch_size: int = 4
    steps: int = 2

    def __post_init__(self) -> None:
        for name in self.encoders:
            if name not in ENCODER_SIZES:
                known = ", ".join(ENCODER_SIZES)
                raise ConfigError(
                    f"encoders: no encoder {name!r}{suggest(name, ENCODER_SIZES)} (known: {known})"
                )
        if not self.encoders:
            raise ConfigError("encoders: expected at least one")
        if min(self.num_frames, self.steps) < 1 or self.batch_size < 2:
            raise ConfigError("num_frames and steps: expected at least 1; batch_size: at least 2")


def measure_encoders(bench: Bench, config: EncodersConfig) -> Outcome:
    """Memory and time of a training step with every encoder, both ways."""

    def measure(name: str, way: str) -> dict[str, Any] | None:
        cost = TrainingCost(
            way="fine-tuned",
            sizes=ENCODER_SIZES[name],
            qformer=config.qformer,
            num_frames=config.num_frames,
            batch_size=config.batch_size,
            steps=config.steps,
            device=bench.device,
            seed=bench.seed,
        )
        return measure_in_process(cost if way == "fine-tuned" else replace(cost, way="cached"))

    points = {
        (name, way): bench.points.at(f"{name}, {WAYS[way]}", lambda name=name, way=way: measure(name, way))
        for name in config.encoders
        for way in WAYS
    }

    def line(way: str, key: str, unit: float, panel: str) -> Series:
        found = [points[name, way] for name in config.encoders]
        values = tuple(None if point is None else point[key] / unit for point in found)
        return Series(name=WAYS[way], values=values, panel=panel)

    rows = tuple(
        (name, WAYS[way], None, None, None, None, None)
        if point is None
        else (
            name,
            WAYS[way],
            point["parameters"] / 1e6,
            point["peak_bytes"] / GIB,
            point["step_s"],
            point["encode_s"],
            point["token_bytes"] / 1e6,
        )
        for (name, way), point in points.items()
    )
    said: list[str] = []
    for name in config.encoders:
        whole, frozen = points[name, "fine-tuned"], points[name, "cached"]
        if frozen is None:
            said.append(f"{name}: not enough memory for either way")
        elif whole is None:
            said.append(f"{name}: too large to fine-tune here, {frozen['peak_bytes'] / GIB:.2f} GiB frozen")
        else:
            memory = 100 * (frozen["peak_bytes"] / whole["peak_bytes"] - 1)
            seconds = 100 * (frozen["step_s"] / whole["step_s"] - 1)
            said.append(f"{name}: memory {memory:+.0f} %, time of a step {seconds:+.0f} %")
    return Outcome(
        x_label="image encoder",
        x_values=config.encoders,
        y_label="peak memory, GiB",
        better="lower",
        chart="bar",
        series=(
            *(line(way, "peak_bytes", GIB, "peak memory, GiB") for way in WAYS),
            *(line(way, "step_s", 1.0, "training step, s") for way in WAYS),
        ),
        tables=(
            Table(
                title=f"A step of {config.batch_size} videos x {config.num_frames} frames on"
                f" {'the GPU' if bench.device.startswith('cuda') else 'the CPU'}, fp32",
                columns=(
                    "image encoder",
                    "way",
                    "trained parameters, millions",
                    "peak memory, GiB",
                    "seconds a step",
                    "encoding a video for the cache, s",
                    "tokens of a video, MB",
                ),
                rows=rows,
            ),
            PAPER,
        ),
        shows=f"Frozen against fine-tuned: {'; '.join(said)}. The paper: memory -91 %, time -58 % with ViT-G.",
    )
