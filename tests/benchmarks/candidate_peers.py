"""What framesift's candidate engines are compared with: the same search as others do it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["PEERS", "RESCORED", "Peer", "lancedb_flat", "numpy_fp32", "torch_int8"]

Floats = NDArray[np.float32]
Peer = Callable[[Floats, int], NDArray[np.int64]]
"""A query ``[dim]`` and a depth to the rows found, best first."""

RESCORED = 300  # performance.md
ROWS_A_FILE = 100_000


def numpy_fp32(vectors: Floats, folder: Path) -> tuple[Peer, int]:
    """One matrix product, and the best of it."""

    def search(query: Floats, depth: int) -> NDArray[np.int64]:
        scores = vectors @ query
        best = np.argpartition(scores, len(scores) - depth)[-depth:]
        return best[np.argsort(-scores[best])]

    return search, vectors.nbytes


def torch_int8(vectors: Floats, folder: Path) -> tuple[Peer, int]:
    """Rows as int8 with a scale each, the query quantised as it comes, and the best scored again in float32."""
    rows = torch.from_numpy(vectors)
    scales = rows.abs().amax(dim=1).double() / 127
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that quantised tensors will move to a package of their own
        coded = torch.quantize_per_channel(rows, scales, zeros, 0, torch.qint8)
    weight = torch.ops.quantized.linear_prepack(coded, None)
    del coded

    def search(query: Floats, depth: int) -> NDArray[np.int64]:
        scores = torch.ops.quantized.linear_dynamic(torch.from_numpy(query)[None], weight)[0]
        some = scores.topk(min(max(RESCORED, depth), len(rows)), sorted=False).indices.numpy()
        exact = vectors[some] @ query
        return some[np.argsort(-exact)[:depth]]

    return search, vectors.shape[0] * (vectors.shape[1] + 4)


def lancedb_flat(vectors: Floats, folder: Path) -> tuple[Peer, int]:
    """A LanceDB table without an index, which it then reads through."""
    import lancedb
    import pyarrow as pa

    width = vectors.shape[1]

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, len(vectors), ROWS_A_FILE):
            some = np.ascontiguousarray(vectors[first : first + ROWS_A_FILE]).reshape(-1)
            column = pa.FixedSizeListArray.from_arrays(pa.array(some), width)
            rows = pa.array(np.arange(first, first + len(column)))
            yield pa.RecordBatch.from_arrays([rows, column], names=["row", "vector"])

    schema = pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), width))])
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    table = lancedb.connect(str(folder / "lancedb")).create_table("moments", reader)

    def search(query: Floats, depth: int) -> NDArray[np.int64]:
        found = table.search(query).distance_type("dot").select(["row", "_distance"]).limit(depth).to_arrow()
        return found["row"].to_numpy()

    files = (folder / "lancedb").rglob("*")
    return search, sum(file.stat().st_size for file in files if file.is_file())


PEERS: dict[str, Callable[[Floats, Path], tuple[Peer, int]]] = {
    "numpy fp32": numpy_fp32,
    "torch int8, 300 rescored": torch_int8,
    "LanceDB flat": lancedb_flat,
}
