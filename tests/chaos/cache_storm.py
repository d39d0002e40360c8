"""Kill whoever keeps an index's cache, flip bits in it, fill its disk up; every answer must be as if it were not there.

What every row holds follows from its video and its generation, so that a reader can tell a wrong row without asking
another source. ``python tests/chaos/cache_storm.py --json results/cache-chaos.json`` writes what happened; the tests
run fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
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
from zlib import crc32

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "benchmarks")]  # also when run as a script

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import torch  # noqa: E402
from record import machine  # noqa: E402

from framesift.candidates import scenes_of  # noqa: E402
from framesift.errors import IndexCacheWarning, IndexStateError  # noqa: E402
from framesift.features import TextFeatures, VideoFeatures, masked_mean, unit  # noqa: E402
from framesift.index import store as store_module  # noqa: E402
from framesift.index.cache import CacheFolder, CacheSettings, refresh_cache  # noqa: E402
from framesift.index.cache.moment_scenes import MomentScenes  # noqa: E402
from framesift.index.gallery import LanceGallery  # noqa: E402
from framesift.index.schema import IndexMeta, VideoRecord, moments_schema  # noqa: E402
from framesift.index.store import Store  # noqa: E402

DIM, FRAMES, MOMENTS = 24, 4, 4  # of a video
STABLE, CHURN = 30, 60  # videos that never change, and those that come, change and go
META = IndexMeta(fingerprint="0" * 32, dim=DIM, num_frames=FRAMES, moments="shots")
LONGEST_S = 120.0
PHASES = ("recovery", "commit", "compaction", "refresh", "refresh")
BOTH_CODES = CacheSettings(codes=True, frame_codes=True)


@dataclass
class Outcome:
    """What was done and found.

    Attributes:
        kills: processes killed, by what they were doing.
        reads: states of the index that were compared row by row meanwhile, and texts searched in them.
        cached_parts: parts that these reads took from the cache, of ``parts``.
        flips: bits flipped, by the kind of file; ``in_place`` of them under the eyes of an open gallery.
        unnoticed: flips of which nobody was told.
        full: refreshes that a full disk stopped.
        wrong: everything that should not have been; empty if all is well.
    """

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    cached_parts: int = 0
    parts: int = 0
    flips: dict[str, int] = field(default_factory=dict)
    in_place: int = 0
    unnoticed: int = 0
    full: int = 0
    wrong: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0


# ---- rows that can be told


def row_of(video_id: str, start_s: float) -> dict[str, Any]:
    """A row of ``moments``; ``start_s`` holds the generation of the video and the number of the moment."""
    chance = np.random.default_rng(crc32(f"{video_id} {start_s}".encode()))
    frames = chance.normal(size=(chance.integers(1, FRAMES + 1), DIM)).astype(np.float16)
    frame = torch.from_numpy(frames).float()[None]
    return {
        "moment_id": f"{video_id}:{int(start_s) % MOMENTS}",
        "video_id": video_id,
        "start_s": start_s,
        "end_s": start_s + 1,
        "vector": masked_mean(frame, torch.ones(frame.shape[:2], dtype=torch.bool))[0].numpy(),
        "frames": frames.flatten(),
        "frame_times_s": np.sort(chance.uniform(size=len(frames))),
        "video": chance.normal(size=DIM).astype(np.float16),
        "fingerprint": META.fingerprint,
    }


def put(store: Store, video_ids: list[str], generation: int, *, known: set[str]) -> None:
    """Commit videos, each with all its moments."""
    records = [
        VideoRecord(
            video_id=video_id,
            uri=f"/{video_id}.mp4",
            content_hash=None,
            mtime_ns=generation,
            size_bytes=0,
            added_at="2026-01-01T00:00:00+00:00",
        )
        for video_id in video_ids
    ]
    rows = [
        row_of(video_id, float(generation * MOMENTS + i)) for video_id in video_ids for i in range(MOMENTS)
    ]
    table = pa.Table.from_pylist(rows, schema=moments_schema(DIM))
    store.commit(records, table, known=sorted(known & set(video_ids)))


def wrong_rows(gallery: LanceGallery) -> list[str]:
    """What a gallery tells otherwise than it was written, and videos of which it lacks moments."""
    rows = torch.arange(len(gallery))
    features, times = gallery.features_and_times(rows)
    vectors = gallery.vectors_of(rows)
    places = [gallery.moment(row) for row in rows.tolist()]
    found: list[str] = []
    for row, place in enumerate(places):
        expected = row_of(place.video_id, place.start_s)
        same = (
            np.array_equal(expected["vector"], vectors[row].numpy())
            and np.array_equal(
                expected["frames"], features.frame[row][features.frame_mask[row]].half().flatten()
            )
            and expected["frame_times_s"].tolist() == times[row]
            and features.video is not None
            and np.array_equal(expected["video"], features.video[row].half())
            and place.end_s == expected["end_s"]
        )
        if not same:
            found.append(f"row {row} of {place.video_id} is not as it was written")
    moments = Counter(place.video_id for place in places)
    found += [f"{name} has {n} moments" for name, n in moments.items() if n != MOMENTS]
    found += [f"{name} is missing" for name in stable_videos() if name not in moments]
    blocks = torch.cat([torch.zeros(0, DIM), *(torch.tensor(block) for _, block in gallery.vector_blocks())])
    if not torch.equal(blocks, vectors):
        found.append("blocks of vectors differ from single ones")
    text = TextFeatures(sentence=torch.randn(2, DIM, generator=torch.Generator().manual_seed(len(gallery))))
    scores = unit(text.sentence) @ vectors.T
    best = scores.topk(min(20, len(gallery)), dim=1).indices.sort(dim=1).values
    if not torch.equal(gallery.candidates(text, 20), best):
        found.append("candidates are not the best rows")
    return found + wrong_scenes(gallery, features)


def wrong_scenes(gallery: LanceGallery, features: VideoFeatures) -> list[str]:
    """Scenes that differ from those of the frames, scattered or in blocks."""
    mask = features.frame_mask.numpy()
    expected, owner = scenes_of(features.frame.numpy()[mask], mask.sum(axis=1))
    rounded = expected.astype(np.float16).astype(np.float32)
    found: list[str] = []
    for blockwise in (False, True):
        scenes = MomentScenes(gallery._rows, gallery._offset)
        if not np.array_equal(scenes.owner, owner):
            return [f"there are {len(scenes)} scenes, not {len(owner)}, or they are of other rows"]
        if blockwise:
            own = np.concatenate([np.zeros((0, DIM), np.float32), *(block for _, block in scenes.blocks())])
        else:
            own = scenes.take(np.arange(len(scenes)))
        if not np.array_equal(own, rounded):
            found.append(f"scenes are wrong, {blockwise=}")
    return found


def stable_videos() -> list[str]:
    return [f"stable{number:02d}" for number in range(STABLE)]


def make_index(path: Path, generation: int = 0) -> Store:
    """An index with the stable videos, in several parts."""
    path.mkdir(parents=True)
    META.write(path)
    store = Store.create(path, META)
    for first in range(0, STABLE, 10):
        put(store, stable_videos()[first : first + 10], generation, known=set())
    return store


# ---- kills


def kills_storm(folder: Path, outcome: Outcome, *, kills: int, chance: random.Random) -> None:
    """Kill ``kills`` processes that change the index and keep its cache, beside one that reads."""
    index, log = folder / "killed.index", folder / "reads.jsonl"
    store = make_index(index)
    refresh_cache(store, DIM, settings=lambda _: BOTH_CODES)
    reader = _start("read", index, log)
    spare = _start("change", index, folder / "phase0")
    _go(reader)
    try:
        for number in range(1, kills + 1):
            worker, phase = spare, folder / f"phase{number - 1}"
            _go(worker)
            began = time.monotonic()
            if number < kills:  # it imports what it needs while this one works
                spare = _start("change", index, folder / f"phase{number}")
            chosen = chance.choice(
                PHASES
            )  # not a time: on a busy machine, it would never get to the last of them
            while _doing(phase) != chosen and time.monotonic() - began < LONGEST_S:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.5))
            ended = worker.poll()
            worker.kill()
            worker.communicate()
            if ended is not None:
                outcome.wrong.append(f"worker {number} ended with status {ended}")
            doing = _doing(phase)
            outcome.kills[doing] = outcome.kills.get(doing, 0) + 1
    finally:
        spare.kill()  # still waiting, if something went wrong
        spare.communicate()
        reader.send_signal(signal.SIGTERM)
        reader.communicate()
    for line in log.read_text().splitlines():
        told = json.loads(line)
        outcome.reads += 1
        outcome.cached_parts += told["cached"]
        outcome.parts += told["parts"]
        outcome.wrong += told["wrong"]
    with store.place.writing():
        store.place.recover()
        late = Store(index, refresh_s=0.0)
        late.sweep()
        report = refresh_cache(late, DIM, thorough=True)
    gallery = LanceGallery(Store(index), META)
    outcome.wrong += [f"in the end: {one}" for one in wrong_rows(gallery)]
    cache = CacheFolder(store.cache_folder, DIM)
    rubbish = [
        path.name for path in (*cache.path.iterdir(), *cache.segments.glob("*")) if path.name[0] == "."
    ]
    outcome.wrong += [f"left in the end: {name}" for name in rubbish]
    if report.problem or cached(gallery)[0] != cached(gallery)[1]:
        outcome.wrong.append(f"the cache is not whole in the end: {report}")


def cached(gallery: LanceGallery) -> tuple[int, int]:
    """Parts from the cache, and of all."""
    parts = gallery._rows.parts
    return sum(part.segment is not None for part in parts), len(parts)


def _doing(phase: Path) -> str:
    """What a worker told last that it was doing."""
    told = phase.read_text(encoding="utf-8").split() if phase.exists() else []
    return told[-1] if told else "start"


def _start(action: str, *paths: Path) -> subprocess.Popen[str]:
    """A process that has imported everything, and waits."""
    command = [sys.executable, str(HERE), "--act", action, *map(str, paths)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def _act(action: str, index: Path, told: Path) -> None:
    store_module.GRACE_S = 2.0  # versions are dropped meanwhile, too
    torch.set_num_threads(1)
    print("ready", flush=True)
    if not sys.stdin.readline():  # whoever started this is gone
        return
    warnings.simplefilter("error", IndexCacheWarning)  # a kill is no damage: nobody must be told of any
    if action == "change":
        _change(index, told)
    else:
        _read(index, told)


def _change(index: Path, phase: Path) -> None:
    """Change the index and bring its cache up to date, for ever."""
    chance = random.Random(os.getpid())
    store = Store(index)
    generation = 1 + max((record.mtime_ns for record in store.records()), default=0)
    with phase.open("a", encoding="utf-8") as file:

        def doing(what: str) -> None:
            file.write(f"{what}\n")
            file.flush()

        for number in count():
            doing("recovery")
            with store.place.writing():
                store.place.recover()
                late = Store(index, refresh_s=0.0)
                late.sweep()
                known = {record.video_id for record in late.records()}
                chosen = [f"churn{n:02d}" for n in chance.sample(range(CHURN), 6)]
                doing("commit")
                if number % 3 == 2:
                    late.remove([name for name in chosen if name in known])
                else:
                    put(late, chosen, generation + number, known=known)
                doing("compaction")
                late.compact(least_fragments=4)
            for _ in range(4):
                doing("refresh")
                refresh_cache(Store(index), DIM)
                for path in chance.sample(sorted((index / "cache" / "segments").iterdir()), 1):
                    path.rename(
                        path.with_name(f".damaged-{path.name}")
                    )  # so that there is something to refresh


def _read(index: Path, log: Path) -> None:
    """Compare all rows, for ever, through galleries that are opened anew or refreshed by turns."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    gallery: LanceGallery | None = None
    with log.open("a", encoding="utf-8") as file:
        for number in count():
            wrong: list[str] = []
            try:
                if gallery is None or number % 3 == 0:
                    gallery = LanceGallery(Store(index), META)
                gallery = gallery.refreshed()
                wrong = wrong_rows(gallery)
            except IndexStateError as error:  # its version was dropped; the next one is there
                gallery = None
                if "Not found" not in str(error) and "not found" not in str(error):
                    wrong = [str(error)]
            except Warning as warning:
                wrong = [f"told: {warning}"]
            if gallery is not None or wrong:
                parts = (0, 0) if gallery is None else cached(gallery)
                file.write(json.dumps({"wrong": wrong, "cached": parts[0], "parts": parts[1]}) + "\n")
                file.flush()
            if stopped:
                return


