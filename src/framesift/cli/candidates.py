"""Options of the verbs that search: which engine proposes what is compared frame by frame."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..candidates import CandidateConfig

__all__ = [
    "CANDIDATES_BY_OPTION",
    "CANDIDATES_OPTION",
    "MILVUS_COLLECTION_OPTION",
    "MILVUS_URI_OPTION",
    "Engine",
    "FoundBy",
    "candidate_config",
]


class Engine(StrEnum):
    """What proposes candidates."""

    auto = "auto"
    exact = "exact"
    faiss = "faiss"
    milvus = "milvus"


class FoundBy(StrEnum):
    """What of a moment is compared with the query first."""

    auto = "auto"
    mean = "mean"
    scene = "scene"
    frame = "frame"


CANDIDATES_OPTION = typer.Option(
    Engine.auto,
    "--candidates",
    help="What proposes the moments that are compared frame by frame. exact: all are scored. faiss: short codes are, "
    "and the best again exactly. milvus: a server, see framesift milvus. auto: exact up to 100,000 moments, else "
    "faiss.",
)
CANDIDATES_BY_OPTION = typer.Option(
    FoundBy.auto,
    "--candidates-by",
    help="What a moment is proposed by. mean: the mean of its frames. scene: its best scene or pair of scenes. frame: "
    "its best frame; a large index needs framesift index --refresh-cache --frame-candidates before. auto: scene, but "
    "mean for models that score by the mean, and with milvus.",
)
MILVUS_URI_OPTION = typer.Option(
    None,
    "--milvus-uri",
    metavar="URI",
    envvar="FRAMESIFT_MILVUS_URI",
    help="With --candidates milvus: the server, http://HOST:19530, or a Milvus Lite file.",
)
MILVUS_COLLECTION_OPTION = typer.Option(
    None,
    "--milvus-collection",
    metavar="NAME",
    help="With --candidates milvus: its collection. Default: framesift_ and the index' name.",
)


def candidate_config(
    engine: Engine, by: FoundBy, milvus_uri: str | None, milvus_collection: str | None
) -> CandidateConfig:
    """The configuration that the options mean.

    Raises:
        InputError: Milvus is asked for, and nobody says where it is; a small index would not notice.
    """
    if engine is Engine.milvus and not milvus_uri:
        raise InputError(
            "--candidates milvus needs the address of the server: --milvus-uri http://HOST:19530, or the environment "
            "variable FRAMESIFT_MILVUS_URI"
        )
    from ..candidates import CandidateConfig

    return CandidateConfig(
        kind=engine.value, by=by.value, milvus_uri=milvus_uri, milvus_collection=milvus_collection
    )
