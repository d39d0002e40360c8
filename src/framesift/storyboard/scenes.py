"""Scene graphs: what a Storyboard video contains, drawn at random from its seed.

A *scene* has a background, one to three objects (shape, colour, size, fill, motion) and at most one event
between two of them. A *storyboard* is one to four scenes with hard cuts: the video before it is rendered.
All coordinates are fractions of the frame; time is in frames of :data:`FPS`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BACKGROUNDS",
    "COLORS",
    "COLUMN_MOTIONS",
    "EVENTS",
    "FILLS",
    "FPS",
    "MOTIONS",
    "ROW_MOTIONS",
    "SHAPES",
    "SIZES",
    "VERSION",
    "Dice",
    "Pose",
    "Scene",
    "SceneObject",
    "Storyboard",
    "draw_object",
    "draw_scene",
    "draw_storyboard",
]

VERSION = "1"
"""Part of every seed: a change of any rule below makes another benchmark, and must change this."""

FPS = 12

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "hexagon", "ring", "crescent")
COLORS = {
    "red": (214, 40, 40),
    "orange": (245, 130, 30),
    "yellow": (250, 215, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 210),
    "purple": (125, 50, 170),
    "pink": (250, 140, 190),
    "brown": (120, 75, 40),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
SIZES = {"small": (0.075, 0.090), "medium": (0.125, 0.145), "large": (0.180, 0.205)}
"""Radius, as a fraction of the frame: the range that a size is drawn from."""
FILLS = ("solid", "outlined", "striped")

# Each background with the colours that would be hard to see on it.
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "plain": ("white",),
    "sunset": ("orange", "pink", "purple"),
    "night": ("black", "brown"),
    "grass": ("green",),
    "water": ("blue",),
    "bricks": ("red", "brown", "orange"),
    "checkerboard": ("black", "white"),
    "sand": ("yellow", "brown", "orange"),
    "snow": ("white",),
    "stripes": ("yellow", "pink", "white"),
}

# Motions that keep an object inside its lane: a row of the frame, or a column of it.
ROW_MOTIONS = ("still", "left", "right", "spins", "grows", "shrinks", "blinks", "circles", "zigzags")
COLUMN_MOTIONS = (
    "still",
    "up",
    "down",
    "falls",
    "bounces",
    "spins",
    "grows",
    "shrinks",
    "blinks",
    "circles",
)
MOTIONS = tuple(dict.fromkeys(ROW_MOTIONS + COLUMN_MOTIONS))
EVENTS = ("chases", "pushes", "meets", "passes")


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where and how an object is drawn at one moment: centre, radius factor, angle in turns, visibility."""

    x: float
    y: float
    scale: float = 1.0
    turn: float = 0.0
    visible: bool = True


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One drawn thing. ``x``, ``y`` is the centre of its lane, ``radius`` its size as a fraction of the frame."""

    shape: str
    color: str
    size: str
    fill: str
    motion: str
    x: float
    y: float
    radius: float
    phase: float

    def pose(self, progress: float, seconds: float) -> Pose:
        """The pose after ``seconds`` of a scene, which is the fraction ``progress`` (0 to 1) of it."""
        x, y, motion = self.x, self.y, self.motion
        low, high = 0.16, 0.84
        swing = math.sin(2 * math.pi * (seconds / 1.5 + self.phase))
        if motion == "left":
            x = high + (low - high) * progress
        elif motion == "right":
            x = low + (high - low) * progress
        elif motion == "up":
            y = high + (low - high) * progress
        elif motion == "down":
            y = low + (high - low) * progress
        elif motion == "falls":
            y = low + (high - low) * progress * progress
        elif motion == "bounces":
            y = 0.80 - 0.55 * abs(math.sin(math.pi * (seconds + self.phase)))
        elif motion == "circles":
            angle = 2 * math.pi * (seconds / 1.5 + self.phase)
            x, y = x + 0.10 * math.cos(angle), y + 0.10 * math.sin(angle)
        elif motion == "zigzags":
            x = low + (high - low) * progress
            y += 0.10 * (4 * abs((seconds * 1.5 + self.phase) % 1.0 - 0.5) - 1)
        elif motion == "grows":
            return Pose(x=x, y=y, scale=0.5 + 0.9 * progress)
        elif motion == "shrinks":
            return Pose(x=x, y=y, scale=1.4 - 0.9 * progress)
        elif motion == "spins":
            return Pose(x=x, y=y, turn=seconds / 1.5 + self.phase)
        elif motion == "blinks":
            return Pose(x=x, y=y, visible=swing > -0.3)
        return Pose(x=x, y=y)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A background and the objects on it; objects are drawn in order, the last one on top.

    Attributes:
        layout: ``rows`` (earlier objects stand above later ones), ``columns`` (earlier ones stand to the left
            of later ones), ``free`` (one object) or ``event``.
        event: what object 0 does to object 1, when ``layout`` is ``event``.
    """

    background: str
    objects: tuple[SceneObject, ...]
    num_frames: int
    layout: str
    event: str | None
    texture_seed: int

    @property
    def duration_s(self) -> float:
        return self.num_frames / FPS


