"""Storyboard: a procedural text-video benchmark, rendered from a seed (no download, no licence)."""

from .captions import Caption, captions, holds, paragraph
from .pairs import (
    PAIR_KINDS,
    Pair,
    PairAccuracy,
    PairedSlice,
    binding_pairs,
    count_pairs,
    direction_pairs,
    order_pairs,
    small_object_pairs,
    training_pairs,
)
from .render import SIZE_PX, render_frame, render_frames, write_mp4
from .scenes import FPS, VERSION, Scene, SceneObject, Storyboard, draw_storyboard
from .slices import Slice, diversity, relevance, standard
from .splits import (
    SPLITS,
    content_hash,
    ground_truth,
    storyboards,
    video_name,
    write_captions,
    write_split,
    write_videos,
)

__all__ = [
    "FPS",
    "PAIR_KINDS",
    "SIZE_PX",
    "SPLITS",
    "VERSION",
    "Caption",
    "Pair",
    "PairAccuracy",
    "PairedSlice",
    "Scene",
    "SceneObject",
    "Slice",
    "Storyboard",
    "binding_pairs",
    "captions",
    "content_hash",
    "count_pairs",
    "direction_pairs",
    "diversity",
    "draw_storyboard",
    "ground_truth",
    "holds",
    "order_pairs",
    "paragraph",
    "relevance",
    "render_frame",
    "render_frames",
    "small_object_pairs",
    "standard",
    "storyboards",
    "training_pairs",
    "video_name",
    "write_captions",
    "write_mp4",
    "write_split",
    "write_videos",
]
