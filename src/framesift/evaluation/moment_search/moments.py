"""Moments of long videos, through mp4 files, an index that cuts them into shots, and the searcher."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...index import Index
from ...search.query import Filters, Query, Step, TextTerm
from ...search.searcher import Searcher
from ...storyboard import IOU_THRESHOLDS, moments, temporal_iou, video_name, write_videos
from ..significance import bootstrap_interval
from .galleries import Models

__all__ = ["measure_moments"]


def measure_moments(models: Models, *, videos: int, start: int) -> dict[str, Any]:
    """IoU of the first result with the moment that was meant: in its video, and in the whole index.

    In the whole index a result of another video overlaps by 0, and the ``video`` rate is how often it is the right one.
    """
    gallery = moments(videos, start=start)
    names = [video_name(video) for video in gallery.videos]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "videos").mkdir()
        write_videos(gallery.videos, folder / "videos")
        spans: dict[str, list[tuple[float, float]]] = {}
        for name, model in models.items():
            path = folder / model.fingerprint()  # models of the same features share an index
            known = path.exists()
            with (
                Index.open(path, model=model)
                if known
                else Index.create(path, model=model, moments="shots") as index
            ):
                if not known:
                    index.add(folder / "videos")
                searcher = Searcher(index)
                spans = _spans(index)
                rows[name] = {}
                for where in ("video", "gallery"):
                    overlaps, right = np.zeros(len(gallery.texts)), np.zeros(len(gallery.texts))
                    for row, (text, owner) in enumerate(zip(gallery.texts, gallery.owners, strict=True)):
                        filters = Filters(names=(names[owner],) if where == "video" else ())
                        query = Query(steps=(Step(terms=(TextTerm(text=text),)),), filters=filters)
                        (best, *_) = searcher.search(query, k=1, depth=10_000, group_duplicates=False).results
                        right[row] = Path(best.hit.video).name == names[owner]
                        span = (best.hit.start_s, best.hit.end_s)
                        overlaps[row] = right[row] * temporal_iou(span, gallery.spans[row])
                    rows[name][where] = {
                        f"{least:g}": {
                            "r1": 100 * float((overlaps >= least).mean()),
                            "interval": bootstrap_interval(overlaps >= least, clusters=gallery.owners),
                        }
                        for least in IOU_THRESHOLDS
                    } | {"right_video": 100 * float(right.mean())}
    best = np.array(
        [
            max(temporal_iou(span, meant) for span in spans[names[owner]])
            for meant, owner in zip(gallery.spans, gallery.owners, strict=True)
        ]
    )
    return {
        "videos": videos,
        "texts": len(gallery.texts),
        "moments": sum(map(len, spans.values())),
        "content_hash": gallery.content_hash,
        "ceiling": {f"{least:g}": 100 * float((best >= least).mean()) for least in IOU_THRESHOLDS},
        "models": rows,
    }


def _spans(index: Index) -> dict[str, list[tuple[float, float]]]:
    """The moments of every file of an index."""
    gallery = index.gallery()
    found: dict[str, list[tuple[float, float]]] = {}
    for row in range(len(gallery)):
        place = gallery.moment(row)
        found.setdefault(Path(place.uri).name, []).append((place.start_s, place.end_s))
    return found
