"""Storyboard: a procedural text-video benchmark, rendered from a seed (no download, no licence)."""

from .captions import Caption, captions, holds, paragraph
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
    "SIZE_PX",
    "SPLITS",
    "VERSION",
    "Caption",
    "Scene",
    "SceneObject",
    "Slice",
    "Storyboard",
    "captions",
    "content_hash",
    "diversity",
    "draw_storyboard",
    "ground_truth",
    "holds",
    "paragraph",
    "relevance",
    "render_frame",
    "render_frames",
    "standard",
    "storyboards",
    "video_name",
    "write_captions",
    "write_mp4",
    "write_split",
    "write_videos",
]
