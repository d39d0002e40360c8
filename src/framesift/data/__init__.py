"""Benchmarks as records: which videos, which captions, which answer which. No tensors, no pixels."""

from .catalog import ALIASES, BENCHMARKS, SPLIT_NAMES, Benchmark, Counts, benchmark_named, load_split
from .compare import Overlap, overlap, require_same
from .holdout import HOLDOUT, hold_out
from .locate import VIDEO_SUFFIXES, Located, locate
from .own import EVERYTHING, OWN_SUFFIXES, read_own, read_own_splits
from .records import PROTOCOLS, Caption, Protocol, Source, Split

__all__ = [
    "ALIASES",
    "BENCHMARKS",
    "EVERYTHING",
    "HOLDOUT",
    "OWN_SUFFIXES",
    "PROTOCOLS",
    "SPLIT_NAMES",
    "VIDEO_SUFFIXES",
    "Benchmark",
    "Caption",
    "Counts",
    "Located",
    "Overlap",
    "Protocol",
    "Source",
    "Split",
    "benchmark_named",
    "hold_out",
    "load_split",
    "locate",
    "overlap",
    "read_own",
    "read_own_splits",
    "require_same",
]
