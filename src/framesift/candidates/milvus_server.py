"""A Milvus server as framesift uses it: one collection of moments a generation, found under an alias.

Milvus holds of each moment its id, its vector and a digest of both; everything else stays in the tables of the index,
from which all of it can be made again. Readers ask the alias, which points at a collection only once
that one is complete; the collections behind it are numbered. What a collection holds is written into its properties.

pymilvus stays in this module. Tried against Milvus Lite 3.2 only, not yet against a cluster.
"""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..errors import IndexStateError, InputError, MissingExtraError
from .milvus_stamp import FORMAT, Collection, Stamp

__all__ = ["MOST_HITS", "TOKEN_VARIABLE", "MilvusServer"]

TOKEN_VARIABLE = "FRAMESIFT_MILVUS_TOKEN"
MOST_HITS = 16_384  # Milvus' limit on the rows of an answer
HITS_AT_ONCE = 1 << 17  # ids of an answer to several queries: some 8 MiB, far below gRPC's limit of 64 MiB
LISTED_AT_ONCE = 8_192
DELETED_AT_ONCE = 4_096
MISSING = 100  # CollectionNotFound in Milvus' error codes (pkg/util/merr)
UNAUTHENTICATED = 1400

# HNSW as in Milvus' own examples, somewhat denser: the exact scores decide later, recall is all that matters here.
INDEX = {"M": 32, "efConstruction": 200}
LEAST_EF = 256

ID_BYTES = 128


