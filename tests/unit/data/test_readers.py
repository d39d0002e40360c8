"""Readers of benchmarks: small files in every form, and files that are wrong in every way we could think of."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest

from framesift.data import BENCHMARKS, SPLIT_NAMES, hold_out, load_split, overlap
from framesift.data.holdout import place_of
from framesift.errors import DatasetError, InputError


def video_data(first: int, split_of: list[str]) -> dict:
    """A MSR-VTT file: two captions a video, not in the order of the videos."""
    ids = [f"video{first + row}" for row in range(len(split_of))]
    return {
        "info": {},
        "videos": [
            {"video_id": one, "split": split, "category": 1} for one, split in zip(ids, split_of, strict=True)
        ],
        "sentences": [
            {"sen_id": 0, "video_id": one, "caption": f"{word} of {one}"}
            for word in (" first", "second")
            for one in reversed(ids)
        ],
    }


def write(path: Path, content: object, *, packed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    if packed:
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


@pytest.fixture
def msrvtt(tmp_path: Path) -> Path:
    """Videos 0 to 3 train, 4 validate, 5 and 6 test; 1K-A tests 6 alone."""
    write(tmp_path / "train_val_videodatainfo.json", video_data(0, ["train"] * 4 + ["validate"]), packed=True)
    write(tmp_path / "test_videodatainfo.json", video_data(5, ["test"] * 2))
    write(tmp_path / "MSRVTT_train.9k.csv", "video_id\r\n" + "\r\n".join(f"video{n}" for n in range(6)))
    write(tmp_path / "MSRVTT_train.7k.csv", "video_id\n" + "\n".join(f"video{n}" for n in range(5)) + "\n")
    write(
        tmp_path / "MSRVTT_JSFUSION_test.csv", 'key,vid_key,video_id,sentence\nret0,msr6,video6,"one, two"\n'
    )
    return tmp_path


def test_msrvtt_in_its_two_forms_is_the_same(msrvtt: Path) -> None:
    parts = {split: load_split("msrvtt-full", split, msrvtt) for split in SPLIT_NAMES}
    assert [len(parts[split].videos) for split in SPLIT_NAMES] == [4, 1, 2]
    assert parts["val"].texts == [" first of video4", "second of video4"]
    assert parts["test"].protocol == "all-captions"
    assert "4 videos where 6,513 were published" in parts["train"].notes
    one, other = (video_data(0, ["train"] * 4 + ["validate"]), video_data(5, ["test"] * 2))
    merged = {
        "info": {},
        **{key: [*one[key], *other[key]] for key in ("videos", "sentences")},
    }
    write(msrvtt / "merged" / "msrvtt_data" / "MSRVTT_data.json", merged)
    for split in SPLIT_NAMES:
        again = load_split("msrvtt-full", split, msrvtt / "merged")
        assert again.content_hash == parts[split].content_hash


def test_msrvtt_1ka(msrvtt: Path) -> None:
    assert len(load_split("msrvtt", "train", msrvtt).captions) == 12
    assert len(load_split("msrvtt-7k", "train", msrvtt).captions) == 10
    test = load_split("msrvtt-1ka", "test", msrvtt)
    assert (test.videos, test.texts, test.protocol) == (("video6",), ["one, two"], "one-caption")
    with pytest.raises(DatasetError, match=r"holdout=0\.05"):
        load_split("msrvtt", "val", msrvtt)
    as_papers = load_split("msrvtt", "val", msrvtt, val_is_test=True)
    assert as_papers.content_hash == test.content_hash
    assert "val is the test set" in as_papers.notes[-1]


def test_a_held_out_part_is_of_train_and_the_same_whatever_else_there_is(msrvtt: Path) -> None:
    train, val = (load_split("msrvtt", split, msrvtt, holdout=0.5) for split in ("train", "val"))
    published = load_split("msrvtt", "train", msrvtt)
    assert {*train.videos, *val.videos} == set(published.videos)
    assert not overlap(train, val)
    assert set(val.videos) == {one for one in published.videos if place_of(one) < 0.5}
    assert val.protocol == "one-caption"
    assert all(text.startswith(" first") for text in val.texts)
    smaller = hold_out(published, 0.2)[1]
    assert set(smaller.videos) <= set(val.videos)
    assert smaller.protocol == "all-captions"
    assert len(hold_out(published, 1e-9)[1].videos) == 1
    with pytest.raises(InputError, match="holdout=1"):
        load_split("msrvtt", "val", msrvtt, holdout=1)


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.fixture
def msvd(tmp_path: Path) -> Path:
    for split, ids in (("train", "-a_1_2\n_b_3_4\n"), ("val", "c_1_2\n"), ("test", "\ufeffd_1_2\n")):
        write(tmp_path / "MSVD" / f"{split}_list.txt", ids)
    return tmp_path


MSVD = {"-a_1_2": ["a cat", "cats"], "_b_3_4": ["a dog"], "c_1_2": ["a car", " "], "d_1_2": ["a cow"]}


@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_msvd_from_json_and_from_a_pickle_is_the_same(msvd: Path, protocol: int) -> None:
    write(msvd / "MSVD" / "captions_msvd.json", MSVD)
    from_json = {split: load_split("msvd", split, msvd) for split in SPLIT_NAMES}
    assert from_json["train"].videos == ("-a_1_2", "_b_3_4")
    assert from_json["val"].texts == ["a car"]
    assert "1 empty captions were left out" in from_json["val"].notes
    assert from_json["test"].videos == ("d_1_2",)
    (msvd / "MSVD" / "captions_msvd.json").unlink()
    words = {video: [text.split() for text in texts] for video, texts in MSVD.items()}
    (msvd / "MSVD" / "raw-captions.pkl").write_bytes(pickle.dumps(words, protocol))
    for split in SPLIT_NAMES:
        assert load_split("msvd", split, msvd).content_hash == from_json[split].content_hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": Evil()}), "asks for builtins.print; only plain values"),
        (pickle.dumps(MSVD)[:-20], "not a plain pickle, or is cut"),
        (b"hello", "not a plain pickle"),
        (pickle.dumps([1]), "expected a dict from video id to captions, got list"),
        (pickle.dumps({**MSVD, "c_1_2": [[1]]}), "expected text, got int 1"),
        (pickle.dumps({**MSVD, "c_1_2": "a car"}), "expected a list of captions, got str"),
    ],
)
def test_no_code_of_a_pickle_runs(msvd: Path, capsys, content: bytes, message: str) -> None:
    (msvd / "MSVD" / "raw-captions.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_split("msvd", "val", msvd)
    assert capsys.readouterr().out == ""


TIMES = "00.00.01.000\t00.00.02.500\t00.00.01.000\t00.00.02.500"
CLIP = "0001_American_Beauty_00.00.51.926-00.00.54.129"


def test_lsmdc(tmp_path: Path) -> None:
    lines = [f"{CLIP}\t{TIMES}\tSOMEONE waits.", f"b_1\t{TIMES}\tHe runs.", f"{CLIP}\t{TIMES}\tShe waits."]
    write(tmp_path / "LSMDC16_annos_training.csv", "\r\n".join(lines) + "\r\n")
    write(tmp_path / "LSMDC16_challenge_1000_publictect.csv", lines[0] + f"\n\nc\t{TIMES}\t\n")
    train = load_split("lsmdc", "train", tmp_path)
    assert (train.videos, train.texts) == ((CLIP, "b_1"), ["She waits.", "He runs."])
    assert train.notes == (
        "1 lines are of a clip that a later line has too: the last one counts",
        "2 captions where 101,079 were published",
    )
    test = load_split("lsmdc", "test", tmp_path)
    assert test.texts == ["SOMEONE waits."]
    assert "1 lines without a sentence were left out" in test.notes
    write(tmp_path / "LSMDC16_annos_val.csv", lines[0] + "\nx\ty\n")
    with pytest.raises(DatasetError, match=r"line 2: expected 6 fields .* got 2"):
        load_split("lsmdc", "val", tmp_path)


def test_didemo_in_its_forms(tmp_path: Path) -> None:
    entries = [("1@N_a.mov", "one. "), ("2@N_b.", "two."), ("1@N_a.mov", " three."), ("3@N_c.3gp", "four")]
    document = [{"video": video, "description": text, "times": [[0, 0]]} for video, text in entries]
    write(tmp_path / "val_data.json", document)
    every = load_split("didemo", "val", tmp_path)
    assert dict(zip(every.videos, every.texts, strict=True)) == {
        "1@N_a": "one. three.",
        "2@N_b": "two.",
        "3@N_c": "four",
    }
    assert "without a list" in every.notes[0]
    write(tmp_path / "val_list.txt", "2@N_b.\n1@N_a.mp4\n")
    listed = load_split("didemo", "val", tmp_path)
    assert listed.videos == ("2@N_b", "1@N_a")
    assert listed.protocol == "paragraph"
    write(
        tmp_path / "tmass_didemo_train_label.csv",
        "success,video_path,starts,ends,text,formatted_data\n"
        'True,/home/x/1@N_a.mov,tensor([[0]]),tensor([[31]]),"one, three.",y\n',
    )
    assert load_split("didemo", "train", tmp_path).videos == ("1@N_a",)
    write(
        tmp_path / "pe2lr_test.jsonl", '{"clip_id": "1@N_a", "text": ["a ", "b"], "timestamps": [[0, 0]]}\n'
    )
    assert load_split("didemo", "test", tmp_path).texts == ["a b"]


def test_activitynet(tmp_path: Path) -> None:
    entry = {"duration": 9.5, "timestamps": [[0, 2], [5, 3]], "sentences": ["A man.", "  He runs. "]}
    write(tmp_path / "captions" / "train.json", {"v_a": entry, "v_-b": entry}, packed=True)
    write(tmp_path / "captions" / "val_1.json", {"v_c": entry, "v_d": entry})
    train = load_split("activitynet", "train", tmp_path)
    assert (train.videos, train.texts[0], train.protocol) == (("v_a", "v_-b"), "A man. He runs.", "paragraph")
    write(tmp_path / "captions" / "val_ids.json", ["d"])
    assert load_split("activitynet", "test", tmp_path).videos == ("v_d",)


def test_vatex_in_its_forms(tmp_path: Path) -> None:
    for split in SPLIT_NAMES:
        write(tmp_path / f"{split}_list.txt", f"-{split}_000001_000011\n", packed=True)
    captions = {f"-{split}_000001_000011": ["one", "two"] for split in SPLIT_NAMES}
    write(
        tmp_path / "vatex_training_v1.0.json",
        [{"videoID": video, "enCap": texts, "chCap": ["x"]} for video, texts in captions.items()],
    )
    official = load_split("vatex", "test", tmp_path)
    assert official.texts == ["one", "two"]
    write(tmp_path / "ref_captions.json", captions)
    assert load_split("vatex", "test", tmp_path).content_hash == official.content_hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(MSVD)[:-9], "not valid JSON, or is cut"),
        ("[" * 100_000, "not valid JSON, or is cut"),
        ("[]", "expected an object, got list"),
        ('{"c_1_2": {"a": 1}}', "expected a list of captions, got dict"),
        ('{"c_1_2": [null]}', "expected text, got NoneType"),
        ('{"c_1_2": []}', "1 of 1 listed videos have no caption"),
        ('{"other": ["x"]}', "'c_1_2'; the list and the captions must be of the same benchmark"),
        ("", "is empty"),
        (b'{"c_1_2": [\n"caf\xe9"]}', r"line 2 is not UTF-8 \(byte 0xe9\)"),
        (gzip.compress(json.dumps(MSVD).encode(), mtime=0)[:-12], "compressed data is damaged or cut"),
        (gzip.compress(b"  ", mtime=0), "is empty"),
    ],
)
def test_files_that_are_wrong(msvd: Path, content: str | bytes, message: str) -> None:
    path = msvd / "MSVD" / "captions_msvd.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message):
        load_split("msvd", "val", msvd)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_text(msvd: Path, encoding: str) -> None:
    (msvd / "MSVD" / "captions_msvd.json").write_bytes(json.dumps(MSVD).encode(encoding))
    (msvd / "MSVD" / "val_list.txt").write_bytes("c_1_2\r\n".encode(encoding))
    assert load_split("msvd", "val", msvd).videos == ("c_1_2",)


def test_lists_that_are_wrong(msvd: Path, msrvtt: Path) -> None:
    write(msvd / "MSVD" / "captions_msvd.json", MSVD)
    write(msvd / "MSVD" / "train_list.txt", "-a_1_2\n_b_3_4\n-a_1_2\n")
    with pytest.raises(DatasetError, match="lists '-a_1_2' twice"):
        load_split("msvd", "train", msvd)
    write(msvd / "MSVD" / "train_list.txt", "x\ny\nz\nw\nq\n")
    with pytest.raises(DatasetError, match=r"5 of 5 listed .*'x', 'y', 'z' and 2 more"):
        load_split("msvd", "train", msvd)
    write(msrvtt / "MSRVTT_train.9k.csv", "videoid\nvideo0\n")
    with pytest.raises(DatasetError, match=r"no column 'video_id'; did you mean 'videoid'\?"):
        load_split("msrvtt", "train", msrvtt)
    write(
        msrvtt / "MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nr,m,video6,one, two\n",
    )
    with pytest.raises(DatasetError, match="line 2: 5 fields where the header has 4"):
        load_split("msrvtt", "test", msrvtt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("videos"), "expected a list of objects under 'videos'"),
        (lambda d: d["videos"].append(d["videos"][0]), r"videos\[2\]: video 'video5' is there twice"),
        (lambda d: d["sentences"][0].update(video_id="z"), "'z' is not among the file's videos"),
        (lambda d: d["sentences"][0].pop("caption"), r"sentences\[0\], has no 'caption'"),
        (lambda d: d["sentences"][0].update(caption=3), "expected text, got int 3"),
        (lambda d: [one.update(split="x") for one in d["videos"]], "no video of the split 'test'"),
    ],
)
def test_msrvtt_files_that_are_wrong(msrvtt: Path, change, message: str) -> None:
    document = video_data(5, ["test"] * 2)
    change(document)
    write(msrvtt / "test_videodatainfo.json", document)
    with pytest.raises(DatasetError, match=message):
        load_split("msrvtt-full", "test", msrvtt)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_missing_file_is_named_with_every_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "annotations").mkdir()
    with pytest.raises(DatasetError) as caught:
        load_split(name, "test", tmp_path)
    assert f"{tmp_path / 'annotations'}" in str(caught.value)
    assert BENCHMARKS[name].get_it in str(caught.value)
    with pytest.raises(DatasetError, match="is not a folder"):
        load_split(name, "test", tmp_path / "nowhere")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'msrvtt-full'"):
        load_split("msrvtt-ful", "test", ".")
    with pytest.raises(InputError, match="did you mean 'test'"):
        load_split("msvd", "tests", ".")
