from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from framesift import Hit
from framesift.errors import InputError
from framesift.exporting import export, rows_of


def hit(video: str, *, rank: int = 1, score: float = 0.25) -> Hit:
    return Hit(
        rank=rank,
        video=video,
        start_s=62.0,
        end_s=70.5,
        score=score,
        frame_times_s=(64.0, 68.0),
        attention=(0.1, 0.9),
    )


@dataclass(frozen=True)
class Found:
    """What a result of the search package looks like."""

    hit: Hit
    sources: tuple[object, ...]


@dataclass(frozen=True)
class Line:
    text: str | None


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    done = export([hit("a.mp4"), hit('b, "c"\n.mp4', rank=2, score=-0.5)], path, query="a dog")
    assert (done.count, done.format, done.rate, done.notes) == (2, ".csv", None, ())
    first, second = read_csv(path)
    assert first == {
        "rank": "1",
        "score": "0.25",
        "video": "a.mp4",
        "start_s": "62.000",
        "end_s": "70.500",
        "start": "0:01:02.000",
        "end": "0:01:10.500",
        "focus_start_s": "66.000",
        "focus_end_s": "70.500",
        "text": "",
        "query": "a dog",
    }
    assert second["video"] == 'b, "c"\n.mp4'
    assert second["score"] == "-0.5"  # a number, which no spreadsheet evaluates


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "  =", "＝"])
def test_no_cell_is_a_formula(tmp_path: Path, start: str) -> None:
    evil = start + 'HYPERLINK("http://x","y")'
    results = [Found(hit(evil), (Line(None), Line(evil)))]
    export(results, tmp_path / "a.csv", query=evil)
    (row,) = read_csv(tmp_path / "a.csv")
    for name in ("video", "text", "query"):
        assert row[name] == "'" + evil
    document = json.loads(export_json(results, tmp_path, evil))
    assert document["hits"][0]["video"] == evil  # programs get the name as it is


def export_json(results: list[Found], folder: Path, query: str) -> str:
    return Path(export(results, folder / "a.json", query=query).path).read_text()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = b"\xff.mp4".decode("utf-8", "surrogateescape")
    export([hit(odd)], tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")[0]["video"] == "\\udcff.mp4"
    export([hit(odd)], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["hits"][0]["video"] == odd


def test_json_is_what_the_library_says(tmp_path: Path) -> None:
    found = hit("a.mp4")
    export([found], tmp_path / "a.json", query="a dog")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["query"] == "a dog"
    (written,) = document["hits"]
    assert written.pop("text") is None
    assert written.items() <= found.to_dict().items()


def test_no_results_are_an_empty_table(tmp_path: Path) -> None:
    assert export([], tmp_path / "a.csv").count == 0
    assert read_csv(tmp_path / "a.csv") == []
    export([], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"query": "", "hits": []}


def test_other_objects_will_do() -> None:
    @dataclass
    class Bare:
        video: str = "a.mp4"
        start_s: float = 1
        end_s: float = 2
        score: float = 0.5

    first, second = rows_of([Bare(), Bare()])
    assert (first.rank, second.rank, first.focus_s, first.text) == (1, 2, (1.0, 2.0), None)


def test_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.csv.*did you mean '\.fcpxml'"):
        export([], tmp_path / "a.fcpxm")
    export([], tmp_path / "a.csv")
    with pytest.raises(InputError, match="exists already"):
        export([], tmp_path / "a.csv")
    export([hit("b.mp4")], tmp_path / "a.csv", overwrite=True)
    assert len(read_csv(tmp_path / "a.csv")) == 1
