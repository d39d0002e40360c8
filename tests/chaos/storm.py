"""Kill builds, prunes and compactions at random times, while another process searches; then look what is left.

``python tests/chaos/storm.py --kills 50 --json results/chaos.json`` writes what happened; the tests run fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "benchmarks")]  # also when run as a script

from record import machine  # noqa: E402

from colour_model import COLOURS, ColourModel, write_clip  # noqa: E402
from framesift.errors import IndexRecoveredWarning  # noqa: E402
from framesift.index import BuildConfig, Index  # noqa: E402
from framesift.index import store as store_module  # noqa: E402

STABLE, CHURN = 12, 12
CHANGED = 8  # files that a build finds changed, so that it makes some commits
SMALL = BuildConfig(workers=1, batch_frames=8, commit_videos=2)  # many commits
SWEPT = "in the index: "  # what a killed build may leave: moments without a video, until the next build
LONGEST_S = 120.0


@dataclass
class Outcome:
    """What a storm did and found.

    Attributes:
        kills: processes killed, by what they were doing.
        finished: operations that ended before they were killed.
        swept: kills that left moments without a video, which the next build deleted.
        searches: answers that the searching process got meanwhile.
        sizes: how many different numbers of results it saw.
        wrong: everything that should not have been; empty if all is well.
        same_rows: whether the index in the end equals an undisturbed build's, bit for bit.
    """

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    finished: int = 0
    swept: int = 0
    searches: int = 0
    sizes: int = 0
    videos: int = 0
    wrong: list[str] = field(default_factory=list)
    same_rows: bool = False
    elapsed_s: float = 0.0


def storm(folder: Path, *, kills: int, seed: int) -> Outcome:
    """``kills`` operations on one index, each killed at a random time; ``folder`` is empty."""
    began = time.monotonic()
    chance = random.Random(seed)
    outcome = Outcome(seed=seed)
    videos, spare, index = folder / "videos", folder / "spare", folder / "an.index"
    names = list(COLOURS)
    for number in range(STABLE + CHURN):
        kind = "stable" if number < STABLE else "churn"
        write_clip(videos / f"{kind}{number:02d}.mp4", [names[number % len(names)]])
    for number in range(STABLE, STABLE + CHURN):  # what churning files turn into and back
        write_clip(spare / f"churn{number:02d}.mp4", [names[(number + 1) % len(names)]], seconds=2)
    spare_names = sorted(path.name for path in spare.iterdir())
    Index.create(index, model=ColourModel(), moments="whole").close()

    log = folder / "searches.jsonl"
    other = folder / "other.index"
    Index.create(other, model=ColourModel(), moments="whole").close()
    with _start("build", other, videos, log) as undisturbed:
        started = time.monotonic()
        assert undisturbed.wait(LONGEST_S) == 0
    durations = {"build": time.monotonic() - started, "prune": 0.2, "compact": 0.2}
    searcher = _start("search", index, videos, log)
    number = 0
    try:
        while sum(outcome.kills.values()) < kills:
            assert number < 4 * kills, "the operations end before they can be killed"
            action = ("build", "build", "prune", "compact")[number % 4]
            number += 1
            if action == "build":  # something new to read: a changed file, and one that came back
                for name in chance.sample(spare_names, CHANGED):
                    shutil.copy(spare / name, videos / name)
                    os.utime(videos / name, (number + 1, number + 1))
            elif action == "prune":
                for name in chance.sample(spare_names, CHANGED):
                    (videos / name).unlink(missing_ok=True)
            ended = True
            with _start(action, index, videos, log) as worker:
                started = time.monotonic()
                try:
                    worker.wait(chance.uniform(0, durations[action]))
                except subprocess.TimeoutExpired:
                    ended = False
                    os.killpg(worker.pid, signal.SIGKILL)
            if not ended:
                outcome.kills[action] = outcome.kills.get(action, 0) + 1
            elif worker.returncode:
                outcome.wrong.append(f"{action} {number} ended with status {worker.returncode}")
            else:
                outcome.finished += 1
                durations[action] = time.monotonic() - started
            _inspect(index, f"after {action} {number}", outcome)
        for name in spare_names:
            shutil.copy(spare / name, videos / name)
        rows = _finish(index, videos)
    finally:
        with searcher:
            searcher.terminate()
    _read_searches(log, outcome)
    outcome.videos = len(rows)
    outcome.same_rows = rows == _finish(other, videos)
    if not outcome.same_rows:
        outcome.wrong.append("the rows differ from those of an undisturbed build")
    _inspect(index, "in the end", outcome, swept_allowed=False)
    outcome.elapsed_s = time.monotonic() - began
    return outcome


def _start(action: str, index: Path, videos: Path, log: Path) -> subprocess.Popen[str]:
    """A process that has imported everything and begins now."""
    command = [sys.executable, str(HERE), "--act", action, str(index), str(videos), str(log)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def _act(action: str, index: Path, videos: Path, log: Path) -> None:
    store_module.GRACE_S = 2.0  # versions are dropped during the storm, too
    store_module.FRAGMENTS_TO_COMPACT = 8
    opened = Index.open(index, model=ColourModel())
    print("ready", flush=True)
    sys.stdin.readline()
    if action == "build":
        opened.add(videos, config=SMALL)
    elif action == "prune":
        opened.prune()
    elif action == "compact":
        opened.compact()
    else:
        _search_until_told(opened, log)


def _search_until_told(opened: Index, log: Path) -> None:
    """Search until a signal ends it, a line for each answer."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    seen: set[str] = set()
    turns = count()
    with log.open("w") as file, warnings.catch_warnings():
        warnings.simplefilter("error", IndexRecoveredWarning)  # no kill may damage anything
        while not told:
            entry: dict[str, Any] = {}
            try:
                if next(turns) % 2:  # every other time as somebody who comes new
                    opened = Index.open(opened.path, model=ColourModel())
                hits = opened.search("red", k=1000)
                entry["hits"] = len(hits)
                found = {Path(hit.video).name for hit in hits}
                entry["twice"] = len(hits) - len(found)
                entry["lost"] = sorted(name for name in seen - found if name.startswith("stable"))
                entry["sums"] = all(abs(sum(hit.attention) - 1) < 1e-4 for hit in hits)
                seen |= found
            except Exception as error:
                entry["error"] = f"{type(error).__name__}: {error}"
            file.write(json.dumps(entry) + "\n")
            file.flush()
            time.sleep(0.02)


