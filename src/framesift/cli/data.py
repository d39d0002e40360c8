"""``framesift data``: what can be read, what is there and what is missing, and a benchmark made from nothing."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import DatasetError, InputError, suggest
from .output import JSON_OPTION, ProgressLine, emit_json, one_line, say, talk

if TYPE_CHECKING:
    from ..data import Located, Split

__all__ = ["EXAMPLES", "app"]

EXAMPLES = """Examples: `framesift data list` prints the benchmarks that can be read.
`framesift data check msrvtt --root DIR` says what of MSR-VTT is there and what is missing.
`framesift data check captions.csv` does the same for your own videos."""

INCOMPLETE = DatasetError.exit_code
SHOWN = 5

app = typer.Typer(help="List, check and make data sets.", rich_markup_mode=None, no_args_is_help=True)


@app.command("list", epilog="Example: framesift data list --json")
def list_benchmarks(as_json: bool = JSON_OPTION) -> None:
    """List the benchmarks that can be read: protocol, published counts, files and where they come from."""
    from ..data import ALIASES, BENCHMARKS

    if as_json:
        emit_json(
            {
                name: {
                    "title": one.title,
                    "aliases": [alias for alias, of in ALIASES.items() if of == name],
                    "protocol": one.protocol,
                    "train_protocol": one.train_protocol,
                    "expected": {
                        split: {"videos": counts.videos, "captions": counts.captions}
                        for split, counts in one.expected.items()
                    },
                    "num_words": one.num_words,
                    "num_frames": one.num_frames,
                    "files": one.files,
                    "get_it": one.get_it,
                }
                for name, one in BENCHMARKS.items()
            }
        )
        return
    for name, one in BENCHMARKS.items():
        also = [alias for alias, of in ALIASES.items() if of == name]
        say(f"{name}{' (also ' + ', '.join(also) + ')' if also else ''}: {one.title}, {one.protocol} in test")
        for split, counts in one.expected.items():
            say(f"    {split:<6}{_count(counts.videos):>8} videos {_count(counts.captions):>8} captions")
        say(f"    files: {'; '.join(one.files)}")
        say(f"    {one.get_it}")


@app.command("check", epilog="Example: framesift data check msrvtt --root /data/msrvtt --missing missing.txt")
def check(
    name: str = typer.Argument(
        ...,
        help="A benchmark (`framesift data list`), or your own file of captions (.csv, .tsv, .jsonl).",
        metavar="NAME|FILE",
    ),
    root: Path | None = typer.Option(
        None,
        help="Folder with annotation files and videos. Default: for a benchmark, the current one; for your own file, "
        "the folder that it is in.",
    ),
    missing: Path | None = typer.Option(None, help="Write the ids of all missing videos to this file."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Say what of a data set is there: captions against the published counts, videos, hashes, and mixed-up splits."""
    from ..data import ALIASES, BENCHMARKS, OWN_SUFFIXES, locate, overlap

    own = name.lower().removesuffix(".gz").endswith(OWN_SUFFIXES)
    if not own and name not in BENCHMARKS and name not in ALIASES:
        raise InputError(
            f"{name!r} is neither a benchmark{suggest(name, [*BENCHMARKS, *ALIASES])} (known: {', '.join(BENCHMARKS)}) "
            f"nor a file of captions ({', '.join(OWN_SUFFIXES)})"
        )
    splits, faults = _own_splits(name, root) if own else _benchmark_splits(name, root or Path())
    located = None
    if splits:
        located = locate(list(splits.values()), None if own else root or Path())
        if missing is not None:
            _write_lines(missing, located.missing)
    mixed = [
        str(shared)
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
        if first in splits and second in splits and (shared := overlap(splits[first], splits[second]))
    ]
    complete = not faults and not mixed and located is not None and not located.missing
    if as_json:
        emit_json(_document(name, splits, faults, mixed, located, complete=complete))
    else:
        _print(name, splits, faults, mixed, located)
    if not complete:
        raise typer.Exit(INCOMPLETE)


def _own_splits(name: str, root: Path | None) -> tuple[dict[str, Split], dict[str, str]]:
    from ..data import EVERYTHING, read_own_splits

    splits = read_own_splits(name, root=root)
    return {split: one for split, one in splits.items() if split != EVERYTHING}, {}


