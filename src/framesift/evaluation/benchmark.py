"""Evaluate a model on a benchmark, from files to a result document; videos that are missing or broken are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data import Split
from ..data.locate import Located
from ..errors import DatasetError, DecodeError
from ..metrics import Ties
from ..model import RetrievalModel
from ..ranking import RERANK_DEPTH
from ..reranking import RerankEncoder
from ..storyboard import SLICES, video_name
from ..video import Frames, Uniform, available_cores, load_videos
from .document import document
from .gather import FRAME_ORDERS, decode_part, encode_clips, measure
from .normalization import Column
from .probe import probe_orders
from .storyboard import frames_of

__all__ = ["STORYBOARD", "Task", "evaluate_model", "split_task", "storyboard_task"]

STORYBOARD = "storyboard"
NAMED = 20  # files that could not be read, with their reasons, in a result


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a model is to be evaluated on.

    Attributes:
        videos: ids, in the order of the clips.
        clips: gives the frames of each, or why there are none, for a number of frames a video.
        missing: videos of the benchmark without a file.
        part: what is left without some videos: what it is (:meth:`.Split.to_dict`), texts, and relevance.
    """

    videos: tuple[str, ...]
    clips: Callable[[int], Iterable[Frames | DecodeError]]
    missing: tuple[str, ...]
    part: Callable[[set[str]], tuple[dict[str, Any], list[str], np.ndarray]]
    notes: tuple[str, ...] = ()


def split_task(split: Split, located: Located, *, workers: int | None = None) -> Task:
    """A split whose files were looked for (:func:`.locate`).

    Args:
        workers: processes that decode; default: one a core.

    Raises:
        DatasetError: no video has a file.
    """
    if not located.sources:
        raise DatasetError(
            f"{split.benchmark} {split.split}: none of its {len(split.videos):,} videos has a file"
            + (f" in {str(located.root)!r}; name the folder that holds them" if located.root else "")
        )
    videos = tuple(video for video in split.videos if video in located.sources)

    def clips(num_frames: int) -> Iterable[Frames | DecodeError]:
        paths = [str(located.sources[video]) for video in videos]
        cores = available_cores() if workers is None else workers
        return load_videos(paths, Uniform(num_frames=num_frames), workers=cores, decoder=decode_part)

    def part(gone: set[str]) -> tuple[dict[str, Any], list[str], np.ndarray]:
        left = split.without(gone)
        return left.to_dict(), left.texts, left.relevance()

    return Task(videos=videos, clips=clips, missing=located.missing, part=part, notes=located.notes())


def storyboard_task(name: str, count: int | None = None) -> Task:
    """A slice of Storyboard, rendered as it is read.

    Args:
        name: key of :data:`.SLICES`.
        count: videos (or pairs); default: the size to report.
    """
    board = SLICES[name]() if count is None else SLICES[name](count)

    def part(gone: set[str]) -> tuple[dict[str, Any], list[str], np.ndarray]:
        about = {
            "benchmark": STORYBOARD,
            "split": name,
            "protocol": "all-captions" if len(board.captions) > len(board.videos) else "one-caption",
            "videos": len(board.videos),
            "captions": len(board.captions),
            "content_hash": board.content_hash,
            "notes": [],
        }
        return about, board.texts, board.relevance

    return Task(
        videos=tuple(map(video_name, board.videos)),
        clips=lambda num_frames: (frames_of(video, num_frames) for video in board.videos),
        missing=(),
        part=part,
    )


def evaluate_model(
    model: RetrievalModel,
    task: Task,
    *,
    ties: Ties = "pessimistic",
    columns: Callable[[np.ndarray], Sequence[Column]] | None = None,
    bank: Sequence[str] = (),
    rerank: bool = True,
    rerank_depth: int = RERANK_DEPTH,
    probe: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Decode, encode and rank, and say in one document what was found and on what.

    A video without a readable file is left out with its captions: the split of the result is another one, with a hash
    of its own, and the document lists what is missing.

    Args:
        columns: normalizations, given the similarity of the ``bank`` with the videos, ``[query, video]``.
        bank: texts of another split, for QB-Norm.
        rerank: let the model's reranker have its turn, if there is one.
        rerank_depth: candidates that it sees.
        probe: encode the videos with their frames in other orders, too (:mod:`.probe`).
        progress: called with the number of videos that are done, and of all.

    Raises:
        InputError: nothing could be read, or the scores leak.
    """
    total = len(task.videos)
    reranker = RerankEncoder(model, model.reranker) if rerank and model.reranker is not None else None
    encoded = encode_clips(
        model,
        task.clips(model.num_frames),
        orders=FRAME_ORDERS if probe else ("normal",),
        reranker=reranker,
        progress=None if progress is None else lambda done: progress(done, total),
    )
    failed = {task.videos[row]: error for row, error in encoded.failed.items()}
    about, texts, relevance = task.part({*task.missing, *failed})
    with torch.no_grad():
        text = model.encode_text(texts)
        beside: Sequence[Column] = ()
        if columns is not None:
            queries = model.similarity(model.encode_text(bank), encoded.video) if bank else None
            beside = columns(np.zeros((0, 0)) if queries is None else queries.float().cpu().numpy())
        done, first = measure(
            model.matcher,
            text,
            encoded.video,
            relevance=relevance,
            ties=ties,
            beside=beside,
            reranker=reranker,
            rerank_text=None if reranker is None else reranker.encode_text(texts, text),
            rerank_video=encoded.rerank,
            rerank_depth=rerank_depth,
        )
        more: dict[str, Any] = {}
        if probe:
            probed = probe_orders(model.matcher, text, encoded.by_order, relevance=relevance, ties=ties)
            more["temporal_probe"] = {order: one.to_dict() for order, one in probed.items()}
    if first is not None:
        more["first_stage"] = first.to_dict()
        more["rerank_depth"] = rerank_depth
    return document(
        done,
        system=model.name or "unnamed model",
        split=about,
        notes=task.notes,
        num_frames=model.num_frames,
        missing_videos=list(task.missing),
        failed_videos=_told(failed),
        **more,
    )


def _told(failed: Mapping[str, DecodeError]) -> list[str]:
    named = [f"{video}: {error.reason}" for video, error in list(failed.items())[:NAMED]]
    return [*named, *list(failed)[NAMED:]]
