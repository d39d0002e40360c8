"""Clients that ask a server again and again, and remember what did not go well."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

__all__ = ["Load"]

REQUEST_S = 60.0


class Load:
    """So many clients, each a thread that waits for its answer before it asks again; a context manager.

    Attributes:
        statuses: how often each HTTP status came, or the name of the error that came instead.
        took_s: of every request.
        said: headers and text of answers that were not 200.
    """

    def __init__(self, url: str, queries: Sequence[str], headers: dict[str, str], *, clients: int) -> None:
        self.statuses: Counter[str] = Counter()
        self.took_s: list[float] = []
        self.said: list[str] = []
        self._url, self._queries, self._headers = url, queries, headers
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=REQUEST_S) as client:
            while not self._stop.is_set():
                query = self._queries[number % len(self._queries)]
                number += 1
                began = time.monotonic()
                try:
                    answer = client.get("/api/search", params={"q": query, "k": 5})
                    status = str(answer.status_code)
                    if status != "200":
                        self.said.append(f"{dict(answer.headers)} {answer.text[:500]}")
                except httpx.HTTPError as error:
                    status = type(error).__name__
                self.took_s.append(time.monotonic() - began)
                self.statuses[status] += 1

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(self.statuses.values()) - self.statuses["200"]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON."""
        ordered = sorted(self.took_s)
        return {
            "requests": len(ordered),
            "failed": self.failed,
            "statuses": dict(self.statuses),
            "said": self.said[:5],
            "p50_ms": round(1000 * ordered[len(ordered) // 2], 1) if ordered else None,
            "max_ms": round(1000 * ordered[-1], 1) if ordered else None,
        }
