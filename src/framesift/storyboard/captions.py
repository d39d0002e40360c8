"""Captions of storyboards: sentences from a grammar, each with the claims that it makes.

A caption describes one object, one scene, or several scenes in order. Its *claims* are a partial scene graph;
:func:`holds` decides whether a claim is true of a video, so that the relevance of any video to any caption
is known exactly, and a caption that is true of several videos counts for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from .scenes import Dice, Scene, SceneObject, Storyboard

__all__ = [
    "COLOR_WORDS",
    "EVENT_WORDS",
    "MAX_CAPTIONS",
    "MOTION_WORDS",
    "SHAPE_WORDS",
    "Caption",
    "ObjectClaim",
    "SceneClaim",
    "article",
    "captions",
    "holds",
    "name_phrase",
    "order_caption",
    "paragraph",
    "placed",
    "say_scene",
    "scene_caption",
]

MAX_CAPTIONS = 20  # as many as MSR-VTT has a video

SHAPE_WORDS = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "cross": ("cross", "plus sign"),
    "diamond": ("diamond", "rhombus"),
    "hexagon": ("hexagon",),
    "ring": ("ring", "hoop"),
    "crescent": ("crescent", "crescent moon"),
}
COLOR_WORDS = {"purple": ("purple", "violet"), "red": ("red", "scarlet")}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
_FILL_WORDS = {"outlined": ("outlined", "hollow"), "striped": ("striped",)}
_PLACES = {
    "plain": ("on a grey background", "in front of a plain grey wall"),
    "sunset": ("under a sunset sky", "at sunset"),
    "night": ("in a night sky", "under the stars"),
    "grass": ("on grass", "over a green lawn"),
    "water": ("on water", "over blue water"),
    "bricks": ("in front of a brick wall", "on bricks"),
    "checkerboard": ("on a checkerboard", "over grey checks"),
    "sand": ("on sand", "on a sandy beach"),
    "snow": ("on snow", "in the snow"),
    "stripes": ("on pastel stripes", "in front of striped wallpaper"),
}
# Each motion as a finite verb phrase and as a participle.
MOTION_WORDS = {
    "still": (("stays still", "staying still"), ("rests", "resting")),
    "left": (("moves to the left", "moving to the left"), ("slides left", "sliding left")),
    "right": (("moves to the right", "moving to the right"), ("slides right", "sliding right")),
    "up": (("moves up", "moving up"), ("rises", "rising")),
    "down": (("moves down", "moving down"), ("sinks slowly", "sinking slowly")),
    "falls": (("falls", "falling"), ("drops down", "dropping down")),
    "bounces": (("bounces", "bouncing"), ("bounces up and down", "bouncing up and down")),
    "spins": (("spins", "spinning"), ("turns around itself", "turning around itself")),
    "grows": (("grows", "growing"), ("gets bigger", "getting bigger")),
    "shrinks": (("shrinks", "shrinking"), ("gets smaller", "getting smaller")),
    "blinks": (("blinks", "blinking"), ("flashes on and off", "flashing on and off")),
    "circles": (("goes round in circles", "going round in circles"), ("orbits", "orbiting")),
    "zigzags": (("zigzags", "zigzagging"), ("moves in a zigzag", "moving in a zigzag")),
}
# Each event as active and passive sentence patterns of the actor and the other one.
EVENT_WORDS = {
    "chases": ("{a} chases {b}", "{a} is chasing {b}", "{b} is chased by {a}", "{a} runs after {b}"),
    "pushes": ("{a} pushes {b}", "{a} is pushing {b}", "{b} is pushed by {a}"),
    "meets": ("{a} meets {b}", "{a} and {b} meet", "{b} is met by {a}"),
    "passes": ("{a} passes in front of {b}", "{a} is passing in front of {b}", "{b} is passed by {a}"),
}


@dataclass(frozen=True, kw_only=True)
class ObjectClaim:
    """What a caption says of one object; None is left unsaid."""

    shape: str
    color: str | None = None
    size: str | None = None
    fill: str | None = None
    motion: str | None = None

    def holds(self, thing: SceneObject) -> bool:
        if self.shape != thing.shape:
            return False
        said = (
            (self.color, thing.color),
            (self.size, thing.size),
            (self.fill, thing.fill),
            (self.motion, thing.motion),
        )
        return all(claim is None or claim == fact for claim, fact in said)


@dataclass(frozen=True, kw_only=True)
class SceneClaim:
    """What a caption says of one scene.

    Attributes:
        relation: ``rows`` / ``columns``: the first object is above / to the left of the second one; or an event.
        background: where it is, or None.
    """

    objects: tuple[ObjectClaim, ...]
    relation: str | None = None
    background: str | None = None

    def holds(self, scene: Scene) -> bool:
        """Whether different objects of the scene can be found for all claims at once."""
        if self.background not in (None, scene.background):
            return False
        if self.relation is not None and self.relation not in (scene.layout, scene.event):
            return False
        for chosen in permutations(range(len(scene.objects)), len(self.objects)):
            pairs = zip(self.objects, chosen, strict=True)
            if all(claim.holds(scene.objects[number]) for claim, number in pairs):
                if self.relation is None or list(chosen) == sorted(chosen):
                    return True
                if self.relation == "meets":  # it makes no difference who meets whom
                    return True
        return False


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A sentence, what it claims (scenes in order), and the moment ``[start_s, end_s)`` that it is about.

    ``kind`` is ``object``, ``scene``, ``order`` or ``paragraph``.
    """

    text: str
    kind: str
    claims: tuple[SceneClaim, ...]
    start_s: float
    end_s: float


