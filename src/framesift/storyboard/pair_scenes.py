"""The scenes of a pair: drawn once, then changed in one thing only."""

from __future__ import annotations

from dataclasses import replace

from .scenes import (
    BACKGROUNDS,
    COLORS,
    COLUMN_MOTIONS,
    ROW_MOTIONS,
    SHAPES,
    Dice,
    Scene,
    SceneObject,
    draw_object,
    draw_scene,
)

__all__ = [
    "ScenePair",
    "binding_scenes",
    "count_scenes",
    "direction_scenes",
    "order_scenes",
    "small_object_scenes",
]

ScenePair = tuple[tuple[Scene, ...], tuple[Scene, ...]]

_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
# Uniform sampling of 12 frames from so many takes the same ones of a video and of its reversal (from 24 it does not).
_REVERSIBLE_FRAMES = (12, 36)
# With this radius, a chase to the right that is played backwards is a chase to the left with the roles exchanged.
_CHASE_RADIUS = 0.125
_LANES = {1: (0.5,), 2: (0.28, 0.72), 3: (0.18, 0.5, 0.82), 4: (0.14, 0.38, 0.62, 0.86)}
# Motions that neither hide an object nor change its size.
_ALWAYS_SEEN = ("still", "left", "right", "up", "down", "spins", "circles")


def direction_scenes(dice: Dice) -> ScenePair:
    """One scene, and the same frames played backwards: motions go the other way, chases have the roles exchanged."""
    num_frames = _REVERSIBLE_FRAMES[dice.below(2)]
    if dice.chance(0.2):
        scene = _chase(dice, num_frames)
        back = tuple(replace(thing, motion=_OPPOSITE[thing.motion]) for thing in reversed(scene.objects))
        return (scene,), (replace(scene, objects=back),)
    count = dice.weighted([(1, 0.4), (2, 0.4), (3, 0.2)])
    layout = "rows" if dice.chance(0.5) else "columns"
    ways = ("left", "right") if layout == "rows" else ("up", "down")
    moving = dice.below(count)
    motions = [
        dice.pick(ways) if number == moving or dice.chance(0.25) else "still" for number in range(count)
    ]
    scene = _lanes(dice, layout=layout, motions=motions, num_frames=num_frames)
    back = tuple(replace(thing, motion=_OPPOSITE.get(thing.motion, thing.motion)) for thing in scene.objects)
    return (scene,), (replace(scene, objects=back),)


def order_scenes(dice: Dice) -> ScenePair:
    """Two scenes of one length, and the same two the other way round."""
    first, second = draw_scene(dice), draw_scene(dice)
    second = replace(second, num_frames=first.num_frames)
    return (first, second), (second, first)


def binding_scenes(dice: Dice) -> ScenePair:
    """Two objects of different shape and colour, and the same with the colours exchanged."""
    scene = draw_scene(dice)
    while (
        len(scene.objects) != 2
        or scene.objects[0].shape == scene.objects[1].shape
        or scene.objects[0].color == scene.objects[1].color
        or _look_alike(*scene.objects)
    ):
        scene = draw_scene(dice)
    one, other = scene.objects
    swapped = replace(one, color=other.color), replace(other, color=one.color)
    return (scene,), (replace(scene, objects=swapped),)


def small_object_scenes(dice: Dice) -> ScenePair:
    """A small object beside larger ones, and the same scene with another colour or shape of the small one."""
    count = dice.weighted([(2, 0.5), (3, 0.5)])
    layout = "rows" if dice.chance(0.5) else "columns"
    motions = [dice.pick(_lane_motions(layout)) for _ in range(count)]
    small = dice.below(count)
    motions[small] = dice.pick([motion for motion in _lane_motions(layout) if motion in _ALWAYS_SEEN])
    sizes = ["large" if count == 2 else "medium"] * count
    sizes[small] = "small"
    scene = _lanes(dice, layout=layout, motions=motions, num_frames=6 * (2 + dice.below(7)), sizes=sizes)
    things = list(scene.objects)
    thing = things[small]
    kinds = {(thing.shape, thing.color) for thing in things}
    if dice.chance(0.5):
        colors = [color for color in COLORS if color not in BACKGROUNDS[scene.background]]
        others = [(thing.shape, color) for color in colors]
    else:
        # A shape that could not be seen to spin, or that has no inside to outline, would differ in more than its shape.
        barred = ("circle", "ring", "crescent") if thing.motion == "spins" else ("ring", "crescent")
        others = [(shape, thing.color) for shape in SHAPES if shape not in barred]
    others = [kind for kind in others if kind not in kinds]
    shape, color = others[dice.below(len(others))]
    things[small] = replace(thing, shape=shape, color=color)
    return (scene,), (replace(scene, objects=tuple(things)),)


