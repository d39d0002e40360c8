"""Index a folder of hostile files, and the same files with random bits flipped, as a user would.

    python tests/chaos/hostile.py FOLDER --json results/hostile.json

Every file of FOLDER is indexed as it is; then ``--variants`` copies of each, in which a few bits were flipped at
random, are. Both by the ``framesift index`` command, with the bundled model. What must hold: exit code 3, a line for
every file that cannot be read, no other output, under two gigabytes of memory, all good files searchable, and no file
made or fetched that a name or a playlist speaks of.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

from record import PeakMemory, machine  # noqa: E402

from framesift.index.files import VIDEO_SUFFIXES  # noqa: E402

COMMAND = Path(sys.executable).with_name("framesift")
ODD_NAMES = {
    "odd_name_shell.mov": "quote' semi;$(touch x).mov",
    "odd_name_unicode.mov": "клип 视频 (1) 🐕 & co.mov",
    "odd_name_dash.mp4": "-video-with-dash-.mp4",
}
MOST_BYTES = 2 * 10**9


def flipped(source: Path, target: Path, chance: random.Random) -> None:
    """A copy with 1 to 200 flipped bits; in half of the copies all of them are in the first kilobyte."""
    content = bytearray(source.read_bytes())
    if content:
        end = min(len(content), 1024) if chance.random() < 0.5 else len(content)
        for _ in range(round(10 ** chance.uniform(0, 2.3))):
            content[chance.randrange(end)] ^= 1 << chance.randrange(8)
    target.write_bytes(content)


def index(videos: Path, folder: Path) -> dict[str, Any]:
    """Run the command and look at all that it did."""
    before = sorted(folder.rglob("*"))
    started = time.monotonic()
    command = [COMMAND, "index", "videos", "-i", "an.index", "-m", "storyboard-xpool"]
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        ) as process,
        PeakMemory(process.pid) as memory,
    ):
        output, talk = process.communicate()
    seconds = time.monotonic() - started
    lines = talk.decode().splitlines()
    refused = [line for line in lines if line.startswith("cannot decode ")]
    information = json.loads(_run("info", "--verify", "--json", folder=folder))
    found = json.loads(
        _run("search", "a circle", "-k", "100000", "--depth", "100000", "--json", folder=folder)
    )
    searchable = {hit["video"] for hit in found["hits"]}
    new = [path for path in folder.rglob("*") if path not in before and "an.index" not in path.parts]
    wrong = []
    if process.returncode != 3:
        wrong.append(f"exit code {process.returncode}")
    if len(refused) != information["failed"] or output:
        wrong.append(
            f"{len(refused)} lines for {information['failed']} bad files, {len(output)} bytes on stdout"
        )
    if information["videos"] + information["failed"] != len(list(videos.iterdir())):
        wrong.append("some files are neither indexed nor refused")
    if len(searchable) != information["videos"] or not information["verification"]["ok"]:
        wrong.append(f"{len(searchable)} of {information['videos']} videos can be found")
    if memory.peak_bytes > MOST_BYTES:
        wrong.append("too much memory")
    if new:
        wrong.append(f"it made {new}")
    unfriendly = [line for line in refused if "Traceback" in line or "Error:" in line]
    return {
        "files": len(list(videos.iterdir())),
        "indexed": information["videos"],
        "refused": information["failed"],
        "stopped_for_time": sum("took longer" in line for line in refused),
        "decoders_that_died": sum("ended unexpectedly" in line for line in refused),
        "out_of_memory": sum("more memory" in line for line in refused),
        "reasons_that_are_python": unfriendly,
        "seconds": seconds,
        "peak_memory_bytes": memory.peak_bytes,
        "wrong": wrong,
    }


def _run(*arguments: str, folder: Path) -> bytes:
    command = [COMMAND, *arguments, "-i", "an.index"]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    options = parser.parse_args()
    files = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    chance = random.Random(options.seed)
    result: dict[str, Any] = {"seed": options.seed, "variants": options.variants}
    with tempfile.TemporaryDirectory() as work:
        plain, bits = Path(work) / "plain", Path(work) / "flipped"
        for folder in (plain, bits):
            (folder / "videos").mkdir(parents=True)
        for file in files:
            shutil.copy(file, plain / "videos" / ODD_NAMES.get(file.name, file.name))
            for number in range(options.variants):
                flipped(file, bits / "videos" / f"{number:02d} {file.name}", chance)
        result["as they are"] = index(plain / "videos", plain)
        if options.variants:
            result["bits flipped"] = index(bits / "videos", bits)
    result["machine"] = machine()
    text = json.dumps(result, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(any(result[part]["wrong"] for part in ("as they are", "bits flipped") if part in result))


if __name__ == "__main__":
    main()
