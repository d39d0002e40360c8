"""Peak memory and time of a training step, measured in a process of its own.

Two ways to train with an image encoder of some size. ``fine-tuned``: frames go through the encoder and gradients come
back, as CLIP4Clip does with mean pooling and a contrastive loss. ``cached``: the encoder is frozen and its tokens come
from a cache, as CrossTVR does; only the reranker is trained, with a matching loss over three pairs a video. Weights and
data are random, which changes neither memory nor time.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...config import from_dict, to_dict
from ...encoders import load_encoder
from ...encoders.clip import ClipEncoder
from ...encoders.scratch import ClipSizes, create_clip
from ...errors import FramesiftError
from ...features import TextFeatures, VideoFeatures, unit
from ...rerankers import CrossTVR, CrossTVRConfig
from ...rerankers.qformer import QFormerConfig

__all__ = ["TrainingCost", "main", "measure_in_process", "measure_training_cost"]

CORPUS = ["a red circle moves to the left while a small blue square turns green"]


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What is measured.

    Attributes:
        way: see above.
        sizes: of the dual encoder.
        qformer: of the reranker; its ``visual_width`` becomes the encoder's.
        num_frames, batch_size: of a step.
        steps: timed ones, after one that warms up; the fastest counts.
        device: ``cpu`` or ``cuda``.
    """

    way: Literal["fine-tuned", "cached"]
    sizes: ClipSizes
    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    num_frames: int
    batch_size: int
    steps: int
    device: str = "cpu"
    seed: int = 0


def measure_training_cost(cost: TrainingCost) -> dict[str, Any]:
    """Measure here and now.

    Returns:
        ``step_s``; ``peak_bytes`` (on CUDA allocated by torch, else resident, both with weights and optimiser);
        ``encode_s``, once for every video of the cache (0 where there is none); ``token_bytes`` of a video in it;
        ``parameters`` that are trained.
    """
    torch.manual_seed(cost.seed)
    with tempfile.TemporaryDirectory() as folder:
        generator = torch.Generator().manual_seed(cost.seed)
        create_clip(folder, cost.sizes, corpus=CORPUS, generator=generator)
        encoder = load_encoder(folder, device=cost.device)
    assert isinstance(encoder, ClipEncoder)
    side, shape = cost.sizes.image_size_px, (cost.batch_size, cost.num_frames)
    pixels = torch.rand(shape[0] * shape[1], 3, side, side, device=encoder.device)
    if cost.way == "fine-tuned":
        trained, step = _fine_tuned(encoder, pixels, cost)
        encode_s, token_bytes = 0.0, 0
    else:
        with torch.no_grad():
            encoder.model.vision_model(pixels[: cost.num_frames]).last_hidden_state.cpu()  # warms up
            started = time.perf_counter()
            tokens = encoder.model.vision_model(pixels[: cost.num_frames]).last_hidden_state.cpu()
            encode_s = time.perf_counter() - started
        token_bytes = 2 * tokens.numel()
        shape = (*shape, *tokens.shape[1:])
        del encoder, pixels, tokens  # frozen: training never needs it again
        gc.collect()
        trained, step = _cached(shape, cost)
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def whole_step() -> float:
        started = time.perf_counter()
        loss = step()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if cost.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - started

    forget_peak = _forget_peak(cost.device)
    whole_step()  # libraries set themselves up, and the optimiser its moments
    step_s = min(whole_step() for _ in range(cost.steps))
    return {
        "step_s": step_s,
        "peak_bytes": forget_peak(),
        "encode_s": encode_s,
        "token_bytes": token_bytes,
        "parameters": sum(parameter.numel() for parameter in trained),
    }


def measure_in_process(cost: TrainingCost) -> dict[str, Any] | None:
    """Measure in a fresh process, whose memory is its own; None where there was not enough of it.

    Raises:
        FramesiftError: it failed for another reason.
    """
    command = [sys.executable, "-c", f"from {__name__} import main; main()", json.dumps(to_dict(cost))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    if done.returncode == -9 or "OutOfMemoryError" in said or "can't allocate memory" in said:
        return None
    raise FramesiftError(f"measuring a training step failed: {said}")


def main() -> None:
    """What the fresh process does: JSON in its argument, JSON on stdout."""
    print(json.dumps(measure_training_cost(from_dict(TrainingCost, json.loads(sys.argv[1])))))


def _fine_tuned(
    encoder: ClipEncoder, pixels: Tensor, cost: TrainingCost
) -> tuple[list[torch.nn.Parameter], Callable[[], Tensor]]:
    """CLIP4Clip's mean pooling, from pixels."""
    encoder.train().requires_grad_(True)
    texts = CORPUS * cost.batch_size
    own = torch.arange(cost.batch_size, device=encoder.device)

    def step() -> Tensor:
        frame = unit(encoder.forward_pixels(pixels)).unflatten(0, (cost.batch_size, cost.num_frames))
        text = unit(encoder.forward_text(*encoder.tokenize(texts)))
        logits = 100.0 * text @ unit(frame.mean(dim=1)).T
        return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2

    return [parameter for parameter in encoder.parameters() if parameter.requires_grad], step


def _cached(
    shape: tuple[int, ...], cost: TrainingCost
) -> tuple[list[torch.nn.Parameter], Callable[[], Tensor]]:
    """CrossTVR's second stage, from tokens in float16 as a cache holds them."""
    videos, frames, _, width = shape
    sizes = {**to_dict(cost.qformer), "visual_width": width}
    reranker = CrossTVR(
        CrossTVRConfig(qformer=from_dict(QFormerConfig, sizes), word_width=cost.sizes.text_width)
    )
    reranker.to(cost.device).train()
    kept = torch.randn(shape, dtype=torch.float16)
    words = 12
    text = TextFeatures(
        sentence=torch.randn(videos, cost.sizes.text_width),
        word=torch.randn(videos, words, cost.sizes.text_width),
        word_mask=torch.ones(videos, words, dtype=torch.bool),
    ).to(cost.device)
    own = torch.arange(videos)
    other = own.roll(1)
    pairs = torch.cat([torch.stack([own, own]), torch.stack([own, other]), torch.stack([other, own])], dim=1)
    match = (torch.arange(3 * videos) < videos).long().to(cost.device)

    def step() -> Tensor:
        patch = kept.to(cost.device, torch.float32)
        mask = torch.ones(videos, frames, dtype=torch.bool, device=cost.device)
        video = VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)
        return cross_entropy(reranker.logits(text, video, pairs.T.to(cost.device)), match)

    return list(reranker.parameters()), step


def _forget_peak(device: str) -> Callable[[], int]:
    """Start to watch memory; gives what reads the peak since, in bytes."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # no Linux, or not allowed: the peak of the whole process
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        return lambda: unit_bytes * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def peak() -> int:
        status = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])

    return peak
