"""How one model answers every query of a slice, and where that is kept so that a measurement can be continued."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ...ranking import RERANK_DEPTH, rerank_similarity
from ...rerankers import CrossTransformer
from ...similarity import similarity_matrix
from ...storyboard import MomentSlice, PairedSlice, Slice
from ..evaluate import evaluate_similarity
from .features import Features
from .runs import Run
from .windows import Windows

__all__ = ["DIRECTIONS", "Answered", "Depths", "answer", "both_scores"]

Direction = Literal["t2v", "v2t"]
DIRECTIONS: tuple[Direction, ...] = ("t2v", "v2t")
FORMAT = 1  # of the files; grows when what is measured changes


@dataclass(frozen=True, kw_only=True)
class Depths:
    """How many candidates of a query a reranker sees.

    Attributes:
        cross: CrossTVR.
        tight: CLIP4Clip's tight transformer; None: the whole gallery, as published.
    """

    cross: int = RERANK_DEPTH
    tight: int | None = None

    def of(self, run: Run) -> int | None:
        """Of this model; None: the whole gallery, or there is no reranker."""
        reranker = run.model.reranker
        if reranker is None:
            return None
        return self.tight if isinstance(reranker, CrossTransformer) else self.cross


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one model answered, query by query.

    Attributes:
        system, seed, fingerprint: of the model (:class:`.runs.Run`).
        content_hash: of the slice.
        rerank_depth: candidates of a query; None: all of them, or no reranker.
        ranks: 1-based rank of every query's first right answer, by direction, ties against us.
        tied: by direction, queries whose right answer has exactly the similarity of a wrong one.
        choices: of a paired slice: 1, 0 or 0.5 a query, by direction (:meth:`.PairedSlice.choices`).
        overlaps: of the slice of moments: IoU of the best moment with the true one for every text, when the ``video``
            is known, and in the whole ``gallery``, where another video counts as 0.
    """

    system: str
    seed: int
    fingerprint: str
    content_hash: str
    rerank_depth: int | None
    ranks: dict[str, list[int]]
    tied: dict[str, int]
    choices: dict[str, list[float]] = field(default_factory=dict)
    overlaps: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Keep it in a folder, whole or not at all.

        Raises:
            InputError: the folder cannot be written.
        """
        path = folder / _file_name(self.system, self.seed, self.fingerprint, self.rerank_depth, self.ranks)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps({"format": FORMAT, **asdict(self)}), encoding="utf-8")
            os.replace(unfinished, path)
        except OSError as error:
            raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None

    @classmethod
    def read(
        cls, folder: Path, run: Run, gallery: Slice, depth: int | None, directions: tuple[Direction, ...]
    ) -> Answered | None:
        """What was kept of this model on this slice; None where there is nothing, or it is of another slice."""
        path = folder / _file_name(run.system, run.seed, run.fingerprint, depth, directions)
        try:
            held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if held.pop("format") != FORMAT or held["content_hash"] != gallery.content_hash:
                return None
            return cls(**held)
        except (OSError, ValueError, KeyError, TypeError):  # measured again
            return None


def answer(
    run: Run,
    gallery: Slice,
    features: Features,
    *,
    depths: Depths | None = None,
    directions: tuple[Direction, ...] = DIRECTIONS,
    windows: Windows | None = None,
) -> Answered:
    """Answer every query of a slice.

    Args:
        features: of its texts and videos.
        depths: of rerankers; default: CrossTVR's 15, and the whole gallery for the tight transformer.
        directions: only ``t2v`` spares a reranker half of its work.
        windows: of the slice of moments: what its videos are cut into.
    """
    started = time.monotonic()
    depth = (depths or Depths()).of(run)
    t2v, v2t = both_scores(run, features, depth=depth, directions=directions)
    done = evaluate_similarity(t2v, relevance=gallery.relevance, v2t_similarity=v2t)
    choices: dict[str, list[float]] = {}
    if isinstance(gallery, PairedSlice):
        choices["t2v"] = gallery.choices(t2v.numpy())[0].tolist()
        if "v2t" in directions:
            choices["v2t"] = gallery.choices(v2t.numpy())[1].tolist()
    overlaps: dict[str, list[float]] = {}
    if isinstance(gallery, MomentSlice) and windows is not None:
        overlaps = {where: iou.tolist() for where, iou in windows.overlaps(run, depth=depth).items()}
    return Answered(
        system=run.system,
        seed=run.seed,
        fingerprint=run.fingerprint,
        content_hash=gallery.content_hash,
        rerank_depth=depth,
        ranks={way: done.answers[way].rank.tolist() for way in directions},
        tied={way: done.answers[way].tied for way in directions},
        choices=choices,
        overlaps=overlaps,
        seconds=round(time.monotonic() - started, 2),
    )


def both_scores(
    run: Run, features: Features, *, depth: int | None, directions: tuple[Direction, ...] = DIRECTIONS
) -> tuple[Float[Tensor, "text video"], Float[Tensor, "text video"]]:
    """The matrices that t2v and v2t rank, on the CPU: one and the same, unless a reranker sees a part of each."""
    model = run.model
    similarity = similarity_matrix(model.matcher, features.text(run), features.video(run)).float().cpu()
    if model.reranker is None:
        return similarity, similarity
    text, video = features.reranked(run)
    all_of_them = max(similarity.shape)
    seen = all_of_them if depth is None else depth
    t2v = rerank_similarity(similarity, model.reranker, text, video, direction="t2v", depth=seen).cpu()
    if seen >= all_of_them or "v2t" not in directions:
        return t2v, t2v
    v2t = rerank_similarity(similarity, model.reranker, text, video, direction="v2t", depth=seen)
    return t2v, v2t.cpu()


def _file_name(
    system: str, seed: int, fingerprint: str, depth: int | None, directions: dict[str, Any] | tuple[str, ...]
) -> str:
    seen = "all" if depth is None else str(depth)
    return f"{system}-seed-{seed}-{fingerprint[:16]}-{seen}-{'-'.join(directions)}.json"
