"""Which engine proposes the candidates of a gallery, made from its cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..candidates import (
    EXACT_UP_TO,
    ArrayVectors,
    ByFrame,
    CandidateConfig,
    CandidateIndex,
    ExactCandidates,
    FaissCandidates,
    Vectors,
    choose,
)
from ..errors import InputError
from .cache.coded import Coded
from .cache.codes import By, Codebook
from .cache.moment_scenes import MomentScenes
from .cache.rows import MomentRows
from .cache.vectors import MomentFrames, codes_of_rows
from .location import Location

__all__ = ["engine_for"]

COMPUTED_UP_TO = 16_384
"""Moments whose scenes are computed when an engine is made, unless scenes were asked for by name: 200 MiB of frames are
read for it, which takes some seconds."""

SCENES_A_ROW = 1.5
"""Scenes and pairs fetched at first for every moment that is wanted: the best 200 of 10,000 sampled moments had 1.2
times as many vectors before the last of them, 1.4 at most. Every one costs several that are scored again."""


def engine_for(
    config: CandidateConfig,
    index: Location,
    rows: MomentRows,
    offset: NDArray[np.int64] | None,
    *,
    found_by: Callable[[], Literal["mean", "scene"]],
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
        found_by: gives what the model's matcher calls for; asked where ``config`` leaves that open.
        vectors: of these.
        moment_ids: the keys of these, for a server that knows nothing else.
        fingerprint: of the features.
        version: of the index, with which a server's collection is stamped.

    Raises:
        InputError: ``config`` asks for codes that the cache does not hold.
        IndexStateError: a server cannot be reached.
        MissingExtraError: the client of a server is not installed.
    """
    match _by(config, rows, found_by):
        case "frame":
            frames = MomentFrames(rows, offset)
            if len(frames) and np.bincount(frames.owner, minlength=len(vectors)).min() == 0:
                raise InputError(
                    "candidates by frame need a frame in every moment, and some have none; search by scene, or by mean"
                )
            return ByFrame(
                _engine(
                    config, rows, "frame", frames, lambda book: codes_of_rows(rows, offset, "frame", book)
                ),
                frames.owner,
            )
        case "scene":
            scenes = MomentScenes(rows, offset)
            return ByFrame(
                _engine(config, rows, "scene", scenes, scenes.coded), scenes.owner, fetched=SCENES_A_ROW
            )
        case "mean" if choose(len(vectors), config) == "milvus":
            from ..candidates.milvus import open_milvus

            return open_milvus(
                config,
                moment_ids=moment_ids,
                vectors=vectors,
                fingerprint=fingerprint,
                name=index.name,
                version=version,
            )
        case "mean":
            return _engine(
                config, rows, "mean", vectors, lambda book: codes_of_rows(rows, offset, "mean", book)
            )


def _by(config: CandidateConfig, rows: MomentRows, found_by: Callable[[], Literal["mean", "scene"]]) -> By:
    """What moments are found by."""
    if config.by != "auto":
        return config.by
    if config.kind == "milvus" or found_by() == "mean":  # a server holds nothing else
        return "mean"
    missing = MomentScenes.missing(rows)
    if missing <= COMPUTED_UP_TO:
        return "scene"
    if rows.cache.settings().scenes is not False:  # nobody has said that there shall be none
        rows.cache.tell(
            f"it lacks the scenes of {missing:,} moments, so that moments are found by the mean of their frames, which "
            "misses some of the best; make them: framesift index --refresh-cache --scenes",
            once="no scenes",
        )
    return "mean"


def _engine(
    config: CandidateConfig,
    rows: MomentRows,
    by: By,
    vectors: Vectors,
    codes_of: Callable[[Codebook], Coded],
) -> CandidateIndex:
    kind = choose(len(vectors), config)
    if kind == "milvus":
        raise InputError(
            f"a Milvus server holds moments' means, not their {by}s; search by mean, or with faiss"
        )
    if kind == "exact":
        return _exact(by, vectors)
    codebook = rows.cache.codebook(by)
    if codebook is not None:
        own = codes_of(codebook)
        return FaissCandidates(
            codebook.quantizer,
            own.codes,
            own.rows,
            vectors,
            config.rescored,
            probes=config.probes,
            packed=own.packed,
        )
    if config.kind == "auto" and by != "frame":
        # nobody has built the cache yet, or a gallery has just outgrown it: slower, with the same results
        return _exact(by, vectors)
    what = {"mean": "moments", "scene": "moments' scenes", "frame": "frames"}[by]
    option = "--frame-candidates" if by == "frame" else "--codes"
    raise InputError(
        f"the index has no codes of its {len(vectors):,} {what} for the faiss engine, which it makes by itself from "
        f"{EXACT_UP_TO:,} on; make them: framesift index --refresh-cache {option}"
    )


def _exact(by: By, vectors: Vectors) -> CandidateIndex:
    """Few scenes are kept in memory as float32, 200 MiB of 512 numbers at most: to convert them takes longer than to
    score them."""
    if by == "scene" and len(vectors) <= EXACT_UP_TO:
        return ExactCandidates(
            ArrayVectors(
                np.concatenate(
                    [np.zeros((0, vectors.dim), np.float32), *(block for _, block in vectors.blocks())]
                )
            )
        )
    return ExactCandidates(vectors)