def holds(caption: Caption, storyboard: Storyboard) -> bool:
    """Whether the caption is true of the video: its claims hold of scenes in that order."""
    scenes = iter(storyboard.scenes)
    return all(any(claim.holds(scene) for scene in scenes) for claim in caption.claims)


def captions(storyboard: Storyboard, *, limit: int = MAX_CAPTIONS) -> list[Caption]:
    """Up to ``limit`` different captions of a video, the same for a seed on every machine."""
    dice = Dice("captions", storyboard.seed)
    found: dict[str, Caption] = {}
    for _ in range(4 * limit):
        if len(found) >= limit:
            break
        caption = _draw_caption(dice, storyboard)
        found.setdefault(caption.text, caption)
    return list(found.values())


def scene_caption(dice: Dice, storyboard: Storyboard, scene: int) -> Caption:
    """One random caption of the given scene alone."""
    start, end = storyboard.span_s(scene)
    if dice.chance(0.3):
        text, claim = _say_object(dice, storyboard.scenes[scene])
        kind = "object"
    else:
        text, claim = say_scene(dice, storyboard.scenes[scene])
        kind = "scene"
    return Caption(text=text, kind=kind, claims=(claim,), start_s=start, end_s=end)


def paragraph(storyboard: Storyboard) -> Caption:
    """All scenes in order, as one text (the protocol of DiDeMo and ActivityNet)."""
    dice = Dice("paragraph", storyboard.seed)
    said = [say_scene(dice, scene) for scene in storyboard.scenes]
    opening = ("first ", *("then ",) * (len(said) - 1)) if len(said) > 1 else ("",)
    text = ". ".join(lead + text for lead, (text, _) in zip(opening, said, strict=True))
    return Caption(
        text=text,
        kind="paragraph",
        claims=tuple(claim for _, claim in said),
        start_s=0.0,
        end_s=storyboard.duration_s,
    )


def order_caption(dice: Dice, storyboard: Storyboard) -> Caption:
    """One random caption of two scenes in order; the video needs at least two."""
    count = len(storyboard.scenes)
    first = dice.below(count - 1)
    second = first + 1 + dice.below(count - first - 1)
    opening, closing = dice.pick(("first |, then ", "|, and then ", "|, followed by ")).split("|")
    texts, claims = zip(
        *(say_scene(dice, storyboard.scenes[number], short=True) for number in (first, second)), strict=True
    )
    return Caption(
        text=f"{opening}{texts[0]}{closing}{texts[1]}",
        kind="order",
        claims=claims,
        start_s=storyboard.span_s(first)[0],
        end_s=storyboard.span_s(second)[1],
    )


def _draw_caption(dice: Dice, storyboard: Storyboard) -> Caption:
    count = len(storyboard.scenes)
    if count == 1 or dice.chance(0.8):
        return scene_caption(dice, storyboard, dice.below(count))
    return order_caption(dice, storyboard)


