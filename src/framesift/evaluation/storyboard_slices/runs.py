"""The trained models of a family: ``RUNS/SYSTEM/seed-N/model`` are directories that :func:`.hub.load` reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config import to_dict
from ...encoders import Encoder
from ...encoders.patches import PatchEncoder
from ...encoders.weights import hash_state
from ...errors import InputError, suggest
from ...hub import RERANKER_FOLDER, load, load_image_encoder
from ...model import RetrievalModel

__all__ = ["BASELINE", "FAMILY", "Found", "Run", "find_runs", "load_runs", "references"]

FAMILY = {
    "mean-pool": "mean-pool",
    "top-k": "top-k",
    "softmax-pool": "softmax-pool",
    "xpool": "X-Pool",
    "seqtransf": "CLIP4Clip seqTransf",
    "seqlstm": "CLIP4Clip seqLSTM",
    "tight": "CLIP4Clip tightTransf",
    "xclip": "X-CLIP",
    "ts2net": "TS2-Net",
    "crosstvr-xpool": "CrossTVR over X-Pool",
    "crosstvr-seqtransf": "CrossTVR over CLIP4Clip seqTransf",
    "crosstvr-ts2net": "CrossTVR over TS2-Net",
}
"""Folder of a system -> its name in tables, in their order. Other folders keep their names and come last."""

BASELINE = "mean-pool"
SECOND_STAGE = "crosstvr-"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model directory of a system, by its folder's name, and the seed that it was trained with."""

    system: str
    seed: int
    directory: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained model.

    Attributes:
        system: its folder.
        seed: of its training.
        model: ready for inference; models of one encoder share the object.
        images: frozen encoder of its reranker, where that has one of its own.
        encoder, features, tokens: fingerprints of what encodes its frames and texts, of its features of videos
            (:meth:`.RetrievalModel.fingerprint`), and of what makes the patch tokens of its reranker, if it reads any.
        fingerprint: of everything that decides a score.
    """

    system: str
    seed: int
    model: RetrievalModel
    images: PatchEncoder | None
    encoder: str
    features: str
    tokens: str | None
    fingerprint: str

    @property
    def name(self) -> str:
        """In tables and messages."""
        return FAMILY.get(self.system, self.system)

    def __repr__(self) -> str:
        return f"<Run {self.name}, seed {self.seed}>"


def references(system: str) -> tuple[str, ...]:
    """The systems that this one is compared with, query by query: the baseline, and the stage before it."""
    first_stage = (system.removeprefix(SECOND_STAGE),) if system.startswith(SECOND_STAGE) else ()
    return tuple(other for other in (BASELINE, *first_stage) if other != system)


def find_runs(folder: Path, systems: Sequence[str] | None = None) -> list[Found]:
    """All models of a folder, or those of some systems, in the order of :data:`FAMILY` and of seeds.

    Raises:
        InputError: there is no such folder, or no model of a system that was asked for.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder; expected SYSTEM/seed-N/model in it")
    found: list[Found] = []
    for directory in folder.glob("*/seed-*/model"):
        seed = re.fullmatch(r"seed-(\d+)", directory.parent.name)
        if seed and directory.is_dir():
            system = directory.parent.parent.name
            found.append(Found(system=system, seed=int(seed[1]), directory=directory))
    there = {one.system for one in found}
    for system in systems or ():
        if system not in there:
            known = ", ".join(sorted(there)) or "none"
            raise InputError(
                f"{str(folder)!r} holds no model of {system!r}{suggest(system, there)} (there are: {known})"
            )
    if not found:
        raise InputError(f"{str(folder)!r} holds no model; expected directories SYSTEM/seed-N/model")
    order = {system: place for place, system in enumerate(FAMILY)}
    chosen = [one for one in found if systems is None or one.system in systems]
    return sorted(chosen, key=lambda one: (order.get(one.system, len(order)), one.system, one.seed))


def load_runs(found: Sequence[Found], *, device: str = "cpu") -> list[Run]:
    """Load models; encoders that are equal are kept once.

    Raises:
        ModelError: a directory is damaged, or an encoder cannot be had.
    """
    encoders: dict[str, Encoder] = {}
    images: dict[str, PatchEncoder] = {}
    return [_load(one, encoders, images, device=device) for one in found]


def _load(one: Found, encoders: dict[str, Encoder], images: dict[str, PatchEncoder], *, device: str) -> Run:
    model = load(one.directory, device=device)
    encoder = model.encoder.fingerprint()
    model.encoder = encoders.setdefault(encoder, model.encoder)
    reranker = model.reranker
    own, tokens = None, None
    if reranker is not None and reranker.reads_patches:
        tokens = encoder
        if reranker.image_encoder:
            if reranker.image_encoder not in images:
                images[reranker.image_encoder] = load_image_encoder(
                    reranker.image_encoder, device=model.device, dtype=model.encoder.dtype
                )
            own = images[reranker.image_encoder]
            tokens = own.fingerprint()
    features = model.fingerprint()
    head = {name: x for name, x in model.state_dict().items() if not name.startswith("encoder.")}
    parts = {
        "features": features,
        "tokens": tokens,
        "num_frames": model.num_frames,
        "matcher": [model.matcher.name, to_dict(model.matcher.config)],
        "reranker": None if reranker is None else [reranker.name, to_dict(reranker.config)],
        "head": hash_state(head),
        "files": [
            [path.name, hashlib.sha256(path.read_bytes()).hexdigest()]
            for path in sorted((one.directory / RERANKER_FOLDER).glob("*"))
        ],
    }
    return Run(
        system=one.system,
        seed=one.seed,
        model=model,
        images=own,
        encoder=encoder,
        features=features,
        tokens=tokens,
        fingerprint=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32],
    )