def _benchmark_splits(name: str, root: Path) -> tuple[dict[str, Split], dict[str, str]]:
    """The splits that can be read, and why the others cannot. Validation is as published, so 1K-A has none."""
    from ..data import benchmark_named, load_split

    name, benchmark = benchmark_named(name)
    splits: dict[str, Split] = {}
    faults: dict[str, str] = {}
    for split in benchmark.readers:
        try:
            splits[split] = load_split(name, split, root)
        except DatasetError as error:
            faults[split] = str(error)
    return splits, faults


def _document(
    name: str,
    splits: dict[str, Split],
    faults: dict[str, str],
    mixed: list[str],
    located: Located | None,
    *,
    complete: bool,
) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name, "complete": complete, "splits": {}, "faults": faults}
    for key, split in splits.items():
        absent = _absent(split, located)
        document["splits"][key] = {
            **split.to_dict(),
            "expected": _expected(split),
            "videos_found": len(split.videos) - len(absent),
            "missing": absent,
        }
    document["mixed_up"] = mixed
    document["notes"] = list(located.notes()) if located else []
    return document


def _print(
    name: str, splits: dict[str, Split], faults: dict[str, str], mixed: list[str], located: Located | None
) -> None:
    say(f"{one_line(name)}:")
    for key, split in splits.items():
        expected = _expected(split)
        absent = _absent(split, located)
        say(
            f"  {key:<6}{len(split.videos):>8,} videos{_of(expected['videos'])}, {len(split.captions):,} captions"
            f"{_of(expected['captions'])}, {split.protocol}, hash {split.content_hash}"
        )
        say(f"        {len(split.videos) - len(absent):>6,} video files found, {len(absent):,} missing")
        for video in absent[:SHOWN]:
            say(f"               {one_line(video)}")
        if len(absent) > SHOWN:
            say(f"               and {len(absent) - SHOWN:,} more (--missing FILE writes all)")
        for note in split.notes:
            say(f"        note: {one_line(note)}")
    for key, fault in faults.items():
        say(f"  {key:<6}cannot be read: {fault}")
    if splits and "val" not in splits and "val" not in faults:
        say("  val   none; a part of the training videos can be held out (see docs/datasets.md)")
    for line in mixed:
        say(f"  MIXED UP: {line}; these lists are of different splits of the data")
    if located is not None and located.doubles:
        say(f"  note: {one_line(located.notes()[-1])}")


def _absent(split: Split, located: Located | None) -> list[str]:
    gone = set(located.missing) if located else set[str]()
    return [video for video in split.videos if video in gone]


def _expected(split: Split) -> dict[str, int | None]:
    from ..data import BENCHMARKS

    benchmark = BENCHMARKS.get(split.benchmark)
    counts = benchmark.expected.get(split.split) if benchmark else None
    return {"videos": counts and counts.videos, "captions": counts and counts.captions}


def _of(expected: int | None) -> str:
    return "" if expected is None else f" (published: {expected:,})"


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _write_lines(path: Path, lines: tuple[str, ...]) -> None:
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


@app.command("storyboard", epilog="Example: framesift data storyboard boards --split train --videos 50")
def storyboard(
    folder: Path = typer.Argument(
        ..., help="Folder to write to; files that are there are kept.", metavar="DIR"
    ),
    split: str = typer.Option("test", help="train, val, test or pool."),
    videos: int = typer.Option(100, min=1, max=100_000, help="Number of videos."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Render Storyboard videos with their captions: captions.json (all that is known) and captions.csv."""
    from ..storyboard import captions, storyboards, video_name, write_split, write_videos

    drawn = storyboards(split, videos)
    table = folder / "captions.csv"
    rows = [[video_name(video), caption.text] for video in drawn for caption in captions(video)]
    write_split([], folder)  # a folder that cannot be written to is said before the work begins
    started = time.monotonic()
    with ProgressLine("rendering", quiet=as_json) as line:
        for done, video in enumerate(drawn, start=1):
            write_videos([video], folder)
            line.update(done, videos, eta_s=(time.monotonic() - started) / done * (videos - done))
    write_split(drawn, folder)
    try:
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["video", "caption"], *rows])
    except OSError as error:
        raise InputError(f"cannot write {str(table)!r}: {error.strerror or error}") from None
    if as_json:
        emit_json({"folder": str(folder), "videos": videos, "captions": len(rows), "table": str(table)})
    else:
        talk(f"{videos} videos with {len(rows):,} captions in {str(folder)!r}; framesift data check {table}")