@dataclass(frozen=True, kw_only=True)
class Storyboard:
    """A video before it is rendered: scenes in order, and the seed they came from."""

    seed: int
    scenes: tuple[Scene, ...]

    @property
    def num_frames(self) -> int:
        return sum(scene.num_frames for scene in self.scenes)

    @property
    def duration_s(self) -> float:
        return self.num_frames / FPS

    def span_s(self, scene: int) -> tuple[float, float]:
        """``[start_s, end_s)`` of a scene."""
        start = sum(earlier.num_frames for earlier in self.scenes[:scene])
        return start / FPS, (start + self.scenes[scene].num_frames) / FPS

    def locate(self, frame: int) -> tuple[int, int]:
        """Scene of a frame of the video, and the frame's number inside that scene."""
        for number, scene in enumerate(self.scenes):
            if frame < scene.num_frames:
                return number, frame
            frame -= scene.num_frames
        raise IndexError(f"frame {frame} is past the end")


class Dice:
    """Random choices that are the same on every machine: built on ``Random.random()`` alone, whose sequence
    for a string seed is the one thing that Python promises not to change."""

    def __init__(self, *key: object) -> None:
        self._random = random.Random("/".join(map(str, ("storyboard", VERSION, *key))))

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def below(self, bound: int) -> int:
        return int(self._random.random() * bound)

    def uniform(self, low: float, high: float) -> float:
        # Four decimals: far finer than a pixel, and safely apart from the last bits of the maths library.
        return round(low + (high - low) * self._random.random(), 4)

    def pick(self, choices: Sequence[str]) -> str:
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[int, float]]) -> int:
        draw = self._random.random() * sum(weight for _, weight in choices)
        for value, weight in choices:
            draw -= weight
            if draw < 0:
                return value
        return choices[-1][0]

    def shuffled(self, items: Sequence[float]) -> list[float]:
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(len(pool))]


def draw_object(
    dice: Dice, *, taken: set[tuple[str, str]], background: str, motion: str, x: float, y: float, size: str
) -> SceneObject:
    """One random object that can be seen on the background, of a shape and colour that join those ``taken``."""
    colors = [color for color in COLORS if color not in BACKGROUNDS[background]]
    while True:
        shape, color = dice.pick(SHAPES), dice.pick(colors)
        if (shape, color) not in taken:
            break
    taken.add((shape, color))
    if motion == "spins" and shape in ("circle", "ring"):
        motion = "still"  # nobody could see it spin
    fill = "solid"
    if dice.chance(0.4):
        # A ring or a crescent is too thin to have a visible inside.
        fill = "striped" if shape in ("ring", "crescent") or dice.chance(0.5) else "outlined"
    low, high = SIZES[size]
    return SceneObject(
        shape=shape,
        color=color,
        size=size,
        fill=fill,
        motion=motion,
        x=x,
        y=y,
        radius=dice.uniform(low, high),
        phase=dice.uniform(0.0, 1.0),
    )


