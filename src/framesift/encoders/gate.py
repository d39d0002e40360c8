"""The gate before a precision below fp32: how far its embeddings and ranks are from those of torch in fp32.

Measured with each encoder on pictures and sentences made here (:mod:`.samples`), the first time that a precision is
used; the report is kept with the user's converted towers and told. Beyond the limits it is refused, with the numbers.
The sample is drawn, not filmed: a report tells that nothing is broken and how large the rounding is, not what a
benchmark of real videos would lose. For that, run ``framesift evaluate`` in both precisions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..features import masked_mean
from ..metrics import ranks
from .arithmetic import Arithmetic, instructions, speeds_up
from .compiled_store import store_folder
from .samples import EVERYDAY, Clip, check_clips, textures

if TYPE_CHECKING:
    from .base import Encoder

__all__ = ["LIMITS", "GateReport", "Limits", "gate", "measure"]

logger = logging.getLogger(__name__)

CLIPS = 96
TEXTURES = 16
VERSION = 1  # of the sample and of what is measured


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a precision may change.

    Attributes:
        least_cosine: of any embedding to fp32's.
        mean_cosine: of the pictures' embeddings, and of the texts', on average.
        lost_r1: points of text-to-video R@1 on the sample; one text is a point.
    """

    least_cosine: float
    mean_cosine: float
    lost_r1: float


LIMITS = {
    "bf16": Limits(least_cosine=0.998, mean_cosine=0.9995, lost_r1=2.1),
    "fp16": Limits(least_cosine=0.998, mean_cosine=0.9995, lost_r1=2.1),
    "int8": Limits(least_cosine=0.96, mean_cosine=0.99, lost_r1=4.2),
}
"""Several times what a sound conversion was seen to do (bf16 1e-5 to 1e-4 from 1, int8 1e-3 on average): beyond them
something is wrong, such as activations with outliers that eight bits cannot hold. Two and four texts of the sample."""


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What was measured: of pictures and texts the cosine to fp32, and of the sample's ranks what became of them.

    Attributes:
        backend, precision: what was compared with torch in fp32.
        version: of the program that computes, such as ``openvino 2026.4.1``.
        instructions: of the CPU, or the name of the device.
        frame_least, frame_mean: smallest and mean cosine of frame embeddings.
        text_least, text_mean: the same of sentence embeddings.
        texts: and as many videos, each by its frame in the middle.
        ranks_changed: texts whose video has another rank.
        r1_before, r1_after: text-to-video R@1 in fp32 and now, in percent.
    """

    backend: str
    precision: str
    version: str
    instructions: str
    frame_least: float
    frame_mean: float
    text_least: float
    text_mean: float
    texts: int
    ranks_changed: int
    r1_before: float
    r1_after: float

    @property
    def problems(self) -> list[str]:
        """What is beyond the limits of the precision, in words."""
        limits = LIMITS[self.precision]
        found: list[str] = []
        for name in ("frame", "text"):
            least, mean = getattr(self, f"{name}_least"), getattr(self, f"{name}_mean")
            if not least >= limits.least_cosine:  # so, not <: NaN is beyond every limit
                found.append(
                    f"smallest cosine of {name} embeddings {least:.4f}, limit {limits.least_cosine:g}"
                )
            if not mean >= limits.mean_cosine:
                found.append(f"mean cosine of {name} embeddings {mean:.5f}, limit {limits.mean_cosine:g}")
        if not self.r1_before - self.r1_after <= limits.lost_r1:
            found.append(
                f"R@1 {self.r1_before:.1f} became {self.r1_after:.1f}, limit {limits.lost_r1:g} points"
            )
        return found

    def __str__(self) -> str:
        return (
            f"{self.backend} {self.precision} against torch fp32: cosine of frames {self.frame_mean:.5f} (smallest"
            f" {self.frame_least:.5f}), of texts {self.text_mean:.5f} (smallest {self.text_least:.5f});"
            f" {self.ranks_changed} of {self.texts} ranks changed, R@1 {self.r1_before:.1f} -> {self.r1_after:.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def gate(encoder: Encoder, *, force: bool = False, folder: Path | None = None) -> GateReport | None:
    """Let an encoder that computes below fp32 pass, or refuse it; None in fp32, where there is nothing to ask.

    Args:
        encoder: as :meth:`.Encoder.use` left it. It is measured unless its report is known.
        force: let it pass whatever was measured.
        folder: where reports are kept; default: beside the user's converted towers.

    Raises:
        ModelError: it is beyond the limits, or a tower cannot be converted.
    """
    arithmetic = encoder.arithmetic
    if not arithmetic.reduced:
        return None
    if encoder.device.type == "cpu":
        _tell_if_slow(arithmetic.precision)
    path = _path(encoder, folder or store_folder() / "gate")
    report = encoder.compared or _read(path)
    if report is None:
        logger.info("comparing %s with torch fp32, once for this encoder", arithmetic)
        report = measure(encoder)
        _write(path, report)
        logger.info("%s", report)
    if report.problems and not force:
        raise ModelError(
            f"{arithmetic} is too far from fp32 with this encoder: {'; '.join(report.problems)}. Use fp32, or another"
            " precision; or take it all the same: framesift.load(..., force=True), or --force-precision"
        )
    encoder.compared = report
    return report


@cache
def _tell_if_slow(precision: str) -> None:
    """Once a process, however many models it loads; nothing where the system does not name the instructions."""
    if instructions() and not speeds_up(precision):
        logger.warning(
            "this CPU has no instructions for %s (it has %s): here it is %s, and rounds all the same; use fp32",
            precision,
            ", ".join(instructions()),
            "hardly faster than fp32" if precision == "int8" else "slower than fp32, not faster",
        )


def measure(encoder: Encoder, clips: Sequence[Clip] | None = None) -> GateReport:
    """Compare an encoder as it computes now with itself on torch in fp32; it is left as it was.

    Args:
        clips: videos, each with a text; default: the sample.

    Raises:
        ModelError: a tower cannot be converted.
    """
    clips = check_clips(CLIPS) if clips is None else clips
    reduced, towers, device = encoder.arithmetic, encoder.openvino, encoder.device
    text, frame = _embed(encoder, clips)
    try:
        encoder.use(device=device, dtype="fp32", backend="torch")
        true_text, true_frame = _embed(encoder, clips)
    finally:
        encoder.arithmetic, encoder.openvino = reduced, towers
    video_count = len(clips)
    before = _ranks(true_text[:video_count], true_frame, clips)
    after = _ranks(text[:video_count].nan_to_num(), frame.nan_to_num(), clips)  # the cosines tell of NaN
    frame_cosine, text_cosine = _cosine(frame, true_frame), _cosine(text, true_text)
    return GateReport(
        backend=reduced.backend,
        precision=reduced.precision,
        version=_version(reduced),
        instructions=_hardware(device),
        frame_least=frame_cosine.min().item(),
        frame_mean=frame_cosine.mean().item(),
        text_least=text_cosine.min().item(),
        text_mean=text_cosine.mean().item(),
        texts=video_count,
        ranks_changed=int((before != after).sum()),
        r1_before=_r1(before),
        r1_after=_r1(after),
    )


def _embed(encoder: Encoder, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Embeddings of the clips' sentences and the everyday ones, and of the clips' frames and the textures."""
    text = encoder.encode_text([*(clip.text for clip in clips), *EVERYDAY]).sentence
    noise = replace(clips[0], pixels=textures(TEXTURES, seed=2))
    features = encoder.encode_video([*clips, noise])
    return text.cpu(), features.frame[features.frame_mask].cpu()


