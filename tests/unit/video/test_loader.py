from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import faulty_decoders
from clip_maker import make_clip
from framesift.errors import DecodeError, InputError
from framesift.video import Frames, Uniform, decode, load_videos


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("loader") / "good.mp4", 10)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = set(psutil.Process().children())
    yield
    left = set(psutil.Process().children()) - before
    assert not left


def copies(good: Path, folder: Path, *names: str) -> list[Path]:
    return [Path(shutil.copy(good, folder / f"{name}.mp4")) for name in names]


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_with_errors_among_them(good: Path, tmp_path: Path, workers: int) -> None:
    paths = copies(good, tmp_path, *"abcdefg")
    paths[2].write_text("no video")
    results = list(load_videos(paths, Uniform(num_frames=4), workers=workers))
    expected = decode(good, Uniform(num_frames=4))
    for path, result in zip(paths, results, strict=True):
        if path == paths[2]:
            assert isinstance(result, DecodeError)
            assert str(result.path) == str(path)
        else:
            assert isinstance(result, Frames)
            assert result.path == str(path)
            np.testing.assert_array_equal(result.pixels, expected.pixels)
            np.testing.assert_array_equal(result.times_s, expected.times_s)
            assert result.info is not None
            assert result.info.width == 96


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("exit", "ended unexpectedly .status 7"),
        ("kill", "ended unexpectedly .SIGKILL"),
        ("abort", "perhaps it needed more memory than allowed"),
        ("hang", "longer than 1.5 s"),
        ("raise", "ZeroDivisionError: oops"),
        ("memory", "needs more memory than allowed"),
    ],
)
def test_a_fault_costs_one_file(good: Path, tmp_path: Path, fault: str, reason: str) -> None:
    paths = copies(good, tmp_path, "a", fault, "b", "c")
    results = list(load_videos(paths, Uniform(), workers=1, timeout_s=1.5, decoder=faulty_decoders.misbehave))
    assert [isinstance(result, Frames) for result in results] == [True, False, True, True]
    with pytest.raises(DecodeError, match=reason):
        raise results[1]  # type: ignore[misc]


def test_transform_runs_in_the_worker(good: Path) -> None:
    (frames,) = load_videos([good], Uniform(), workers=1, transform=faulty_decoders.tiny)
    assert isinstance(frames, Frames)
    assert frames.pixels.shape == (10, 8, 8, 3)
    frames.pixels[0, 0, 0, 0] = 1  # the caller's own memory


def test_paths_are_taken_as_needed(good: Path, tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield good

    results = load_videos(endless(), Uniform(num_frames=1), workers=2)
    for _ in range(5):
        assert isinstance(next(results), Frames)
    assert taken <= 5 + 4
    results.close()  # type: ignore[attr-defined]


def test_stopping_does_not_wait_for_a_hung_file(good: Path, tmp_path: Path) -> None:
    paths = copies(good, tmp_path, "a", "hang", "b")
    results = load_videos(paths, Uniform(), workers=1, timeout_s=500.0, decoder=faulty_decoders.misbehave)
    assert isinstance(next(results), Frames)
    started = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 20


def test_workers_are_reused(good: Path) -> None:
    pids = {
        frames.times_s[0]
        for frames in load_videos([good] * 6, Uniform(), workers=1, decoder=faulty_decoders.pid)
        if isinstance(frames, Frames)
    }
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_what_cannot_be_imported_by_a_worker_is_said(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty_decoders.tiny, "__module__", "nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", faulty_decoders)
    with pytest.raises(InputError, match="cannot start: ModuleNotFoundError"):
        list(load_videos([good], Uniform(), workers=1, transform=faulty_decoders.tiny))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="workers"):
        load_videos([], Uniform(), workers=-1)
    with pytest.raises(InputError, match="timeout_s"):
        load_videos([], Uniform(), workers=1, timeout_s=0)


def test_a_worker_does_not_outlive_its_parent(good: Path, tmp_path: Path) -> None:
    (hang,) = copies(good, tmp_path, "hang")
    script = (
        "import faulty_decoders, sys\n"
        "from framesift.video import Uniform, load_videos\n"
        "list(load_videos(sys.argv[1:], Uniform(), workers=1, decoder=faulty_decoders.misbehave))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", script, str(hang)], env=environment)
    try:
        for _ in range(200):
            workers = psutil.Process(parent.pid).children()
            if workers and workers[0].cpu_times().user > 0:
                break
            time.sleep(0.05)
        assert workers
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_decoding_imports_no_torch() -> None:
    script = "import sys, framesift.video.worker; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0


def test_a_worker_imports_nothing_from_the_current_directory(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('a file beside the videos was run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (frames,) = load_videos([good], Uniform(num_frames=2), workers=1)
    assert isinstance(frames, Frames)


def test_a_worker_computes_on_one_core(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    (frames,) = load_videos([good], Uniform(), workers=1, decoder=faulty_decoders.threads)
    assert isinstance(frames, Frames)
    assert frames.times_s.tolist() == [1.0]
