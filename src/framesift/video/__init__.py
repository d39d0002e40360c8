"""Video files in, frames out: sampling, frame-accurate decoding, worker processes, cutting into moments.

Imports neither torch nor anything above it, so that a decoding process starts quickly.
"""

from __future__ import annotations

from .container import decoders
from .decode import Transform, count_frames, decode, decode_all, decode_indices, iter_decode, probe
from .frames import Frames, VideoInfo
from .loader import available_cores, load_videos, read_each
from .moments import Moment, cut, shots, whole
from .sampling import (
    Rate,
    Sampler,
    Uniform,
    clip4clip_extract_indices,
    clip4clip_slice,
    xpool_uniform_indices,
)
from .subtitles import Cue, Track, match_sidecars, read_sidecar
from .text_streams import read_text_streams

__all__ = [
    "Cue",
    "Frames",
    "Moment",
    "Rate",
    "Sampler",
    "Track",
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
    "match_sidecars",
    "probe",
    "read_each",
    "read_sidecar",
    "read_text_streams",
    "shots",
    "whole",
    "xpool_uniform_indices",
]