def _ranks(text: Tensor, frame: Tensor, clips: Sequence[Clip]) -> Tensor:
    """The rank of every text's video by the mean of its frames."""
    parts = frame[: sum(len(clip.pixels) for clip in clips)].split([len(clip.pixels) for clip in clips])
    video = torch.cat([masked_mean(part[None], torch.ones(1, len(part), dtype=torch.bool)) for part in parts])
    return ranks(torch.nn.functional.normalize(text, dim=-1) @ video.T)


def _r1(found: Tensor) -> float:
    return 100 * (found == 1).float().mean().item()


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return torch.cosine_similarity(one.double(), other.double(), dim=-1)


def _version(arithmetic: Arithmetic) -> str:
    try:
        return f"{arithmetic.backend} {version(arithmetic.backend)}"
    except PackageNotFoundError:  # built from source, without metadata
        return arithmetic.backend


def _hardware(device: torch.device) -> str:
    return " ".join(instructions()) if device.type == "cpu" else torch.cuda.get_device_name(device)


def _path(encoder: Encoder, folder: Path) -> Path:
    # machines that share a home need not round alike: int8 without VNNI saturates
    hardware = hashlib.blake2b(_hardware(encoder.device).encode(), digest_size=4).hexdigest()
    kind = f"{'cpu' if encoder.device.type == 'cpu' else 'cuda'}-{hardware}"
    numbers = _version(encoder.arithmetic).replace(" ", "-")
    return folder / f"{encoder.fingerprint()}-{kind}-{numbers}-{encoder.arithmetic.precision}-{VERSION}.json"


def _read(path: Path) -> GateReport | None:
    """None where there is none, or it is damaged: then it is measured again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        report = GateReport(**{field.name: values[field.name] for field in fields(GateReport)})
        return report if report.precision in LIMITS and all(map(np.isfinite, _numbers(report))) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _numbers(report: GateReport) -> list[float]:
    return [value for value in report.to_dict().values() if not isinstance(value, str)]


def _write(path: Path, report: GateReport) -> None:
    """Keep it, if possible; without, the next process measures again."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
