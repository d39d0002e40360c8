"""The annotation files of the benchmarks themselves: the counts that were counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framesift.data import BENCHMARKS, load_split, overlap
from framesift.data.files import read_ids, read_json


@pytest.fixture(scope="module")
def annotations(real_data: Path) -> Path:
    folder = real_data / "annotations"
    if not folder.is_dir():
        pytest.skip(f"no annotation files at {folder}")
    return folder


@pytest.mark.parametrize(
    ("name", "split", "videos", "captions"),
    [
        ("msrvtt-1ka-9k", "train", 9_000, 180_000),
        ("msrvtt-1ka-9k", "test", 1_000, 1_000),
        ("msrvtt-1ka-7k", "train", 7_010, 140_200),
        ("msrvtt-1ka-7k", "test", 1_000, 1_000),
        ("msrvtt-full", "train", 6_513, 130_260),
        ("msrvtt-full", "val", 497, 9_940),
        ("msrvtt-full", "test", 2_990, 59_800),
        ("msvd", "train", 1_200, 48_774),
        ("msvd", "val", 100, 4_290),
        ("msvd", "test", 670, 27_763),
        ("didemo", "train", 8_362, 8_362),  # T-MASS's table; the field's lists have 8,395
        ("didemo", "val", 1_065, 1_065),
        ("didemo", "test", 1_004, 1_004),
        ("activitynet", "train", 10_009, 10_009),
        ("activitynet", "test", 4_917, 4_917),
    ],
)
def test_counts(annotations: Path, name: str, split: str, videos: int, captions: int) -> None:
    read = load_split(name, split, annotations)
    assert (len(read.videos), len(read.captions)) == (videos, captions)
    expected = BENCHMARKS[name].expected[split]
    differs = (expected.videos, expected.captions) != (videos, captions)
    assert differs == any("were published" in note for note in read.notes)


def test_the_merged_file_of_msrvtt_is_the_two_parts(annotations: Path, tmp_path: Path) -> None:
    folder = annotations / "msrvtt"
    parts = [read_json(folder / f"{part}_videodatainfo.json.gz", dict) for part in ("train_val", "test")]
    merged = {key: [*parts[0][key], *parts[1][key]] for key in ("videos", "sentences")}
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(merged))
    for split in ("val", "test"):
        whole = load_split("msrvtt-full", split, tmp_path)
        assert whole.content_hash == load_split("msrvtt-full", split, annotations).content_hash


def test_1ka_has_sentences_that_occur_more_than_once(annotations: Path) -> None:
    texts = load_split("msrvtt", "test", annotations).texts
    assert sum(texts.count(text) > 1 for text in texts) == 9


def test_the_miech_lists_are_seen_to_be_another_split(annotations: Path, tmp_path: Path) -> None:
    folder = annotations / "msrvtt"
    for name in ("train_val_videodatainfo.json.gz", "test_videodatainfo.json.gz", "MSRVTT_JSFUSION_test.csv"):
        (tmp_path / name).symlink_to(folder / name)
    ids = read_ids(folder / "ce_train_list_miech.txt.gz")
    assert len(ids) == 6_656
    (tmp_path / "MSRVTT_train.9k.csv").write_text("\n".join(["video_id", *ids]))
    test = load_split("msrvtt", "test", tmp_path)
    assert len(overlap(load_split("msrvtt", "train", tmp_path), test).videos) == 453
    assert not overlap(load_split("msrvtt", "train", annotations), test)


def test_lists_of_vatex(annotations: Path) -> None:
    counts = [
        len(read_ids(annotations / "vatex" / f"{split}_list.txt.gz")) for split in ("train", "val", "test")
    ]
    assert counts == [25_991, 1_500, 1_500]


def test_a_held_out_part_of_1ka_never_holds_a_test_video(annotations: Path) -> None:
    train, val = (load_split("msrvtt", split, annotations, holdout=0.05) for split in ("train", "val"))
    assert (len(train.videos), len(val.videos)) == (8_556, 444)
    assert not overlap(val, load_split("msrvtt", "test", annotations))
    assert not overlap(train, val)