# ---- flipped bits


def flips_storm(folder: Path, outcome: Outcome, *, flips: int, chance: random.Random) -> None:
    """Flip bits in all kinds of files, half of them in place while the cache is mapped."""
    store = make_index(folder / "flipped.index")
    refresh_cache(store, DIM, settings=lambda _: BOTH_CODES)
    root = store.cache_folder
    for number in range(flips):
        kinds: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.stat().st_size:
                kinds.setdefault(_kind(path), []).append(path)
        kind = sorted(kinds)[number % len(kinds)]
        path = chance.choice(kinds[kind])
        outcome.flips[kind] = outcome.flips.get(kind, 0) + 1
        in_place = chance.random() < 0.5
        held = LanceGallery(store, META)
        outcome.in_place += in_place
        place, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if not in_place:
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
            with path.open("r+b") as file:
                file.seek(place)
                (value,) = file.read(1)
                file.seek(place)
                file.write(bytes([value ^ bit]))
            for gallery in (held, LanceGallery(store, META)):
                outcome.wrong += [f"{path.name}, byte {place}: {one}" for one in wrong_rows(gallery)]
                ids = [
                    row_of(m.video_id, m.start_s)["moment_id"]
                    for m in map(gallery.moment, range(len(gallery)))
                ]
                if gallery.moment_ids() != ids:
                    outcome.wrong.append(f"{path.name}, byte {place}: moment ids are wrong")
            report = refresh_cache(store, DIM, thorough=True)
        outcome.unnoticed += not any(issubclass(one.category, IndexCacheWarning) for one in told)
        problems = CacheFolder(root, DIM).problems(store.moments().get_fragments())
        mended = LanceGallery(store, META)
        if report.problem or problems or cached(mended)[0] != cached(mended)[1]:
            outcome.wrong.append(f"{path.name}, byte {place}: not built again: {report} {problems}")
    if outcome.unnoticed:
        outcome.wrong.append(f"{outcome.unnoticed} flips were not noticed")


