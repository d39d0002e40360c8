"""``python driver.py ADDRESS INDEX FOLDER``: framesift index --ray, but that it counts what is encoded."""

from __future__ import annotations

import sys

from framesift.index import Index
from framesift.jobs import ray_index
from framesift.jobs.cluster import connected
from integration.ray.counting import CountingEncoder

if __name__ == "__main__":
    address, path, folder = sys.argv[1:]
    with connected(address) as cluster, Index.open(path) as index:
        ray_index.add(
            index,
            folder,
            cluster,
            progress=lambda progress: print(progress.done, "of", progress.total, flush=True),
            encoder=CountingEncoder,
        )
