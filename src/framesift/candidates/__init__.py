"""Engines that propose candidates for a query, behind one interface: exact, faiss, milvus."""

from .arrays import ArrayVectors
from .base import CandidateIndex, Found, Vectors
from .by_frame import ByFrame
from .config import EXACT_UP_TO, CandidateConfig, choose, default_depth
from .exact import ExactCandidates
from .faiss_codes import FaissCandidates, Quantizer
from .lists import SAMPLED_PER_LIST, lists_for
from .scenes import scenes_of

__all__ = [
    "EXACT_UP_TO",
    "SAMPLED_PER_LIST",
    "ArrayVectors",
    "ByFrame",
    "CandidateConfig",
    "CandidateIndex",
    "ExactCandidates",
    "FaissCandidates",
    "Found",
    "Quantizer",
    "Vectors",
    "choose",
    "default_depth",
    "lists_for",
    "scenes_of",
]
