"""Sentences that nobody asked of this gallery: what a search finds for them is found by luck.

They are to be like what people type, or their luck is not a query's: everyday scenes for models that have seen the
world, and captions of Storyboard's training split for the bundled ones, which know nothing else.
"""

from __future__ import annotations

from ..hub import MODELS
from ..model import RetrievalModel
from ..storyboard import captions, storyboards

__all__ = ["EVERYDAY", "neutral_texts"]

STORYBOARDS = 64

EVERYDAY = (
    "a dog runs on grass",
    "a man plays the guitar",
    "two people talk in a kitchen",
    "a car drives down a highway at night",
    "a woman cuts vegetables",
    "children play football in a park",
    "a plane takes off from a runway",
    "someone rides a horse on the beach",
    "a band plays on a stage",
    "a cat sleeps on a sofa",
    "a chef puts a pizza into the oven",
    "a news reader in a studio",
    "a boat on a lake",
    "snow falls in a forest",
    "a city seen from above",
    "a bride and a groom dance at a wedding",
    "a cartoon character speaks",
    "a goal in a hockey match",
    "a phone is taken apart",
    "a girl sings into a microphone",
    "a man in a suit gives a speech",
    "waves break on rocks",
    "a train arrives at a station",
    "a baby laughs",
    "someone types on a laptop",
    "a cyclist climbs a mountain road",
    "people wait in line at a counter",
    "a bird feeds its young",
    "fireworks over a river",
    "a tutorial shows how to fold paper",
    "a video game with a racing car",
    "a doctor talks to a patient",
    "a teacher writes on a blackboard",
    "someone pours coffee into a cup",
    "a tractor in a field",
    "fish swim in an aquarium",
    "a crowd cheers in a stadium",
    "an old man reads a newspaper on a bench",
    "a girl brushes her hair in front of a mirror",
    "a welder at work",
    "a market with fruit and vegetables",
    "a helicopter lands",
    "a sunset behind mountains",
    "a boy jumps into a swimming pool",
    "a map with arrows on it",
    "a woman unpacks a parcel",
    "two boxers in a ring",
    "a candle is lit in a dark room",
)


def neutral_texts(model: RetrievalModel) -> tuple[str, ...]:
    """Neutral sentences for a model."""
    if model.name not in MODELS:
        return EVERYDAY
    return tuple(captions(video)[0].text for video in storyboards("train", STORYBOARDS))
