"""Real video files into an index and out again as hits; killed, locked, changed and broken on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from colour_model import COLOURS, ColourEncoder, ColourModel, write_clip
from framesift.errors import (
    DecodeError,
    FingerprintError,
    IndexLockedError,
    IndexNotFoundError,
    IndexRecoveredWarning,
    IndexStateError,
    InputError,
)
from framesift.index import BuildConfig, Index, Progress
from framesift.index import store as store_module
from framesift.index.lock import WriterLock
from framesift.index.store import Store
from framesift.matchers import MeanPool
from framesift.similarity import similarity_matrix
from framesift.video.decode import decode
from framesift.video.sampling import Uniform

MANY = ["red", "green", "blue", "white"]
QUICK = BuildConfig(workers=0)  # starting a process takes longer than decoding these clips
PROTECTED = BuildConfig(workers=1, timeout_s=60)

BUILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from colour_model import ColourEncoder, ColourModel
from framesift.index import BuildConfig, Index

if __name__ == "__main__":
    class Slow(ColourEncoder):
        def encode_video(self, videos):
            time.sleep(float(sys.argv[4]))
            return super().encode_video(videos)

    with Index.open(sys.argv[2], model=ColourModel(encoder=Slow())) as index:
        config = BuildConfig(workers=1, batch_frames=4, commit_videos=2)
        print("started", flush=True)
        index.add(sys.argv[3], config=config, progress=lambda p: print(p.done, flush=True))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of one colour each, and one that shows four."""
    folder = tmp_path_factory.mktemp("clips")
    for colour in COLOURS:
        write_clip(folder / f"{colour}.mp4", [colour])
    write_clip(folder / "deep" / "many.mp4", MANY)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "the.index", model=ColourModel(), moments="whole") as made:
        yield made


def _names(index: Index, query: str, **options: object) -> list[str]:
    return [Path(hit.video).name for hit in index.search(query, **options)]


def _check_whole(index: Index, videos: int) -> None:
    """Every video once, each with its moments, no moment without a video."""
    records = index.videos()
    assert len({record.uri for record in records}) == len(records) == videos
    table = index._opened().moments().to_table(columns=["moment_id", "video_id"])
    assert max(Counter(table["moment_id"].to_pylist()).values()) == 1
    assert set(table["video_id"].to_pylist()) == {r.video_id for r in records if r.status == "ok"}


def test_videos_are_found_by_what_they_show(index: Index, clips: Path) -> None:
    seen: list[Progress] = []
    report = index.add(clips, progress=seen.append, config=PROTECTED)
    assert (report.added, report.skipped, report.failed, report.moments) == (7, 0, [], 7)
    assert json.loads(json.dumps(report.to_dict()))["added"] == 7
    assert [p.done for p in seen] == list(range(8))
    assert seen[0].eta_s is None
    assert seen[-1].fraction == 1.0
    assert seen[-1].eta_s == 0.0
    assert seen[-1].done_bytes == seen[-1].total_bytes == sum(f.stat().st_size for f in clips.rglob("*.mp4"))
    for colour in COLOURS:
        hits = index.search(f"something {colour}")
        showing = {f"{colour}.mp4"} | ({"many.mp4"} if colour in MANY else set())
        assert {Path(hit.video).name for hit in hits[: len(showing)]} == showing
        assert [hit.rank for hit in hits] == list(range(1, 8))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hit_shows_which_frames_answered(index: Index, clips: Path) -> None:
    index.add(clips / "deep", config=QUICK)
    (hit,) = index.search("blue")
    assert (hit.start_s, hit.end_s) == (0.0, pytest.approx(4.0))
    assert hit.frame_times_s == pytest.approx([0.5, 1.5, 2.5, 3.5])
    assert sum(hit.attention) == pytest.approx(1.0)
    assert max(range(4), key=hit.attention.__getitem__) == 2


def test_mean_pool_search_scores_as_evaluation_does(index: Index, clips: Path) -> None:
    index.add(clips, config=QUICK)
    model = ColourModel(matcher=MeanPool())
    with Index.open(index.path, model=model) as opened:
        hits = opened.search("green or yellow", k=100)
    for hit in hits:
        video = model.encoder.encode_video([decode(hit.video, Uniform(num_frames=model.num_frames))])
        expected = float(model.matcher(model.encode_text(["green or yellow"]), video))
        assert hit.score == pytest.approx(expected, abs=2e-3)  # stored as fp16


