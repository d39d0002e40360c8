"""Candidates from Milvus against exact scoring: the same hits after matching, and what filling a collection takes.

    python tests/benchmarks/bench_milvus.py --json results/bench-milvus.json

An index of Storyboard-like moments (growth_gallery.py, growth_index.py) is filled into a Milvus Lite file, asked, cut,
brought up to date, rebuilt from its tables, and asked again; the file is then deleted, made once more from the
tables alone, and asked a third time. Queries are captions of planted videos; X-Pool matches what is proposed.

Milvus Lite is Python in this very process: its times, which contain the server's, say nothing about a Milvus cluster,
which has not been tried. What counts here is that the hits are equal.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from growth_gallery import GrowthGallery, Material  # noqa: E402
from growth_index import PlantedModel, captions, load_tower, text_tower, write_tables  # noqa: E402
from record import keep, machine  # noqa: E402

from framesift.candidates import CandidateConfig  # noqa: E402
from framesift.features import TextFeatures  # noqa: E402
from framesift.index import Index  # noqa: E402
from framesift.index.milvus import milvus_status, rebuild_milvus, sync_milvus  # noqa: E402
from framesift.ranking import Ranking, rank  # noqa: E402

WORK = HERE.parents[2] / "runs" / "growth"
TOP = 10


def timed(action: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it returns, and CPU and wall seconds."""
    started = time.process_time(), time.monotonic()
    result = action()
    return result, {"cpu_s": time.process_time() - started[0], "wall_s": time.monotonic() - started[1]}


def filling(action: Callable[[], Any]) -> dict[str, Any]:
    """A sync or rebuild."""
    report, taken = timed(action)
    return {"moments": report.moments, "sent": report.sent, "deleted": report.deleted, **taken}


def answers(
    index: Path, model: PlantedModel, texts: list[TextFeatures], config: CandidateConfig
) -> tuple[list[Ranking], dict[str, float]]:
    """Every query's matched candidates, and what proposing them took, a query."""
    with Index.open(index, model=model, candidates=config) as opened, torch.inference_mode():
        gallery = opened.gallery()
        gallery.candidates(texts[0], 1)  # opened, loaded, looked up

        def propose() -> list[torch.Tensor]:
            return [gallery.candidates(text, gallery.default_depth) for text in texts]

        _, taken = timed(propose)
        ranked = [rank(text, gallery, model.matcher, depth=gallery.default_depth) for text in texts]
    return ranked, {f"{name[:-2]}_ms_a_query": 1000 * value / len(texts) for name, value in taken.items()}


def compared(exact: list[Ranking], found: list[Ranking]) -> dict[str, Any]:
    """How far the two agree."""
    pairs = list(zip(exact, found, strict=True))
    overlap = [np.isin(one.rows[0].numpy(), other.rows[0].numpy()).mean() for one, other in pairs]
    same = [one.rows[0, :TOP].tolist() == other.rows[0, :TOP].tolist() for one, other in pairs]
    apart = max(float((one.scores[0, :TOP] - other.scores[0, :TOP]).abs().max()) for one, other in pairs)
    return {
        "queries": len(pairs),
        f"queries_with_the_same_first_{TOP}_hits": sum(same),
        "candidates_that_are_the_same": float(np.mean(overlap)),
        f"largest_difference_of_scores_of_the_first_{TOP}": apart,
    }


def measure(work: Path, moments: int, queries: int) -> dict[str, Any]:
    """All of it, in a folder of its own."""
    text_tower(work)
    gallery = GrowthGallery(Material.of(work), moments=moments)
    embeddings = captions(gallery)
    model = PlantedModel(load_tower(work), embeddings)
    texts = [TextFeatures(sentence=embedding[None]) for embedding in list(embeddings.values())[:queries]]
    with tempfile.TemporaryDirectory() as folder:
        index, first, second = Path(folder) / "an.index", Path(folder) / "1.db", Path(folder) / "2.db"
        write_tables(index, gallery, model)

        def against_exact(file: Path) -> dict[str, Any]:
            exact, exact_cost = answers(index, model, texts, CandidateConfig(kind="exact", by="mean"))
            config = CandidateConfig(kind="milvus", milvus_uri=str(file))
            found, cost = answers(index, model, texts, config)
            return {**compared(exact, found), "proposing": {"exact": exact_cost, "milvus": cost}}

        steps: dict[str, Any] = {
            "filled": filling(lambda: sync_milvus(index, uri=str(first))),
            "filled_again": filling(lambda: sync_milvus(index, uri=str(first))),
            "asked": against_exact(first),
        }
        with Index.open(index) as opened:
            gone = [video.uri for video in opened.videos()[::20]]
            opened.remove(gone)
        steps["asked_with_videos_removed"] = against_exact(first)
        steps["brought_up_to_date"] = filling(lambda: sync_milvus(index, uri=str(first)))
        steps["rebuilt"] = filling(lambda: rebuild_milvus(index, uri=str(first)))
        steps["asked_after_rebuild"] = against_exact(first)
        forget(first)
        steps["made_from_the_tables_alone"] = filling(lambda: rebuild_milvus(index, uri=str(second)))
        steps["asked_after_that"] = against_exact(second)
        steps["up_to_date"] = milvus_status(index, uri=str(second)).current
        forget(second)
    return steps


def forget(file: Path) -> None:
    """Stop Milvus Lite's thread for a file, and delete the file."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(file))
    shutil.rmtree(file)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--moments", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--work", type=Path, default=WORK, help="where what is rendered is kept")
    options = parser.parse_args()
    from importlib.metadata import version

    result = {
        "server": f"Milvus Lite {version('milvus-lite')}, in the same process",
        "client": f"pymilvus {version('pymilvus')}",
        "moments": options.moments,
        "dim": 512,
        **measure(options.work, options.moments, options.queries),
        "provenance": machine(),
    }
    keep(result, options.json)


if __name__ == "__main__":
    main()
