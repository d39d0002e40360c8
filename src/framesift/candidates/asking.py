"""What every engine demands of a search before it starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError

__all__ = ["checked_queries"]


def checked_queries(
    queries: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_] | None, *, rows: int, dim: int
) -> NDArray[np.float32]:
    """The queries as contiguous float32, ``[query, dim]``, if the search can be answered at all.

    Args:
        queries: what the caller gave.
        depth: how many rows are wanted.
        allowed: the caller's filter.
        rows: how many rows the engine has.
        dim: the width of its vectors.

    Raises:
        InputError: ``depth`` is less than 1; a query is zero or not finite, which would match anything; ``allowed`` is
            not boolean, and would be read as row numbers.
        ShapeError: ``queries`` are not ``[query, dim]``, or ``allowed`` is not ``[row]``.
    """
    if depth < 1:
        raise InputError(f"depth is {depth}; it must be at least 1")
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ShapeError("queries", expected=f"[query, {dim}]", got=list(queries.shape))
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    usable = np.isfinite(queries).all(axis=1) & (queries != 0).any(axis=1)
    if not usable.all():
        raise InputError(
            f"query {int(np.argmin(usable))} is zero or not finite, so that every row would match it equally; "
            "encode its text again"
        )
    if allowed is not None:
        if allowed.dtype != np.bool_:
            raise InputError(f"allowed is of type {allowed.dtype}; it must be boolean, one value a row")
        if allowed.shape != (rows,):
            raise ShapeError("allowed", expected=f"[{rows}], one value a row", got=list(allowed.shape))
    return queries