def _kind(path: Path) -> str:
    """The kind of a file: its name without what is random in it."""
    stem = path.name.split("-")[0] if "-" in path.name else path.stem
    return f"{stem}{path.suffix}"


# ---- a full disk


def full_disk(folder: Path, outcome: Outcome) -> None:
    """Refresh within limits of the size of a file, from nothing to enough, as on a disk that fills up."""
    index = folder / "full.index"
    store = make_index(index)
    refresh_cache(store, DIM, settings=lambda _: BOTH_CODES)
    put(store, [f"churn{n:02d}" for n in range(20)], 1, known=set())
    store.remove([stable_videos()[0]])
    put(store, [stable_videos()[0]], 2, known=set())
    command = [sys.executable, str(HERE), "--act", "full", str(index), "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        outcome.wrong.append(f"with a full disk: {done.stderr[-500:]}")
    for line in done.stdout.splitlines():
        told = json.loads(line)
        outcome.full += told["problem"] is not None
        outcome.wrong += [f"with files of {told['limit']} bytes: {one}" for one in told["wrong"]]
    refresh_cache(store, DIM)
    gallery = LanceGallery(store, META)
    root = store.cache_folder
    left = [path.name for path in root.rglob(".*")]
    if left or cached(gallery)[0] != cached(gallery)[1] or wrong_rows(gallery):
        outcome.wrong.append(f"with room again: {left} is left, {cached(gallery)} parts are cached")


def _full(index: Path) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails, as on a full disk
    warnings.simplefilter("ignore", IndexCacheWarning)
    store = Store(index)
    for limit in (0, 64, 512, 1024, 2048, 4096, 8192):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        report = refresh_cache(store, DIM)
        wrong = wrong_rows(LanceGallery(store, META))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wrong += [f"afterwards: {one}" for one in wrong_rows(LanceGallery(Store(index), META))]
        print(json.dumps({"limit": limit, "problem": report.problem, "wrong": wrong}))


def storm(folder: Path, *, kills: int, flips: int, seed: int) -> Outcome:
    """All of it; ``folder`` is empty."""
    began = time.monotonic()
    chance = random.Random(seed)
    outcome = Outcome(seed=seed)
    if kills:
        kills_storm(folder, outcome, kills=kills, chance=chance)
    flips_storm(folder, outcome, flips=flips, chance=chance)
    full_disk(folder, outcome)
    outcome.elapsed_s = time.monotonic() - began
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to keep what happened")
    parser.add_argument("--act", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        action, index, rest = options.act
        if action == "full":
            _full(Path(index))
        else:
            _act(action, Path(index), Path(rest))
        return
    with tempfile.TemporaryDirectory() as folder:
        outcome = storm(Path(folder), kills=options.kills, flips=options.flips, seed=options.seed)
    document = json.dumps({**asdict(outcome), "machine": machine()}, indent=1)
    print(document)
    if options.json:
        options.json.write_text(document + "\n", encoding="utf-8")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
