"""Captions that count: "two red circles", true of a scene that shows exactly two of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .captions import (
    COLOR_WORDS,
    MOTION_WORDS,
    SHAPE_WORDS,
    Caption,
    ObjectClaim,
    SceneClaim,
    article,
    placed,
)
from .scenes import Dice, Scene, SceneObject, Storyboard

__all__ = ["NUMBER_WORDS", "CountClaim", "count_caption"]

NUMBER_WORDS = {2: "two", 3: "three"}
_PLURAL_MOTIONS = ("still", "left", "right", "up", "down")  # "turning around itself" has no plural


@dataclass(frozen=True, kw_only=True)
class CountClaim(SceneClaim):
    """A scene claim that also counts: exactly ``number`` objects of the scene fit the first object named."""

    number: int

    def holds(self, scene: Scene) -> bool:
        """Whether the number is right and the rest of the claim is true."""
        counted = sum(self.objects[0].holds(thing) for thing in scene.objects)
        return counted == self.number and super().holds(scene)


def count_caption(dice: Dice, storyboard: Storyboard) -> Caption:
    """A caption that counts the objects of the most frequent kind of the first scene, and may name another object."""
    scene = storyboard.scenes[0]
    kinds = [(thing.shape, thing.color) for thing in scene.objects]
    most = max(kinds, key=kinds.count)
    alike = [thing for thing, kind in zip(scene.objects, kinds, strict=True) if kind == most]
    other = next((thing for thing, kind in zip(scene.objects, kinds, strict=True) if kind != most), None)
    claim = ObjectClaim(shape=most[0], color=most[1])
    text = f"{NUMBER_WORDS[len(alike)]} {_plural(_noun(dice, alike[0]))}"
    if dice.chance(0.5) and alike[0].motion in _PLURAL_MOTIONS:
        claim = replace(claim, motion=alike[0].motion)
        text = f"{text} {MOTION_WORDS[alike[0].motion][dice.below(2)][1]}"
    named = [claim]
    if dice.chance(0.5) and other is not None:
        named.append(ObjectClaim(shape=other.shape, color=other.color))
        text = f"{text} and {article(_noun(dice, other))}"
    background = scene.background if dice.chance(0.6) else None
    return Caption(
        text=placed(dice, text, background),
        kind="scene",
        claims=(CountClaim(objects=tuple(named), background=background, number=len(alike)),),
        start_s=0.0,
        end_s=storyboard.span_s(0)[1],
    )


def _noun(dice: Dice, thing: SceneObject) -> str:
    color = dice.pick(COLOR_WORDS.get(thing.color, (thing.color,)))
    return f"{color} {dice.pick(SHAPE_WORDS[thing.shape])}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"
