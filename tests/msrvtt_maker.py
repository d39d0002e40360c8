"""A benchmark in MSR-VTT's form: its annotation files, and Storyboard clips under its names."""

from __future__ import annotations

import json
from pathlib import Path

from framesift.storyboard import captions, render_frames, storyboards, write_mp4

__all__ = ["write_msrvtt"]


def write_msrvtt(
    folder: Path, *, num_train: int = 8, num_test: int = 4, captions_each: int = 2, size_px: int = 64
) -> Path:
    """Write ``MSRVTT_data.json``, the lists of 1K-A with 9,000 training videos, and ``videos/video0.mp4`` and so on."""
    boards = storyboards("val", num_train + num_test)
    names = [f"video{number}" for number in range(len(boards))]
    texts = {
        name: [c.text for c in captions(board)][:captions_each]
        for name, board in zip(names, boards, strict=True)
    }
    document = {
        "videos": [
            {"video_id": name, "split": "train" if row < num_train else "test"}
            for row, name in enumerate(names)
        ],
        "sentences": [
            {"sen_id": number, "video_id": name, "caption": text}
            for number, (name, text) in enumerate((name, text) for name in names for text in texts[name])
        ],
    }
    (folder / "videos").mkdir(parents=True)
    (folder / "MSRVTT_data.json").write_text(json.dumps(document), encoding="utf-8")
    train = ["video_id", *names[:num_train]]
    (folder / "MSRVTT_train.9k.csv").write_text("\n".join(train) + "\n", encoding="utf-8")
    test = [f'ret{n},msr{n},{name},"{texts[name][0]}"' for n, name in enumerate(names[num_train:])]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text(
        "\n".join(["key,vid_key,video_id,sentence", *test]) + "\n", encoding="utf-8"
    )
    for name, board in zip(names, boards, strict=True):
        write_mp4(render_frames(board, size_px=size_px), folder / "videos" / f"{name}.mp4", size_px=size_px)
    return folder
