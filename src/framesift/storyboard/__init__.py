"""Storyboard: a procedural text-video benchmark, rendered from a seed (no download, no licence)."""

from .captions import Caption, captions, holds, paragraph
from .catalog import SLICES
from .moments import MomentSlice, moments
from .pairs import (
    PAIR_KINDS,
    Pair,
    PairAccuracy,
    PairedSlice,
    binding_pairs,
    count_pairs,
    direction_pairs,
    order_pairs,
    pair_choices,
    small_object_pairs,
    training_pairs,
)
from .render import SIZE_PX, render_frame, render_frames, write_mp4
from .scenes import FPS, VERSION, Scene, SceneObject, Storyboard, draw_storyboard
from .slices import Slice, diversity, multi_caption, paragraphs, relevance, standard, write_slice
from .spans import IOU_THRESHOLDS, recall_at_iou, temporal_iou
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
    "IOU_THRESHOLDS",
    "PAIR_KINDS",
    "SIZE_PX",
    "SLICES",
    "SPLITS",
    "VERSION",
    "Caption",
    "MomentSlice",
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
    "moments",
    "multi_caption",
    "order_pairs",
    "pair_choices",
    "paragraph",
    "paragraphs",
    "recall_at_iou",
    "relevance",
    "render_frame",
    "render_frames",
    "small_object_pairs",
    "standard",
    "storyboards",
    "temporal_iou",
    "training_pairs",
    "video_name",
    "write_captions",
    "write_mp4",
    "write_slice",
    "write_split",
    "write_videos",
]
