"""Video files in, frames out: sampling, frame-accurate decoding, worker processes, cutting into moments.

Imports neither torch nor anything above it, so that a decoding process starts quickly.
"""

from __future__ import annotations

from .container import decoders
from .decode import Transform, count_frames, decode, decode_all, decode_indices, iter_decode, probe
from .frames import Frames, VideoInfo
from .loader import available_cores, load_videos
from .moments import Moment, cut, shots, whole
from .sampling import (
    Rate,
    Sampler,
    Uniform,
    clip4clip_extract_indices,
    clip4clip_slice,
    xpool_uniform_indices,
)

__all__ = [
    "Frames",
    "Moment",
    "Rate",
    "Sampler",
    "Transform",
    "Uniform",
    "VideoInfo",
    "available_cores",
    "clip4clip_extract_indices",
    "clip4clip_slice",
    "count_frames",
    "cut",
    "decode",
    "decode_all",
    "decode_indices",
    "decoders",
    "iter_decode",
    "load_videos",
    "probe",
    "shots",
    "whole",
    "xpool_uniform_indices",
]
