"""One's own captions: what is read, what is refused, who goes into which split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framesift.data import EVERYTHING, Source, load_split, locate, overlap, read_own, read_own_splits
from framesift.errors import DatasetError, InputError


def table(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_in_the_forms_that_programs_write(tmp_path: Path, encoding: str, separator: str) -> None:
    lines = [("Video ", "caption"), ("a.mp4", '"été, a dog; runs"'), ("b.mp4", "a cat")]
    text = "\r\n".join(separator.join(line) for line in lines)
    path = table(tmp_path, text.encode(encoding), "mine.tsv" if separator == "\t" else "mine.csv")
    read = read_own(path, split=EVERYTHING)
    assert (read.videos, read.texts) == (("a.mp4", "b.mp4"), ["été, a dog; runs", "a cat"])
    assert read.protocol == "one-caption"


def test_jsonl_and_csv_are_the_same(tmp_path: Path) -> None:
    rows = [{"video": f"{n % 3}.mp4", "caption": f"text {n}", "start": n, "end": n + 1.5} for n in range(6)]
    one = table(tmp_path, "\n".join(map(json.dumps, rows)), "mine.jsonl")
    lines = ["video,caption,start,end", *(",".join(map(str, row.values())) for row in rows)]
    other = table(tmp_path, "\n".join(lines))
    assert read_own(one, split="all").content_hash == read_own(other, split="all").content_hash


def test_moments_are_the_unit(tmp_path: Path) -> None:
    path = table(tmp_path, "video,caption,start,end\nv/a.mp4,x,0,2.50\nv/a.mp4,y,3,4\nb.mp4,z,,\n")
    read = read_own(path, split="all")
    assert read.videos == ("v/a.mp4#t=0,2.5", "v/a.mp4#t=3,4", "b.mp4")
    assert read.sources[read.videos[0]] == Source(path=tmp_path / "v" / "a.mp4", start_s=0, end_s=2.5)
    assert read.sources["b.mp4"] == Source(path=tmp_path / "b.mp4")
    assert (read.captions[0].start_s, read.captions[0].end_s) == (0, 2.5)
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").touch()
    found = locate(read)
    assert found.missing == ("b.mp4",)
    assert found.sources[read.videos[1]].start_s == 3
    assert set(found.paths.values()) == {tmp_path / "v" / "a.mp4"}


def test_paths_are_relative_to_the_table_or_to_root_and_may_be_absolute(tmp_path: Path) -> None:
    path = table(tmp_path, f"video,caption\n-a.mp4,x\n./-a.mp4,y\n{tmp_path}/-a.mp4,z\n")
    read = read_own(path, split="all")
    assert read.videos == ("-a.mp4",)
    assert read.protocol == "all-captions"
    assert read.sources["-a.mp4"].path == tmp_path / "-a.mp4"
    elsewhere = read_own(path, split="all", root=tmp_path / "videos")
    assert elsewhere.sources["-a.mp4"].path == tmp_path / "videos" / "-a.mp4"


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = table(tmp_path, "video,caption\na,x\n\n,\na,x\na,\nb,x\n")
    read = read_own(path, split="all")
    assert (read.videos, read.texts) == (("a", "b"), ["x", "x"])
    assert read.notes == (
        "2 blank rows were left out",
        "1 rows without a caption were left out (first: line 6)",
        "1 rows repeat a caption of the same video and were left out",
        "1 captions are of several videos each, so exact ties between queries: 'x'",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,captions\na,b\n", r"no column 'caption'; did you mean 'captions'\?.*'video', 'captions'"),
        (
            "path,text\na,b\n",
            "no column 'video'; its first line names: 'path', 'text'; needed: video, caption",
        ),
        ("video,caption,Caption\na,b,c\n", "two columns 'caption'"),
        ("", "is empty"),
        ("video,caption\n", "no row with a video and a caption"),
        ("video,caption\na,b,c\n", "line 2: 3 fields where the header has 2"),
        (b"video,caption\na,caf\xe9\n", "line 2 is not UTF-8"),
        ('video,caption\na,"b\n', "not a readable table"),
        ("video,caption\n,b\n", "line 2: a row without a video"),
        ("video,caption,start,end\n,,1,2\n", "line 2: a row without a video"),
        ("video,caption,start,end\na,b,2,2\n", r"line 2: the end \(2 s\) has to be after the start \(2 s\)"),
        ("video,caption,start,end\na,b,2,\n", "'start' and 'end' go together"),
        ("video,caption,start,end\na,b,0:01,2\n", "start '0:01' is not a time in seconds"),
        ("video,caption,start,end\na,b,-1,2\n", "start '-1' is not a time"),
        ("video,caption,start,end\na,b,0,inf\n", "end 'inf' is not a time"),
        ("video,caption,split\na,b,trian\n", "split 'trian'; did you mean 'train'"),
        ("video,caption,split\na,b,\n", "split ''; expected train, val or test"),
        ("video,caption,split\na,b,train\na,c,test\n", "line 3: video 'a' is in 'test' here and in 'train'"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read_own(table(tmp_path, text), split="all")
    assert "mine.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"video": "a"}', "line 1: no 'caption'"),
        ('{"video": "a", "caption": 3}', "expected text under 'caption', got int 3"),
        ('{"video": "a", "caption": "b", "start": true, "end": 2}', "start True is not a time"),
        ('{"video": "a", "caption": "b"}\n{"vid', "line 2, is not valid JSON, or is cut"),
        ("[1]", "line 1: expected an object, got list"),
        (
            '{"video": "a", "caption": "b", "split": "val"}\n{"video": "c", "caption": "d"}',
            "line 2: no 'split', which other rows have",
        ),
    ],
)
def test_jsonl_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_own(table(tmp_path, text, "mine.jsonl"), split="all")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        read_own(tmp_path / "none.csv", split="all")
    with pytest.raises(DatasetError, match=r"ends with .csv, .tsv or .jsonl"):
        read_own(table(tmp_path, "x", "mine.xlsx"), split="all")
    with pytest.raises(InputError, match="unknown split 'tests'"):
        read_own(table(tmp_path, "video,caption\na,b\n"), split="tests")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10, 50])
def test_splits_by_hash(tmp_path: Path, count: int) -> None:
    lines = [
        f"v{n}.mp4,{word} {n},{start},{start + 1}" for n in range(count) for start, word in enumerate("ab")
    ]
    splits = read_own_splits(table(tmp_path, "\n".join(["video,caption,start,end", *lines])))
    every = splits.pop(EVERYTHING)
    assert sum(len(split.videos) for split in splits.values()) == len(every.videos) == 2 * count
    for name, split in splits.items():
        for other in set(splits) - {name}:
            assert not overlap(split, splits[other]), "moments of a video are in one split"
    if count >= 3:
        assert set(splits) == {"train", "val", "test"}
        assert len(splits["train"].videos) >= len(splits["val"].videos)


def test_a_video_stays_in_its_split_when_others_are_added(tmp_path: Path) -> None:
    def split_of(count: int) -> dict[str, str]:
        text = "\n".join(["video,caption", *(f"v{n}.mp4,x" for n in range(count))])
        splits = read_own_splits(table(tmp_path, text))
        return {video: name for name, one in splits.items() if name != EVERYTHING for video in one.videos}

    few, many = split_of(200), split_of(2_000)
    assert {video: many[video] for video in few} == few
    share = sum(name == "train" for name in many.values()) / len(many)
    assert 0.77 < share < 0.83


def test_an_empty_split_says_what_to_do(tmp_path: Path) -> None:
    path = table(tmp_path, "video,caption,split\na,b,Training\nc,d,test\n")
    assert read_own(path, split="train").videos == ("a",)
    with pytest.raises(DatasetError, match=r"no video in its split 'val'; it has all \(2 videos\), train"):
        read_own(path, split="val")


def test_a_file_of_ones_own_is_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown benchmark"):
        load_split("mine.csv", "test", tmp_path)