def draw_scene(dice: Dice) -> Scene:
    """One random scene."""
    background = dice.pick(tuple(BACKGROUNDS))
    num_frames = 6 * (2 + dice.below(7))  # 1 to 4 s in steps of half a second
    count = dice.weighted([(1, 0.3), (2, 0.45), (3, 0.25)])
    taken: set[tuple[str, str]] = set()
    sizes = tuple(SIZES)
    event = None
    if count == 1:
        layout = "free"
        motion = dice.pick(MOTIONS)
        x, y = dice.uniform(0.3, 0.7), dice.uniform(0.3, 0.7)
        objects = [
            draw_object(
                dice, taken=taken, background=background, motion=motion, x=x, y=y, size=dice.pick(sizes)
            )
        ]
    elif count == 2 and dice.chance(0.4):
        layout, event = "event", dice.pick(EVENTS)
        objects = _draw_event(dice, event, taken=taken, background=background)
    else:
        layout = "rows" if dice.chance(0.5) else "columns"
        lanes = (0.28, 0.72) if count == 2 else (0.18, 0.5, 0.82)
        motions = ROW_MOTIONS if layout == "rows" else COLUMN_MOTIONS
        objects: list[SceneObject] = []
        for lane in lanes:
            along = dice.uniform(0.25, 0.75)
            x, y = (along, lane) if layout == "rows" else (lane, along)
            size = dice.pick(sizes[:2] if count == 3 else sizes)
            objects.append(
                draw_object(
                    dice, taken=taken, background=background, motion=dice.pick(motions), x=x, y=y, size=size
                )
            )
    return Scene(
        background=background,
        objects=tuple(objects),
        num_frames=num_frames,
        layout=layout,
        event=event,
        texture_seed=dice.below(1 << 30),
    )


def _draw_event(dice: Dice, event: str, *, taken: set[tuple[str, str]], background: str) -> list[SceneObject]:
    """Two objects that take part in an event; :func:`event_poses` moves them."""
    lane = dice.uniform(0.35, 0.65)
    direction = "left" if dice.chance(0.5) else "right"
    motions = {
        "chases": (direction, direction),
        "pushes": (direction, direction),
        "meets": ("right", "left"),
        "passes": (direction, "still"),
    }[event]
    # The one that passes is drawn last, in front; it must not hide the other one wholly.
    sizes = ("small", "large") if event == "passes" else (dice.pick(("small", "medium")),) * 2
    return [
        draw_object(dice, taken=taken, background=background, motion=motion, x=0.5, y=lane, size=size)
        for motion, size in zip(motions, sizes, strict=True)
    ]


def event_poses(scene: Scene, progress: float) -> tuple[Pose, Pose]:
    """Poses of the two objects of an event scene after the fraction ``progress`` of it."""
    actor, other = scene.objects
    forward = 1.0 if actor.motion == "right" else -1.0
    y = actor.y
    touch = actor.radius + other.radius
    if scene.event == "chases":
        gap = touch + 0.06
        lead = 0.5 + forward * (0.55 * progress - 0.12)
        return Pose(x=lead - forward * gap, y=y), Pose(x=lead, y=y)
    if scene.event == "pushes":
        # The actor walks up to the other one during the first third, then both go on together.
        start = 0.5 - forward * 0.34
        rest = 0.5 - forward * 0.02
        ahead = rest + forward * max(0.0, progress - 1 / 3) * 0.5
        reach = rest - forward * touch
        x = start + (reach - start) * min(1.0, progress * 3) if progress < 1 / 3 else ahead - forward * touch
        return Pose(x=x, y=y), Pose(x=ahead, y=y)
    if scene.event == "meets":
        near = touch / 2
        closing = min(1.0, progress * 1.4)
        return (
            Pose(x=0.14 + (0.5 - near - 0.14) * closing, y=y),
            Pose(x=0.86 + (0.5 + near - 0.86) * closing, y=y),
        )
    return Pose(x=0.5 + forward * (-0.36 + 0.72 * progress), y=y), Pose(x=0.5, y=y)


def draw_storyboard(seed: int, *, num_scenes: int | None = None) -> Storyboard:
    """The storyboard of a seed: one to four scenes, or exactly ``num_scenes``."""
    dice = Dice("video", seed)
    count = dice.weighted([(1, 0.2), (2, 0.3), (3, 0.3), (4, 0.2)])
    return Storyboard(seed=seed, scenes=tuple(draw_scene(dice) for _ in range(num_scenes or count)))
