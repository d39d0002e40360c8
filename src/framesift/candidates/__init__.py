"""Engines that propose candidates for a query, behind one interface: exact, faiss, milvus."""

from .base import CandidateIndex, Found, Vectors

__all__ = ["CandidateIndex", "Found", "Vectors"]
