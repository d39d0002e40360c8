"""Which engine proposes the candidates of a gallery, made from its cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..candidates import (
    EXACT_UP_TO,
    ByFrame,
    CandidateConfig,
    CandidateIndex,
    ExactCandidates,
    FaissCandidates,
    Vectors,
    choose,
)
from ..errors import InputError
from .cache.codes import By
from .cache.rows import MomentRows
from .cache.vectors import MomentFrames, coded
from .location import Location

__all__ = ["engine_for"]


def engine_for(
    config: CandidateConfig,
    index: Location,
    rows: MomentRows,
    offset: NDArray[np.int64] | None,
    *,
    vectors: Vectors,
    moment_ids: Callable[[], Sequence[str]],
    fingerprint: str,
    version: tuple[int, int, int],
) -> CandidateIndex:
    """The engine that a gallery is searched with.

    Args:
        config: what was asked for.
        index: where it is, after which a server's collection is named.
        rows: of the table.
        offset: which of them the gallery has, ascending; None: all.
        vectors: of these.
        moment_ids: the keys of these, for a server that knows nothing else.
        fingerprint: of the features.
        version: of the index, with which a server's collection is stamped.

    Raises:
        InputError: ``config`` asks for codes that the cache does not hold.
        IndexStateError: a server cannot be reached.
        MissingExtraError: the client of a server is not installed.
    """
    if config.by == "frame":
        frames = MomentFrames(rows, offset)
        if len(frames) and np.bincount(frames.owner, minlength=len(vectors)).min() == 0:
            raise InputError(
                "candidates by frame need a frame in every moment, and some have none; search by mean"
            )
        return ByFrame(_engine(config, rows, offset, "frame", frames), frames.owner)
    if choose(len(vectors), config) == "milvus":
        from ..candidates.milvus import open_milvus

        return open_milvus(
            config,
            moment_ids=moment_ids,
            vectors=vectors,
            fingerprint=fingerprint,
            name=index.name,
            version=version,
        )
    return _engine(config, rows, offset, "mean", vectors)


def _engine(
    config: CandidateConfig, rows: MomentRows, offset: NDArray[np.int64] | None, by: By, vectors: Vectors
) -> CandidateIndex:
    kind = choose(len(vectors), config)
    if kind == "milvus":
        raise InputError(
            "a Milvus server holds moments' means, not their frames; search by mean, or with faiss"
        )
    if kind == "exact":
        return ExactCandidates(vectors)
    codebook = rows.cache.codebook(by)
    if codebook is not None:
        codes, numbers = coded(rows, offset, by, codebook)
        return FaissCandidates(
            codebook.quantizer, codes, numbers, vectors, config.rescored, probes=config.probes
        )
    if (
        config.kind == "auto" and by == "mean"
    ):  # nobody has built the cache yet: slower, with the same results
        return ExactCandidates(vectors)
    what = "frames" if by == "frame" else "moments"
    option = "--frame-candidates" if by == "frame" else "--codes"
    raise InputError(
        f"the index has no codes of its {len(vectors):,} {what} for the faiss engine, which it makes by itself from "
        f"{EXACT_UP_TO:,} moments on; make them: framesift index --refresh-cache {option}"
    )