def count_scenes(dice: Dice) -> ScenePair:
    """Three objects that look alike, perhaps with a different one, and the same scene without one of the three."""
    count = 3 if dice.chance(0.5) else 4
    layout = "rows" if dice.chance(0.5) else "columns"
    apart = [motion for motion in _lane_motions(layout) if motion in _ALWAYS_SEEN and motion != "circles"]
    motion = dice.pick(apart)
    size = "small" if count == 4 else dice.pick(("small", "medium"))
    scene = _lanes(
        dice,
        layout=layout,
        motions=[motion] * count,
        num_frames=6 * (2 + dice.below(7)),
        sizes=[size] * count,
    )
    odd = dice.below(count) if count == 4 else None
    pattern = scene.objects[0 if odd != 0 else 1]
    things = [
        thing if number == odd else replace(pattern, x=thing.x, y=thing.y, phase=thing.phase)
        for number, thing in enumerate(scene.objects)
    ]
    gone = dice.pick([str(number) for number in range(count) if number != odd])
    fewer = [thing for number, thing in enumerate(things) if number != int(gone)]
    return (replace(scene, objects=tuple(fewer)),), (replace(scene, objects=tuple(things)),)


def _lane_motions(layout: str) -> tuple[str, ...]:
    return ROW_MOTIONS if layout == "rows" else COLUMN_MOTIONS


def _lanes(
    dice: Dice, *, layout: str, motions: list[str], num_frames: int, sizes: list[str] | None = None
) -> Scene:
    """A scene of objects of different kinds, one in every row or column of the frame."""
    background = dice.pick(tuple(BACKGROUNDS))
    taken: set[tuple[str, str]] = set()
    objects: list[SceneObject] = []
    for number, (lane, motion) in enumerate(zip(_LANES[len(motions)], motions, strict=True)):
        along = dice.uniform(0.25, 0.75)
        x, y = (along, lane) if layout == "rows" else (lane, along)
        choices = ("small", "medium", "large") if len(motions) < 3 else ("small", "medium")
        size = sizes[number] if sizes else dice.pick(choices)
        objects.append(
            draw_object(dice, taken=taken, background=background, motion=motion, x=x, y=y, size=size)
        )
    return Scene(
        background=background,
        objects=tuple(objects),
        num_frames=num_frames,
        layout=layout if len(objects) > 1 else "free",
        event=None,
        texture_seed=dice.below(1 << 30),
    )


def _chase(dice: Dice, num_frames: int) -> Scene:
    background = dice.pick(tuple(BACKGROUNDS))
    way, lane = dice.pick(("left", "right")), dice.uniform(0.35, 0.65)
    while True:
        taken: set[tuple[str, str]] = set()
        one, other = (
            draw_object(dice, taken=taken, background=background, motion=way, x=0.5, y=lane, size="medium")
            for _ in range(2)
        )
        if not _look_alike(one, other):
            break
    return Scene(
        background=background,
        objects=(replace(one, radius=_CHASE_RADIUS), replace(other, radius=_CHASE_RADIUS)),
        num_frames=num_frames,
        layout="event",
        event="chases",
        texture_seed=dice.below(1 << 30),
    )


def _look_alike(one: SceneObject, other: SceneObject) -> bool:
    """Whether one is a ring and the other an outlined circle, which look the same."""
    return {one.shape, other.shape} == {"circle", "ring"} and "outlined" in (one.fill, other.fill)
