"""What ``/metrics`` tells, in the text format of Prometheus. The registry is the application's own."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.types import Scope

from ..errors import FramesiftError
from .cache import FileCache
from .jobs import Jobs

if TYPE_CHECKING:
    from .library import Libraries

__all__ = ["Measures"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class _Accepting(Protocol):
    @property
    def accepted(self) -> int: ...


class Measures:
    """Counters of requests, and gauges that are read when they are asked for.

    Attributes:
        queries: searches that were asked.
    """

    def __init__(
        self, libraries: Libraries, pools: Mapping[str, _Accepting], cache: FileCache, jobs: Jobs
    ) -> None:
        self._libraries, self._pools, self._cache, self._jobs = libraries, pools, cache, jobs
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "framesift_requests", "HTTP requests", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "framesift_request_seconds",
            "Time to the end of the answer",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.queries = Counter("framesift_queries", "Searches", registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def observe(self, scope: Scope, status: int, took_s: float) -> None:
        """Count a request; under its route's pattern, so that identifiers make no series of their own."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"  # a client can name any
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The gauges; called by the registry."""
        waiting = GaugeMetricFamily("framesift_accepted", "Work that runs or waits", labels=["kind"])
        for kind, pool in self._pools.items():
            waiting.add_metric([kind], pool.accepted)
        yield waiting
        yield GaugeMetricFamily("framesift_cache_bytes", "Pictures and clips on disk", self._cache.size_bytes)
        states = GaugeMetricFamily("framesift_jobs", "Index jobs", labels=["index", "state"])
        for (index, state), count in Tally((job.index, job.state) for job in self._jobs.jobs()).items():
            states.add_metric([index, state], count)
        yield states
        videos = GaugeMetricFamily("framesift_videos", "Files of an index", labels=["index", "status"])
        moments = GaugeMetricFamily("framesift_moments", "Moments of an index", labels=["index"])
        for library in self._libraries:
            with suppress(
                FramesiftError
            ):  # an index that cannot be read is no reason to say nothing of the others
                records = library.catalogue.records
                moments.add_metric([library.name], len(library.listing))
                for status, count in Tally(record.status for record in records).items():
                    videos.add_metric([library.name, status], count)
        yield videos
        yield moments