def test_long_video_is_cut_and_adjacent_moments_merge(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", ["red", "green", "blue"], seconds=25, fps=4)
    with Index.create(tmp_path / "i", model=ColourModel()) as index:
        report = index.add(clip, config=QUICK)
        assert report.moments > 3
        (best,) = index.search("green", k=1)
        assert 24 <= best.start_s < best.end_s <= 51
        hits = index.search("green", k=100)
        assert [(h.start_s, h.end_s) for h in hits] == [(0.0, pytest.approx(75.0, abs=0.5))]
        assert len(hits[0].frame_times_s) == len(hits[0].attention)
        assert list(hits[0].frame_times_s) == sorted(hits[0].frame_times_s)
        assert sum(hits[0].attention) == pytest.approx(1.0)
        (video,) = index.search("green", k=100, unit="video")
        assert video.end_s - video.start_s <= 10.01


def test_stored_features_are_what_evaluation_scores(index: Index, clips: Path, tmp_path: Path) -> None:
    index.add(clips, config=QUICK)
    paths = [clips / f"{colour}.mp4" for colour in COLOURS]
    text = index.model.encode_text(list(COLOURS))
    scores = similarity_matrix(index.model.matcher, text, index.features(paths))
    assert scores.argmax(dim=1).tolist() == list(range(len(COLOURS)))
    for t, colour in enumerate(COLOURS):
        found = {hit.video: hit.score for hit in index.search(colour, k=100)}
        assert [found[str(path)] for path in paths] == pytest.approx(scores[t].tolist(), abs=1e-6)
    with pytest.raises(InputError, match="has 0 moments in the index"):
        index.features([tmp_path / "none.mp4"])


def test_second_build_reads_nothing(index: Index, clips: Path) -> None:
    index.add(clips, config=QUICK)
    before = index.model.encoder.encoded
    versions = index._opened().version()
    report = index.add([clips, clips / "red.mp4"], config=QUICK)
    assert (report.added, report.replaced, report.skipped) == (0, 0, 7)
    assert index.model.encoder.encoded == before
    assert index._opened().version() == versions


def test_changed_file_replaces_its_rows(index: Index, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "v" / "a.mp4", ["red"])
    write_clip(tmp_path / "v" / "b.mp4", ["blue"])
    index.add(tmp_path / "v", config=QUICK)
    identity = {r.uri: r.video_id for r in index.videos()}
    write_clip(clip, ["green"], seconds=2)
    report = index.add(tmp_path / "v", config=QUICK)
    assert (report.added, report.replaced, report.skipped) == (0, 1, 1)
    assert {r.uri: r.video_id for r in index.videos()} == identity
    assert _names(index, "green") == ["a.mp4", "b.mp4"]
    assert index.search("green")[0].end_s == pytest.approx(2.0)
    _check_whole(index, 2)


def test_file_that_breaks_loses_its_rows_and_one_that_heals_gets_them_back(
    index: Index, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "a.mp4", ["red"])
    index.add(clip, config=QUICK)
    good = clip.read_bytes()
    clip.write_bytes(b"no video at all")
    report = index.add(clip, config=QUICK)
    assert [error.path for error in report.failed] == [str(clip)]
    assert index.search("red") == []
    assert index.videos()[0].status == "failed"
    clip.write_bytes(good)
    assert index.add(clip, config=QUICK).replaced == 1
    assert _names(index, "red") == ["a.mp4"]
    _check_whole(index, 1)


def test_moved_file_keeps_its_rows(index: Index, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "v" / "a.mp4", ["red"])
    index.add(tmp_path / "v", config=QUICK)
    before = index.model.encoder.encoded
    clip.rename(tmp_path / "v" / "renamed.mp4")
    report = index.add(tmp_path / "v", config=QUICK)
    assert (report.moved, report.added) == (1, 0)
    assert index.model.encoder.encoded == before
    assert _names(index, "red") == ["renamed.mp4"]
    _check_whole(index, 1)


def test_bad_files_are_reported_once_and_retried_when_asked(
    index: Index, clips: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"<html>404</html>")
    report = index.add([clips, bad], config=PROTECTED)
    assert report.added == 7
    (error,) = report.failed
    assert isinstance(error, DecodeError)
    assert error.path == str(bad)
    record = next(r for r in index.videos() if r.uri == str(bad))
    assert (record.status, record.error) == ("failed", error.reason)
    again = index.add([clips, bad], config=QUICK)
    assert (again.skipped, again.known_failures, again.failed) == (8, 1, [])
    retried = index.add(bad, config=BuildConfig(workers=1, retry_failed=True))
    assert len(retried.failed) == 1
    assert index.info().failed == 1
    _check_whole(index, 8)


def test_features_that_overflow_are_a_failure_of_that_video(tmp_path: Path, clips: Path) -> None:
    class Huge(ColourEncoder):
        def encode_video(self, videos):  # type: ignore[no-untyped-def]
            features = super().encode_video(videos)
            for i, video in enumerate(videos):
                features.frame[i] *= 1e9 if video.path.endswith("red.mp4") else 1
            return features

    with Index.create(tmp_path / "i", model=ColourModel(encoder=Huge())) as index:
        report = index.add([clips / "red.mp4", clips / "blue.mp4"], config=QUICK)
        assert [Path(error.path).name for error in report.failed] == ["red.mp4"]
        assert "not finite" in report.failed[0].reason
        assert _names(index, "red") == ["blue.mp4"]


def test_remove_and_prune(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    for name, colour in (("a", "red"), ("b", "green"), ("sub/c", "blue"), ("sub2/d", "white")):
        write_clip(folder / f"{name}.mp4", [colour])
    index.add(folder, config=QUICK)
    assert index.remove([folder / "sub", folder / "a.mp4"]) == [
        str(folder / "a.mp4"),
        str(folder / "sub/c.mp4"),
    ]
    assert sorted(_names(index, "red")) == ["b.mp4", "d.mp4"]
    with pytest.raises(InputError, match="holds nothing of"):
        index.remove(folder / "b")
    assert index.prune() == []
    (folder / "b.mp4").unlink()
    assert index.prune() == [str(folder / "b.mp4")]
    assert _names(index, "red") == ["d.mp4"]
    _check_whole(index, 1)


def test_wrong_paths_leave_the_index_as_it_was(index: Index, clips: Path, tmp_path: Path) -> None:
    index.add(clips, config=QUICK)
    versions = index._opened().version()
    with pytest.raises(InputError, match="nothing was indexed"):
        index.add([clips, tmp_path / "nowhere"], config=QUICK)
    assert index._opened().version() == versions


@pytest.mark.parametrize("query", ["", "  \n"])
def test_empty_query(index: Index, query: str) -> None:
    with pytest.raises(InputError, match="the query is empty"):
        index.search(query)


def test_bad_search_arguments(index: Index, clips: Path) -> None:
    index.add(clips / "red.mp4", config=QUICK)
    with pytest.raises(InputError, match="k is 0"):
        index.search("red", k=0)
    with pytest.raises(InputError, match="depth is -1"):
        index.search("red", depth=-1)
    with pytest.raises(InputError, match="unit='film' is unknown"):
        index.search("red", unit="film")  # type: ignore[arg-type]


def test_search_in_an_empty_index_finds_nothing(index: Index) -> None:
    assert index.search("red") == []


def test_other_matcher_opens_and_other_encoder_is_refused(index: Index, clips: Path) -> None:
    index.add(clips, config=QUICK)
    with Index.open(index.path, model=ColourModel(matcher=MeanPool())) as opened:
        assert _names(opened, "blue")[0] == "blue.mp4"
    versions = index._opened().version()
    with pytest.raises(FingerprintError, match=r"c0c0c0c0c0c0.*dededededede.*index the videos again"):
        Index.open(index.path, model=ColourModel(identity="de" * 16))
    assert index._opened().version() == versions


def test_index_of_a_nameless_model_says_so_when_it_is_needed(index: Index) -> None:
    with Index.open(index.path) as opened:
        assert opened.info().moments == 0
        with pytest.raises(IndexStateError, match="has no name; give it"):
            opened.search("red")


def test_creating_and_opening_in_wrong_places(index: Index, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexStateError, match="there is an index at"):
        Index.create(index.path, model=ColourModel())
    with pytest.raises(InputError, match="holds other files"):
        Index.create(clips, model=ColourModel())
    with pytest.raises(InputError, match="is a file"):
        Index.create(clips / "red.mp4", model=ColourModel())
    with pytest.raises(InputError, match=r"'shot' is unknown.*did you mean 'shots'"):
        Index.create(tmp_path / "new", model=ColourModel(), moments="shot")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    with pytest.raises(IndexNotFoundError, match="no index at"):
        Index.open(tmp_path / "new")
    with pytest.raises(IndexNotFoundError):
        Index.open(clips / "red.mp4")


def test_remains_of_a_killed_creation_are_replaced(index: Index) -> None:
    (index.path / "framesift-index.json").unlink()
    with pytest.raises(IndexNotFoundError):
        Index.open(index.path)
    with Index.create(index.path, model=ColourModel()) as again:
        assert len(again) == 0


def test_closed_index_says_so_and_prints(index: Index, clips: Path) -> None:
    index.add(clips, config=QUICK)
    assert repr(index) == "<Index the.index 7 moments, model c0c0c0c0c0c0>"
    info = index.info()
    assert (info.videos, info.moments, info.failed, info.cutting) == (7, 7, 0, "whole")
    assert info.duration_s == pytest.approx(10.0)
    assert json.dumps(info.to_dict())
    index.close()
    assert repr(index) == "<Index the.index closed, model c0c0c0c0c0c0>"
    with pytest.raises(IndexStateError, match="was closed"):
        index.search("red")


def test_second_writer_is_refused_and_searching_goes_on(index: Index, clips: Path) -> None:
    index.add(clips, config=QUICK)
    with WriterLock(index.path):
        for write in (lambda: index.add(clips), lambda: index.remove(clips), index.prune):
            with pytest.raises(IndexLockedError, match=f"process {os.getpid()} "):
                write()
        assert _names(index, "red")[0] == "red.mp4"
    _check_whole(index, 7)


def test_killed_build_resumes_with_every_row_once(index: Index, clips: Path) -> None:
    arguments = [str(Path(__file__).parents[1]), str(index.path), str(clips)]
    for lines in (2, 5):  # killed once before the first commit is due, once after it
        command = [sys.executable, "-c", BUILD, *arguments, "0.2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as builder:
            assert builder.stdout is not None
            for _ in range(lines):
                assert builder.stdout.readline()
            os.killpg(builder.pid, signal.SIGKILL)
            builder.wait()
        known = {r.uri for r in index.videos()}
        assert {hit.video for hit in index.search("red", k=100)} == known
    assert 0 < len(known) < 7
    report = index.add(clips, config=QUICK)
    assert (report.added, report.skipped) == (7 - len(known), len(known))
    _check_whole(index, 7)


def test_reader_sees_what_another_process_commits(index: Index, clips: Path) -> None:
    command = [
        sys.executable,
        "-c",
        BUILD,
        str(Path(__file__).parents[1]),
        str(index.path),
        str(clips),
        "0.1",
    ]
    sizes: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "started\n"
        while builder.poll() is None:
            sizes.append(len(index.search("red", k=100)))
    assert builder.returncode == 0
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 2, "the reader should have seen the index grow"
    assert _names(index, "red")[0] == "red.mp4"


def test_threads_search_while_another_adds(index: Index, clips: Path) -> None:
    index.add(clips / "red.mp4", config=QUICK)
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            try:
                if _names(index, "red")[0] != "red.mp4":
                    wrong.append("another first hit")
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        index.add(clips, config=BuildConfig(workers=0, batch_frames=4, commit_videos=1))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    _check_whole(index, 7)


def test_a_bundled_model_is_remembered_by_its_name_beside_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "storyboard-clip").mkdir()
    monkeypatch.chdir(tmp_path)
    with Index.create("new.index", model=ColourModel(), reference="storyboard-clip") as made:
        assert made.info().model == "storyboard-clip"


def test_names_are_data(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    names = [
        "-dash.mp4",
        "quote' semi;$(touch x).mp4",
        "new\nline.mp4",
        "tail .mp4",
        "клип 🐕.mp4",
        b"\xff\xfe.mp4",
    ]
    for name, colour in zip(names, COLOURS, strict=True):
        write_clip(folder / os.fsdecode(name), [colour])
    report = index.add(folder, config=PROTECTED)
    assert (report.added, report.failed) == (6, [])
    for name, colour in zip(names, COLOURS, strict=True):
        assert _names(index, colour)[0] == os.fsdecode(name)
    assert index.add(folder, config=QUICK).skipped == 6
    assert [Path(path).name for path in index.remove(folder / os.fsdecode(b"\xff\xfe.mp4"))] == [
        "\udcff\udcfe.mp4"
    ]
    assert index.verify().ok
    assert not (tmp_path / "x").exists()
    assert not Path("x").exists()


def test_keyframes_may_stand_for_frames_if_the_index_says_so(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", MANY, seconds=2)
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole", snap_s=60.0) as index:
        index.add(clip, config=QUICK)
        (hit,) = index.search("red")
        assert hit.frame_times_s[0] == 0.0, (
            "the keyframe at the start stands for the first frame that was due"
        )
        assert index.info().snap_s == 60.0
    with Index.open(tmp_path / "i", model=ColourModel()) as again:
        assert again.info().snap_s == 60.0
    with pytest.raises(InputError, match="snap_s=-1"):
        Index.create(tmp_path / "j", model=ColourModel(), snap_s=-1.0)


def test_moments_closer_than_a_millisecond_have_ids_of_their_own(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", MANY, seconds=1)
    content = clip.read_bytes()
    mdhd = content.index(b"mdhd") + 16  # version, flags, two times, then the timescale
    scale = int.from_bytes(content[mdhd : mdhd + 4], "big")
    clip.write_bytes(content[:mdhd] + (scale * 10_000).to_bytes(4, "big") + content[mdhd + 4 :])
    with Index.create(tmp_path / "i", model=ColourModel(), moments="shots") as index:
        for _ in "12":
            index.add(clip, config=QUICK)
            assert index.verify().ok
            os.utime(clip, (1, 1))
        assert len(index) > 1


def test_search_begins_again_when_the_version_it_reads_is_dropped(
    index: Index, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "GRACE_S", 0.0)
    index.add(clips / "red.mp4", config=QUICK)
    index.add(clips / "deep", config=QUICK)
    old = index.gallery()
    index.compact()
    for colour in ("green", "blue", "yellow"):
        index.add(clips / f"{colour}.mp4", config=QUICK)
    index.compact()
    with pytest.raises(IndexStateError, match="cannot read"):
        old.features_and_times(torch.tensor([0]))
    current = index.gallery
    given = iter([old])
    monkeypatch.setattr(index, "gallery", lambda: next(given, None) or current())
    assert _names(index, "red")[0] == "red.mp4"
    assert next(given, None) is None


def test_a_batch_that_cannot_be_written_ends_the_build(
    index: Index, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise IndexStateError("No space left on device")

    monkeypatch.setattr(Store, "commit", full)
    with pytest.raises(IndexStateError, match="No space left"):
        index.add(clips, config=BuildConfig(workers=0, commit_videos=1))
    monkeypatch.undo()
    assert index.add(clips, config=QUICK).added == 7
    _check_whole(index, 7)


def test_damage_found_on_opening_is_said_and_indexed_again(index: Index, clips: Path) -> None:
    index.add(clips / "red.mp4", config=QUICK)
    index.add(clips, config=QUICK)
    newest = min((index.path / "moments.lance" / "_versions").glob("*.manifest"))
    os.truncate(newest, newest.stat().st_size // 2)
    with pytest.warns(IndexRecoveredWarning, match="run framesift index again"):
        opened = Index.open(index.path, model=ColourModel())
    with opened:
        assert opened.info().set_aside == 2
        assert _names(opened, "red") == ["red.mp4"]
        assert opened.add(clips, config=QUICK).added == 6
        _check_whole(opened, 7)
        assert opened.verify().ok


def test_files_that_vanish_or_grow_while_they_are_read(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    stays, goes, grows = (
        write_clip(folder / f"{name}.mp4", [colour])
        for name, colour in (("stays", "red"), ("goes", "green"), ("grows", "blue"))
    )

    def meanwhile(progress: Progress) -> None:
        if progress.done == 0:
            goes.unlink()
            with grows.open("ab") as file:
                file.write(bytes(100))

    report = index.add(folder, config=BuildConfig(workers=1, commit_videos=1), progress=meanwhile)
    assert (report.added, [Path(error.path).name for error in report.failed]) == (2, ["goes.mp4"])
    assert "No such file" in report.failed[0].reason
    assert stays.exists()
    again = index.add(folder, config=QUICK)
    assert (again.skipped, again.replaced) == (1, 1), "what had changed since it was listed is read again"
    assert [Path(path).name for path in index.prune()] == ["goes.mp4"]
    _check_whole(index, 2)