def _read_searches(log: Path, outcome: Outcome) -> None:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    outcome.searches = len(entries)
    outcome.sizes = len({entry.get("hits") for entry in entries})
    for entry in entries:
        if "error" in entry or entry["twice"] or entry["lost"] or not entry["sums"]:
            outcome.wrong.append(f"a search gave {entry}")


def _inspect(index: Path, when: str, outcome: Outcome, *, swept_allowed: bool = True) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", IndexRecoveredWarning)
        with Index.open(index, model=ColourModel()) as opened:
            problems = opened.verify().problems
    strays = [problem for problem in problems if SWEPT in problem]
    outcome.swept += bool(strays)
    outcome.wrong += [
        f"{when}: {problem}" for problem in problems if problem not in strays or not swept_allowed
    ]


def _finish(index: Path, videos: Path) -> list[Any]:
    """Build to the end; every video with its moments as they are stored, but for ids and times of writing."""
    with Index.open(index, model=ColourModel()) as opened:
        opened.add(videos, config=BuildConfig(workers=1))
        opened.prune()
        records = opened.videos()
        stored = opened._opened().moments().to_table()
    columns = ["start_s", "end_s", "vector", "frames", "frame_times_s", "fingerprint"]
    uris = Counter(record.uri for record in records)
    by_id: dict[str, list[Any]] = {record.video_id: [] for record in records}
    for row in stored.to_pylist():
        by_id[row["video_id"]].append([row[column] for column in columns])
    return [
        (r.uri, uris[r.uri], r.status, r.content_hash, r.size_bytes, sorted(by_id[r.video_id], key=repr))
        for r in records
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--act", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        _act(options.act[0], *map(Path, options.act[1:]))
        return
    with tempfile.TemporaryDirectory() as folder:
        outcome = storm(Path(folder), kills=options.kills, seed=options.seed)
    document = json.dumps({**asdict(outcome), "machine": machine()}, indent=1)
    print(document)
    if options.json:
        options.json.write_text(document + "\n")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
