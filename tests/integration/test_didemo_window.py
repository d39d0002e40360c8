"""DiDeMo's videos are seen from 0 to 31 s, in training and in evaluation, however long their files are."""

import json
from collections.abc import Iterable

import numpy as np
import pytest

from colour_model import COLOURS, write_clip
from framesift.data import Located, Split, load_split, locate
from framesift.encoders import Preprocess
from framesift.evaluation.benchmark import split_task
from framesift.training.recipe import FramesRecipe
from framesift.training.videos import Videos
from framesift.video import Frames

FPS = 2


@pytest.fixture(scope="module")
def didemo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Located]:
    """A long video that is red for 31 s and blue from then on, and a short one that is all red."""
    root = tmp_path_factory.mktemp("didemo")
    entries = [{"video": name, "description": "red."} for name in ("1@N_long.mov", "2@N_short.mov")]
    (root / "val_data.json").write_text(json.dumps(entries), encoding="utf-8")
    seconds = {"1@N_long": ["red"] * 31 + ["blue"] * 9, "2@N_short": ["red"] * 8}
    for name, colours in seconds.items():
        write_clip(root / "videos" / f"{name}.mp4", colours, fps=FPS)
    split = load_split("didemo", "val", root)
    return split, locate(split, root)


def colours_of(clips: Iterable[Frames]) -> list[list[str]]:
    names = list(COLOURS)
    known = np.array(list(COLOURS.values()), float)

    def nearest(frame: np.ndarray) -> str:
        return names[int(np.abs(known - frame.mean(axis=(0, 1))).sum(axis=1).argmin())]

    return [[nearest(frame) for frame in clip.pixels] for clip in clips]


@pytest.mark.parametrize("sampling", ["rate", "uniform"])
def test_training_sees_the_window(didemo: tuple[Split, Located], sampling: str) -> None:
    split, located = didemo
    videos = Videos(
        sources=located.sources,
        frames=FramesRecipe(num_frames=64, sampling=sampling),
        preprocessing=Preprocess(shortest_edge=32, crop=(32, 32)),
        workers=0,
    )
    long, short = colours_of(videos.decode(split.videos))
    assert set(long) == {"red"}
    assert len(long) == (31 if sampling == "rate" else 31 * FPS), "all of the window, and each frame once"
    assert len(short) == (8 if sampling == "rate" else 8 * FPS), "to its end"
    (drawn,) = colours_of(videos.decode_for_training([("1@N_long", 3)]))
    assert set(drawn) == {"red"}


def test_evaluation_sees_the_window(didemo: tuple[Split, Located]) -> None:
    task = split_task(*didemo, workers=0)
    long, short = colours_of(task.clips(40))
    assert set(long) == set(short) == {"red"}
    assert (len(long), len(short)) == (40, 16)


def test_every_result_says_so(didemo: tuple[Split, Located]) -> None:
    split, _ = didemo
    assert "of every video, 0 to 31 s are seen, as published" in split.notes
    assert split.without(["2@N_short"]).subset([0]).window_s == split.window_s
