"""What an index holds, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .cache import CacheInfo, cache_info
from .cutting import MomentMode
from .published import Publication
from .schema import IndexMeta
from .store import Store
from .subtitles import Subtitles

__all__ = ["IndexInfo", "info_of"]


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        path: its directory or URI.
        videos: files that are indexed.
        failed: files that could not be read.
        moments: what is searched.
        duration_s: length of all indexed videos, as far as it is known.
        size_bytes: of all that is there, earlier versions included.
        model: name, directory or hub id of the model; None if it had none.
        fingerprint: of the features.
        cutting: ``whole``, ``shots`` or ``auto``.
        dim: width of the embeddings.
        num_frames: frames that a moment keeps at most.
        snap_s: how far a decoded keyframe may lie from the frame that was due, in seconds; 0: frames are exact.
        subtitled: videos with subtitles.
        cues: of all their subtitles.
        encoded: what computed the features, and how far from fp32 that was; as :class:`IndexMeta` has it.
        set_aside: manifests in ``set-aside/`` that could not be read or came after one of those.
        published: what its tags name.
        cache: what makes searching it fast; None if there is nothing yet.
        format_version: of the layout.
    """

    path: str
    videos: int
    failed: int
    moments: int
    duration_s: float
    size_bytes: int
    model: str | None
    fingerprint: str
    cutting: MomentMode
    dim: int
    num_frames: int
    snap_s: float
    subtitled: int
    cues: int
    encoded: dict[str, dict[str, Any]]
    set_aside: int
    published: tuple[Publication, ...]
    cache: CacheInfo | None
    format_version: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "published": [one.to_dict() for one in self.published]}


def info_of(store: Store, meta: IndexMeta) -> IndexInfo:
    """Counts, sizes and the model; loads nothing heavy."""
    place, records = store.place, store.records()
    good = [record for record in records if record.status == "ok"]
    subtitles = Subtitles(place.subtitles_to_read()).counts()
    return IndexInfo(
        path=str(place.location),
        videos=len(good),
        failed=len(records) - len(good),
        moments=store.num_moments(),
        duration_s=sum(record.duration_s or 0.0 for record in good),
        size_bytes=place.size_bytes(),
        model=meta.model,
        fingerprint=meta.fingerprint,
        cutting=meta.moments,
        dim=meta.dim,
        num_frames=meta.num_frames,
        snap_s=meta.snap_s,
        subtitled=subtitles.videos,
        cues=subtitles.cues,
        encoded=meta.encoded or {},
        set_aside=place.recoveries(),
        published=store.published().listed(),
        cache=cache_info(store, meta.dim),
        format_version=meta.format_version,
    )
