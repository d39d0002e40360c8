"""Batches of frames: functions of their number, twins that differ in one thing, centres of mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from framesift.storyboard import draw_storyboard
from framesift.storyboard.captions import order_caption, scene_caption
from framesift.storyboard.render import SIZE_PX, render_scene_frame
from framesift.storyboard.scenes import FPS, Dice, Scene, event_poses
from framesift.training.storyboard_frames import FrameBatch, StoryboardFrames, centre, frame_batches

Drawn = tuple[Any, Scene, int, Any]


def frames(**changes: Any) -> StoryboardFrames:
    options: dict[str, Any] = {"batch_size": 8, "size_px": 32, "num_captions": 2, "seed": 3, "pairs": 0.4}
    return StoryboardFrames(**{**options, **changes})


def same(one: FrameBatch, other: FrameBatch) -> bool:
    return (
        np.array_equal(one.pixels, other.pixels)
        and one.texts == other.texts
        and np.array_equal(one.centres, other.centres)
    )


def twins(drawn: Sequence[Drawn]) -> list[tuple[Drawn, Drawn]]:
    """Consecutive samples that come of the same dice."""
    return [(a, b) for a, b in pairwise(drawn) if a[0] is b[0]]


def test_a_batch_is_a_function_of_its_number() -> None:
    batch = frames()[5]
    assert same(batch, frames()[5])
    assert not same(batch, frames()[6])
    assert not same(batch, frames(seed=4)[5])
    assert batch.pixels.shape == (8, 32, 32, 3)
    assert batch.pixels.dtype == np.uint8
    assert [len(texts) for texts in batch.texts] == [8, 8]
    assert batch.centres.shape == (8, 2)
    assert (batch.centres > 0).all()
    assert (batch.centres < 1).all()


def test_batches_begin_in_the_middle() -> None:
    whole = list(frame_batches(frames(), first=0, steps=3, workers=0))
    (last,) = frame_batches(frames(), first=2, steps=3, workers=0)
    assert len(whole) == 3
    assert same(whole[2], last)


def test_a_frame_is_told_of_by_its_scene_or_now_and_then_by_two() -> None:
    drawn = list(frames(pairs=0.0)._draw(0, 200))
    assert not twins(drawn)
    several = 0
    for sample, (_, scene, inside, told) in enumerate(drawn):
        one, two = draw_storyboard(sample, num_scenes=1), draw_storyboard(sample, num_scenes=2)
        assert 0 <= inside < scene.num_frames
        text = told(Dice("wording"))
        if text == scene_caption(Dice("wording"), one, 0).text:
            assert scene == one.scenes[0]
        else:
            assert text == order_caption(Dice("wording"), two).text
            assert scene in two.scenes
            several += 1
    assert 20 <= several <= 60, "a fifth of them"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_twins_is_near_the_one_asked(share: float) -> None:
    """Its standard error is about 2 percent points here."""
    found = twins(list(frames(pairs=share)._draw(0, 1000)))
    assert 2 * len(found) / 1000 == pytest.approx(share, abs=0.08)


def test_a_batch_is_full_whatever_its_pairs() -> None:
    for size in (1, 2, 7):
        for number in range(20):
            drawn = list(frames(pairs=1.0)._draw(number * size, (number + 1) * size))
            assert len(drawn) == size
            assert len(twins(drawn)) == size // 2


def test_twins_are_consecutive_and_differ_in_one_thing() -> None:
    kinds: set[str] = set()
    for (dice, one, first, told), (_, other, second, retold) in twins(list(frames()._draw(0, 200))):
        assert first == second
        assert told(dice) != retold(dice)
        assert replace(one, objects=other.objects) == other, "only the objects differ"
        assert not np.array_equal(render_scene_frame(one, first), render_scene_frame(other, second))
        kinds.add(what_differs(one, other))
    assert kinds == {"count", "binding", "colour", "shape"}


def what_differs(one: Scene, other: Scene) -> str:
    if len(one.objects) != len(other.objects):
        assert len(other.objects) == len(one.objects) + 1
        assert set(one.objects) < set(other.objects)
        return "count"
    changed = [
        field.name
        for before, after in zip(one.objects, other.objects, strict=True)
        for field in fields(before)
        if getattr(before, field.name) != getattr(after, field.name)
    ]
    if changed == ["color", "color"]:
        assert sorted(thing.color for thing in one.objects) == sorted(thing.color for thing in other.objects)
        return "binding"
    return {"color": "colour", "shape": "shape"}["".join(changed)]


def test_the_centre_weighs_objects_by_their_areas() -> None:
    events = 0
    for seed in range(60):
        scene = draw_storyboard(seed, num_scenes=1).scenes[0]
        inside = seed % scene.num_frames
        progress = inside / (scene.num_frames - 1)
        x = y = total = 0.0
        for number, thing in enumerate(scene.objects):
            if scene.event:
                pose = event_poses(scene, progress)[number]
            else:
                pose = thing.pose(progress, inside / FPS)
            x, y, total = (
                x + thing.radius**2 * pose.x,
                y + thing.radius**2 * pose.y,
                total + thing.radius**2,
            )
        assert centre(scene, inside) == pytest.approx((x / total, y / total))
        events += scene.event is not None
    assert events > 3


def test_the_centre_is_where_the_picture_shows_it() -> None:
    checked = 0
    for seed in range(60):
        scene = draw_storyboard(seed, num_scenes=1).scenes[0]
        if len(scene.objects) > 1 or scene.objects[0].motion not in ("still", "left", "right", "up", "down"):
            continue
        scene = replace(scene, objects=(replace(scene.objects[0], shape="circle", fill="solid"),))
        for inside in (0, scene.num_frames // 2, scene.num_frames - 1):
            picture = render_scene_frame(scene, inside).astype(int)
            empty = render_scene_frame(replace(scene, objects=()), inside).astype(int)
            rows, columns = np.nonzero(np.abs(picture - empty).sum(axis=2) > 30)
            if not len(rows) or rows.min() == 0 or columns.min() == 0:
                continue  # partly outside
            if rows.max() == len(picture) - 1 or columns.max() == picture.shape[1] - 1:
                continue
            shown = (columns.mean() + 0.5) / SIZE_PX, (rows.mean() + 0.5) / SIZE_PX
            assert centre(scene, inside) == pytest.approx(shown, abs=0.02)
            checked += 1
    assert checked > 10
