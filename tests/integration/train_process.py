"""A training run as a process of its own: ``python train_process.py ENCODER FOLDER SYSTEM [KEY=VALUE ...]``."""

from __future__ import annotations

import sys

import torch

from framesift.config import apply_overrides, from_dict
from framesift.training.recipe import Recipe
from framesift.training.train import train

STEPS = 6


def main() -> None:
    encoder, folder, system, *changes = sys.argv[1:]
    torch.set_num_threads(1)
    base = {
        "name": "run",
        "system": system,
        "encoder": encoder,
        "benchmark": "storyboard",
        "max_videos": 8,
        "frames": {"num_frames": 3},
        "optim": {"steps": STEPS, "batch_size": 4, "lr_head": 1e-3, "lr_encoder": 1e-4},
        "select": {"max_videos": 4},
    }
    recipe = from_dict(Recipe, apply_overrides(base, changes))
    train(
        recipe,
        folder=folder,
        device="cpu",
        workers=0,
        checkpoint_s=0.0,
        progress=lambda step, _: print(step, flush=True),
    )


if __name__ == "__main__":
    main()