class MilvusServer:
    """A connection to a Milvus server, or to a Milvus Lite file.

    Args:
        uri: ``http://host:19530``, ``https://...``, or the path of a Milvus Lite file, which ends in ``.db``; that one
            serves a single process at a time, by a thread that listens on a free port of 127.0.0.1.
        token: ``user:password`` or an API key.
        timeout_s: how long to wait for the server before a call fails, retries included.

    Raises:
        InputError: ``uri`` is none, or carries a password.
        IndexStateError: no server answers there, or it does not know the token.
        MissingExtraError: pymilvus is not installed.
    """

    def __init__(self, uri: str, *, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.uri = _checked(uri)
        self._timeout_s = timeout_s
        self._milvus = _pymilvus(lite=self.uri.endswith(".db"))
        with self._errors("connect to"):
            self._client = self._milvus.MilvusClient(self.uri, token=token or "", timeout=timeout_s)

    def __repr__(self) -> str:
        return f"<MilvusServer {self.uri}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection. The thread of a Milvus Lite file ends with the process."""
        self._client.close()

    # ---- what is there

    def find(self, name: str) -> Collection | None:
        """The collection that a name or alias stands for; None if there is none.

        Raises:
            IndexStateError: it is not one of framesift's, or of another format.
        """
        found = self.behind(name)
        if found is not None and found.stamp.format != FORMAT:
            raise IndexStateError(
                f"the collection {name!r} at {self.uri} has format {found.stamp.format}, this framesift knows format "
                f"{FORMAT}; fill it again with: framesift milvus rebuild"
            )
        return found

    def behind(self, name: str) -> Collection | None:
        """As :meth:`find`, of whatever format."""
        found = self._described(name)
        if found is None:
            return None
        stamp = Stamp.from_properties(found.get("properties") or {})
        if stamp is None:
            raise IndexStateError(
                f"the collection {name!r} at {self.uri} was not made by framesift; name another with --collection"
            )
        return Collection(name=found["collection_name"], stamp=stamp)

    def generations(self, alias: str) -> dict[int, Stamp | None]:
        """Number -> stamp of all collections that were made for an alias, whether it points at them or not."""
        pattern = re.compile(re.escape(alias) + r"_(\d+)")
        with self._errors("ask"):
            names: list[str] = self._client.list_collections(timeout=self._timeout_s)
        made: dict[int, Stamp | None] = {}
        for name in names:
            if (match := pattern.fullmatch(name)) and (found := self._described(name)) is not None:
                made[int(match[1])] = Stamp.from_properties(found.get("properties") or {})
        return dict(sorted(made.items()))

    def load(self, name: str) -> None:
        """Have a collection ready to be searched and read, as it is not after a Milvus Lite file was opened again."""
        with self._errors("load a collection of"):
            state = self._client.get_load_state(name, timeout=self._timeout_s)["state"]
            if getattr(state, "name", state) != "Loaded":
                self._client.load_collection(name, timeout=self._timeout_s)

    def count(self, name: str) -> int:
        """Moments in a collection."""
        with self._errors("ask"):
            answer = self._client.query(
                name, output_fields=["count(*)"], consistency_level="Strong", timeout=self._timeout_s
            )
            return int(answer[0]["count(*)"])

    def digests(self, name: str) -> Iterator[tuple[list[str], NDArray[np.int64]]]:
        """All that a collection holds, in pieces: moment ids, and the digests of the moments."""
        with self._errors("read from"):
            pages = self._client.query_iterator(
                name,
                batch_size=LISTED_AT_ONCE,
                output_fields=["moment_id", "digest"],
                consistency_level="Strong",
                timeout=self._timeout_s,
            )
            try:
                while page := pages.next():
                    digests = np.array([row["digest"] for row in page], np.int64)
                    yield [row["moment_id"] for row in page], digests
            finally:
                pages.close()

    def search(self, name: str, queries: NDArray[np.float32], limit: int) -> list[list[str]]:
        """The moments nearest to each query, best first, as far as Milvus' index finds them.

        Args:
            name: alias or collection.
            queries: unit vectors, ``[query, dim]``.
            limit: how many, up to ``MOST_HITS``.
        """
        step = max(1, HITS_AT_ONCE // limit)
        found: list[list[str]] = []
        with self._errors("search"):
            for first in range(0, len(queries), step):
                answer = self._client.search(
                    name,
                    data=list(queries[first : first + step]),
                    anns_field="vector",
                    limit=limit,
                    output_fields=["moment_id"],
                    search_params={"metric_type": "IP", "params": {"ef": max(LEAST_EF, 2 * limit)}},
                    timeout=self._timeout_s,
                )
                found += [[hit["moment_id"] for hit in hits] for hits in answer]
        return found

    # ---- changing it

    def create(self, name: str, stamp: Stamp) -> None:
        """Make an empty collection, indexed and loaded."""
        kinds = self._milvus.DataType
        schema = self._milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("moment_id", kinds.VARCHAR, is_primary=True, max_length=ID_BYTES)
        schema.add_field("digest", kinds.INT64)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=stamp.dim)
        index = self._milvus.MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=INDEX)
        with self._errors("make a collection at"):
            self._client.create_collection(
                name,
                schema=schema,
                index_params=index,
                properties=stamp.to_properties(),
                consistency_level="Bounded",
                timeout=self._timeout_s,
            )

    def stamp(self, name: str, stamp: Stamp) -> None:
        """Say what a collection holds."""
        with self._errors("write to"):
            self._client.alter_collection_properties(name, stamp.to_properties(), timeout=self._timeout_s)

    def upsert(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Put rows in, in place of those with the same ids."""
        with self._errors("write to"):
            self._client.upsert(name, rows, timeout=self._timeout_s)

    def delete(self, name: str, moment_ids: Sequence[str]) -> None:
        """Delete rows."""
        with self._errors("write to"):
            for first in range(0, len(moment_ids), DELETED_AT_ONCE):
                some = list(moment_ids[first : first + DELETED_AT_ONCE])
                self._client.delete(name, ids=some, timeout=self._timeout_s)

    def settle(self, name: str, *, wait_s: float) -> None:
        """Have what was written so far sealed, and wait until it is indexed, or ``wait_s`` seconds have passed.

        What is not indexed yet is found all the same, only not so quickly.
        """
        with self._errors("write to"):
            self._client.flush(name, timeout=max(self._timeout_s, wait_s))
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                state = self._client.describe_index(name, "vector", timeout=self._timeout_s) or {}
                if not int(state.get("pending_index_rows", 0)):
                    return
                time.sleep(1.0)

    def point(self, alias: str, name: str) -> None:
        """Make an alias stand for a collection, from one search to the next."""
        known = self._described(alias) is not None
        with self._errors("write to"):
            change = self._client.alter_alias if known else self._client.create_alias
            change(name, alias, timeout=self._timeout_s)

    def drop(self, name: str) -> None:
        """Delete a collection that no alias stands for."""
        with self._errors("write to"):
            self._client.drop_collection(name, timeout=self._timeout_s)

    # ---- around it

    def _described(self, name: str) -> dict[str, Any] | None:
        try:
            with self._errors("ask"):
                return self._client.describe_collection(name, timeout=self._timeout_s)
        except IndexStateError as error:
            if getattr(error.__cause__, "code", None) == MISSING:
                return None
            raise

    @contextmanager
    def _errors(self, action: str) -> Generator[None]:
        """Turn what pymilvus and gRPC raise into errors that say what to do."""
        grpc = importlib.import_module("grpc")
        try:
            yield
        except (self._milvus.MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            code, reason = (
                getattr(error, "code", None),
                " ".join(str(getattr(error, "message", error)).split()),
            )
            raise IndexStateError(
                f"cannot {action} Milvus at {self.uri}: {reason}{_advice(code, reason)}"
            ) from error


def _checked(uri: str) -> str:
    if uri.endswith(".db") and "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.username or parts.password:
        raise InputError(
            f"the address of {parts.hostname} carries a user name or password, which would end up in logs; leave it "
            f"out, and put user:password into the environment variable {TOKEN_VARIABLE}"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{uri!r} is no address of a Milvus server; it is http://HOST:19530, https://HOST, or the path of a Milvus "
            "Lite file that ends in .db"
        )
    return uri


def _pymilvus(*, lite: bool) -> Any:
    try:
        milvus = importlib.import_module("pymilvus")
    except ImportError as error:
        raise MissingExtraError("pymilvus", "milvus") from error
    # It prints a stack trace for every error that it raises as well, with a handler of its own; so does Milvus Lite.
    for name in ("pymilvus", "pymilvus.milvus_client", *(("milvus_lite", "grpc._server") if lite else ())):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return milvus


def _advice(code: object, reason: str) -> str:
    if code == MISSING:
        return "; fill it with: framesift milvus sync"
    if "milvus-lite is required" in reason:
        return " (pip install milvus-lite)"
    if "Open local milvus failed" in reason:
        return "; a Milvus Lite file lies in a folder that exists, and is open in one process at a time"
    if code == UNAUTHENTICATED or "auth" in reason.lower():
        return f"; put user:password, or an API key, into the environment variable {TOKEN_VARIABLE}"
    if "connecting to server" in reason or "UNAVAILABLE" in reason or "Retry" in reason or "imeout" in reason:
        return "; is it running there, and can it be reached from this machine?"
    return ""