def name_phrase(dice: Dice, thing: SceneObject, *, detail: float) -> tuple[str, dict[str, str]]:
    """A noun phrase without its article, and what it claims besides the shape."""
    said: dict[str, str] = {}
    words: list[str] = []
    if thing.size in _SIZE_WORDS and dice.chance(detail):
        said["size"] = thing.size
        words.append(dice.pick(_SIZE_WORDS[thing.size]))
    if thing.fill in _FILL_WORDS and dice.chance(detail):
        said["fill"] = thing.fill
        words.append(dice.pick(_FILL_WORDS[thing.fill]))
    if dice.chance(0.95):
        said["color"] = thing.color
        words.append(dice.pick(COLOR_WORDS.get(thing.color, (thing.color,))))
    words.append(dice.pick(SHAPE_WORDS[thing.shape]))
    return " ".join(words), said


def article(noun: str) -> str:
    """A noun phrase with ``a`` or ``an`` before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _say_object(dice: Dice, scene: Scene) -> tuple[str, SceneClaim]:
    """A sentence about one object of a scene, with or without the place."""
    thing = scene.objects[dice.below(len(scene.objects))]
    noun, said = name_phrase(dice, thing, detail=0.8)
    text = article(noun)
    # In an event the motion belongs to the pair, and is told as an event or not at all.
    if not scene.event and dice.chance(0.8):
        said["motion"] = thing.motion
        finite, participle = MOTION_WORDS[thing.motion][dice.below(2)]
        text = dice.pick((f"{text} {finite}", f"{text} is {participle}", f"{text} {participle}"))
    background = scene.background if dice.chance(0.6) else None
    text = placed(dice, text, background)
    return text, SceneClaim(objects=(ObjectClaim(shape=thing.shape, **said),), background=background)


def say_scene(dice: Dice, scene: Scene, *, short: bool = False) -> tuple[str, SceneClaim]:
    """A sentence about all of a scene (``short``: with less detail)."""
    background = scene.background if dice.chance(0.4 if short else 0.8) else None
    detail = 0.3 if short else 0.6
    if len(scene.objects) == 1:
        text, claim = _say_object(dice, scene)
        return text, claim
    named = [name_phrase(dice, thing, detail=detail) for thing in scene.objects]
    nouns = [article(noun) for noun, _ in named]
    claims = [
        ObjectClaim(shape=thing.shape, **said) for thing, (_, said) in zip(scene.objects, named, strict=True)
    ]
    if scene.event:
        pattern = dice.pick(EVENT_WORDS[scene.event])
        text = pattern.format(a=nouns[0], b=nouns[1])
        relation = scene.event
    elif dice.chance(0.5):
        text, relation = _say_relation(dice, scene.layout, nouns)
    else:
        relation = None
        parts: list[str] = []
        for number, thing in enumerate(scene.objects):
            if dice.chance(0.35 if short else 0.6):
                claims[number] = ObjectClaim(shape=thing.shape, motion=thing.motion, **named[number][1])
                parts.append(f"{nouns[number]} {MOTION_WORDS[thing.motion][dice.below(2)][1]}")
            else:
                parts.append(nouns[number])
        order = [int(number) for number in dice.shuffled(range(len(parts)))]
        parts, claims = [parts[n] for n in order], [claims[n] for n in order]
        text = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return placed(dice, text, background), SceneClaim(
        objects=tuple(claims), relation=relation, background=background
    )


def _say_relation(dice: Dice, layout: str, nouns: Sequence[str]) -> tuple[str, str]:
    """Where the objects stand: ``nouns`` run from top to bottom, or from left to right."""
    forward, backward = {
        "rows": (("above", "over"), ("below", "under")),
        "columns": (("to the left of", "left of"), ("to the right of", "right of")),
    }[layout]
    if dice.chance(0.5):
        return f" {dice.pick(forward)} ".join(nouns), layout
    return f" {dice.pick(backward)} ".join(reversed(nouns)), layout


def placed(dice: Dice, text: str, background: str | None) -> str:
    """A sentence with the place where it happens; ``None`` leaves it unsaid."""
    if background is None:
        return text
    place = dice.pick(_PLACES[background])
    return f"{place}, {text}" if dice.chance(0.25) else f"{text} {place}"
