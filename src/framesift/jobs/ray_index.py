"""``framesift index --ray``: the files of a build are read and encoded by a cluster, and committed here.

The driver plans the build as ever, cuts its files into chunks, and lets Ray Data's actors turn each into rows. A chunk
comes back whole and is committed by one append, under the writer's lock that this process holds: committed rows are
the ledger of what is done. A chunk whose node dies before it has come back is given to another; if this process dies,
the next build plans without the files that were committed. Ray's own writer of Lance tables is not used: it commits at
the very end only, so that a killed driver would lose everything.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.data
from ray.data.exceptions import ExecutionTimeoutError, SystemException
from ray.exceptions import RayError

from ..errors import ClusterError, IndexLockedError, InputError
from ..index.build import BuildConfig, BuildReport, Progress
from ..index.files import Todo
from ..index.schema import IndexMeta
from .chunks import Chunk, ChunkEncoder, Loading, Outcome
from .cluster import Cluster, check_nodes

if TYPE_CHECKING:
    from ..index import Index
    from ..index.encoding import Encoded

__all__ = ["CHUNK_VIDEOS", "add", "chunks_of", "encode_on"]

CHUNK_VIDEOS = 32
"""Videos that are lost when a node dies, per actor on it; and how many an append brings. A video of 15 s takes about a
CPU second, so that a chunk is half a minute's work."""

CHUNKS_PER_ACTOR = 4  # at least, where there are enough videos: so that all end at about the same time
CHECKED_FILES = 16
START_S = 1800.0  # until a first chunk comes: nodes may have to download the model


def add(
    index: Index,
    paths: str | Path | Iterable[str | Path],
    cluster: Cluster,
    *,
    loading: Loading | None = None,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    config: BuildConfig | None = None,
    encoder: type[ChunkEncoder] = ChunkEncoder,
) -> BuildReport:
    """What :meth:`.Index.add` does, with the same result, by a cluster.

    Args:
        index: it.
        paths: as for :meth:`.Index.add`; all nodes must see the files at the same paths.
        cluster: whose nodes read and encode.
        loading: how the nodes load the model; default: by the name that the index knows it by. Device ``auto`` takes
            GPUs where every node has one, else CPUs.
        include, exclude: as for :meth:`.Index.add`.
        progress: called at the start and after every chunk.
        config: as for :meth:`.Index.add`, but that ``workers`` are the decoding processes, and CPUs, of each actor
            (default 1), and that commits go by chunks.
        encoder: the actor.

    Raises:
        InputError, IndexLockedError: as for :meth:`.Index.add`; also, the model has no name to be loaded by.
        ClusterError: a node does not see the files or cannot run framesift, or too much of the cluster was lost. What
            was committed stays, and the same call goes on from there.
        ModelError, FingerprintError: a node cannot load the model, or loads another one.
    """
    config = config or BuildConfig()
    if config.workers == 0:
        raise InputError(
            "workers must be 1 or more on a cluster: files are always decoded in processes there"
        )
    reference = loading.reference if loading is not None else index.info().model
    if reference is None:
        raise InputError(
            f"the index {str(index.path)!r} was built with a model that has no name, by which the nodes of a cluster "
            "could load it; save the model to a shared folder, and name that with --model"
        )
    report = index.add(
        paths,
        include=include,
        exclude=exclude,
        progress=progress,
        # every chunk is an append of its own
        config=replace(config, workers=config.workers or 1, commit_videos=1),
        encode=encode_on(cluster, loading or Loading(reference=reference), encoder=encoder),
    )
    if report.added + report.replaced:
        with suppress(IndexLockedError):  # whoever writes by now will compact what there is
            index.compact()  # before anything is built from the tables: chunks leave many small fragments
    return report


def encode_on(
    cluster: Cluster, loading: Loading, *, encoder: type[ChunkEncoder] = ChunkEncoder
) -> Callable[..., Generator[Encoded]]:
    """An :class:`.Encode` whose work is done by the nodes of a cluster."""

    def encode(todo: Sequence[Todo], meta: IndexMeta, config: BuildConfig) -> Generator[Encoded]:
        step = max(1, len(todo) // CHECKED_FILES)
        nodes = check_nodes(cluster, [file.uri for file, _ in todo[::step]])
        on_gpu = loading.device.startswith("cuda") or (
            loading.device == "auto" and all(node.gpus for node in nodes)
        )
        # Ray shows an actor the one GPU that it has, and others that have none may see all of them
        loaded = replace(loading, device="cuda" if on_gpu else "cpu")
        cpus = config.workers or 1
        actors = sum(min(node.gpus, node.cpus // cpus) if on_gpu else node.cpus // cpus for node in nodes)
        if not actors:
            wanted = f"{cpus} CPUs" + (" and a GPU" if on_gpu else "")
            raise ClusterError(f"no node of the cluster has {wanted}, as --workers and --device ask for")
        chunks = chunks_of(todo, actors)
        total_bytes = sum(file.size_bytes for file, _ in todo)
        outcomes = _outcomes(
            encoder,
            chunks,
            (meta, config, loaded, total_bytes),
            actors=actors,
            cpus=cpus,
            gpus=int(on_gpu),
            silent_s=START_S + CHUNK_VIDEOS * config.timeout_s,
        )
        seen: set[int] = set()
        try:
            for outcome in outcomes:
                if outcome.failure is not None:
                    raise outcome.failure
                if outcome.encoded is None or outcome.number in seen:
                    continue  # a chunk is taken once, whatever Ray does
                seen.add(outcome.number)
                yield outcome.encoded
        except (RayError, ExecutionTimeoutError, SystemException) as error:
            raise ClusterError(
                f"the cluster failed: {next(iter(str(error).splitlines()), type(error).__name__)}; what was committed "
                "is kept, and the same command goes on from there"
            ) from error
        if len(seen) < len(chunks):
            raise ClusterError(
                f"the cluster gave back {len(seen)} of {len(chunks)} chunks; what was committed is kept, and the same "
                "command goes on from there"
            )

    return encode


def chunks_of(todo: Sequence[Todo], actors: int) -> list[Chunk]:
    """The files in chunks of at most :data:`CHUNK_VIDEOS`, of fewer where they would not occupy all actors."""
    size = max(1, min(CHUNK_VIDEOS, len(todo) // (CHUNKS_PER_ACTOR * actors)))
    starts = range(0, len(todo), size)
    return [Chunk(number=i, todo=todo[first : first + size]) for i, first in enumerate(starts)]


def _outcomes(
    encoder: type[ChunkEncoder],
    chunks: Sequence[Chunk],
    arguments: tuple[Any, ...],
    *,
    actors: int,
    cpus: int,
    gpus: int,
    silent_s: float,
) -> Generator[Outcome]:
    """What became of each chunk, in the order in which they are done; ``silent_s`` without any is a failure."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = silent_s
    rows = [{"chunk": pickle.dumps(chunk)} for chunk in chunks]
    # a block a chunk: Ray gives out blocks, hands on what became of one when it is whole, and does it again where not
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        encoder,
        fn_constructor_args=arguments,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=actors, initial_size=actors, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    logging.getLogger("ray.data").setLevel(
        logging.ERROR
    )  # making a dataset sets it; we tell of progress ourselves
    for row in dataset.iter_rows():
        yield pickle.loads(row["outcome"])
