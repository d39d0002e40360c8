"""Towers run by OpenVINO: equal to torch's, kept on disk, given up when the weights change."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from framesift.encoders import ENCODERS, Encoder, conversion, load_encoder
from framesift.encoders import gate as gates
from framesift.encoders.gate import CLIPS, GateReport, gate, measure
from framesift.encoders.samples import calibration_pictures, check_clips
from framesift.errors import ModelError
from framesift.hub import load

TEXTS = ["a red circle", "two cats jump over the small blue square while it rains", "dog"]
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of towers, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("FRAMESIFT_BACKEND", "FRAMESIFT_PRECISION", "FRAMESIFT_FORCE_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "framesift" / "encoders"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_clip(tmp_path_factory.mktemp("clip") / "clip")


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 56, 3), dtype=np.uint8)


class Clip:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_fp32_equals_torch_for_any_batch_and_length(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load_encoder(
        getattr(tiny_models, f"tiny_{kind}")(tmp_path / kind), device="cpu", backend="torch"
    )
    videos = [Clip(pictures(3)), Clip(pictures(1))]
    text, video = encoder.encode_text(TEXTS, words=True), encoder.encode_video(videos, patches=True)
    with caplog.at_level(logging.INFO):
        encoder.use(device="cpu", backend="openvino")
        for texts in (TEXTS, TEXTS[:1]):
            again = encoder.encode_text(texts, words=True)
            torch.testing.assert_close(again.sentence, text.sentence[: len(texts)], **CLOSE)
            torch.testing.assert_close(again.word[0, :4], text.word[0, :4], **CLOSE)
        found = encoder.encode_video(videos, patches=True, batch_size=3)
    torch.testing.assert_close(found.frame, video.frame, **CLOSE)
    torch.testing.assert_close(found.patch, video.patch, **CLOSE)
    torch.testing.assert_close(encoder.encode_video(videos).frame, video.frame, **CLOSE)
    told = [record.message for record in caplog.records]
    assert any("the text tower" in line and "is ready" in line for line in told), "what takes a while is told"
    if encoder.traceable == {"text"} and kind == "siglip2":
        assert any("cannot take the vision tower of 'siglip2': torch computes it" in line for line in told)
    if kind in ("clip", "siglip"):
        assert any("the vision tower" in line and "is ready" in line for line in told)


def test_patches_of_three_frames(clip: Path) -> None:
    encoder = load_encoder(clip, device="cpu").with_3d_patches()
    videos = [Clip(pictures(3))]
    expected = encoder.encode_video(videos).frame
    encoder.use(device="cpu", backend="openvino")
    torch.testing.assert_close(encoder.encode_video(videos).frame, expected, **CLOSE)


def test_a_second_process_reads_what_the_first_converted(
    clip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_encoder(clip, device="cpu", backend="openvino").encode_text(TEXTS).sentence
    (entry,) = cache.iterdir()
    assert "text-fp32-openvino" in entry.name
    monkeypatch.setattr(conversion, "_convert", lambda *_: pytest.fail("converted again"))
    second = load_encoder(clip, device="cpu", backend="openvino").encode_text(TEXTS).sentence
    torch.testing.assert_close(first, second)


def test_a_damaged_entry_is_made_again(clip: Path, cache: Path) -> None:
    first = load_encoder(clip, device="cpu", backend="openvino").encode_text(TEXTS).sentence
    (entry,) = cache.iterdir()
    weights = bytearray((entry / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 0x40
    (entry / "model.bin").write_bytes(weights)
    again = load_encoder(clip, device="cpu", backend="openvino").encode_text(TEXTS).sentence
    torch.testing.assert_close(first, again)


def test_without_a_cache_it_works_all_the_same(
    clip: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    encoder = load_encoder(clip, device="cpu", backend="openvino")
    assert encoder.encode_text(TEXTS).sentence.shape == (3, encoder.dim)
    assert "cannot keep" in caplog.text


def test_changed_weights_are_seen(clip: Path) -> None:
    encoder = load_encoder(clip, device="cpu", backend="openvino")
    before = encoder.encode_text(TEXTS).sentence
    with torch.no_grad():
        encoder.model.text_projection.weight.mul_(2)
    torch.testing.assert_close(encoder.encode_text(TEXTS).sentence, 2 * before, **CLOSE)


def test_replaced_weights_are_seen(clip: Path) -> None:
    encoder = load_encoder(clip, device="cpu", backend="openvino")
    before = encoder.encode_text(TEXTS).sentence
    state = encoder.model.state_dict()
    doubled = {**state, "text_projection.weight": 2 * state["text_projection.weight"]}
    encoder.model.load_state_dict(doubled, assign=True)
    torch.testing.assert_close(encoder.encode_text(TEXTS).sentence, 2 * before, **CLOSE)


def test_a_full_disk_is_told_and_nothing_else(
    clip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_encoder(clip, device="cpu", backend="torch").encode_text(TEXTS).sentence
    ov = conversion.import_openvino()

    def full(_: object, path: Path, **__: object) -> None:
        path.write_text("half")
        raise RuntimeError("Exception from openvino\nNo space left on device")

    def cut(made: object, path: Path, **given: object) -> None:
        real(made, path, **given)
        path.with_suffix(".bin").write_bytes(b"")

    real = ov.save_model
    for save in (full, cut):  # told of by OpenVINO, or not
        monkeypatch.setattr(ov, "save_model", save)
        encoder = load_encoder(clip, device="cpu", backend="openvino")
        torch.testing.assert_close(encoder.encode_text(TEXTS).sentence, expected, **CLOSE)
        assert not list(cache.iterdir())
    assert "No space left" in caplog.text


def test_threads_share_it_and_copies_compile_anew(clip: Path) -> None:
    encoder = load_encoder(clip, device="cpu", backend="openvino")
    expected = encoder.encode_text(TEXTS).sentence
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode_text(TEXTS).sentence, range(40)):
            assert torch.equal(found, expected)
    assert torch.equal(copy.deepcopy(encoder).encode_text(TEXTS).sentence, expected)
    assert pickle.loads(pickle.dumps(encoder.openvino)).precision == "fp32"


def test_what_cannot_be_converted(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(encoder: Encoder, tower: str) -> None:
        raise ModelError("OpenVINO cannot take it")

    monkeypatch.setattr(conversion, "_convert", refuse)
    with pytest.raises(ModelError, match="cannot take it"):
        load_encoder(clip, device="cpu", backend="openvino").encode_text(TEXTS)
    monkeypatch.setattr("framesift.encoders.arithmetic.WORTH_COMPILING", 1)
    auto = load_encoder(clip, device="cpu")
    assert auto.arithmetic.backend == "openvino"
    assert auto.encode_text(TEXTS).sentence.shape[0] == len(TEXTS)
    assert "torch computes it instead" in caplog.text


def test_int8_is_not_replaced_by_fp32(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(encoder: Encoder, tower: str) -> None:
        raise ModelError("OpenVINO cannot take it")

    monkeypatch.setattr(conversion, "_convert", refuse)
    with pytest.raises(ModelError, match="cannot take it"):
        load_encoder(clip, device="cpu", dtype="int8").encode_text(TEXTS)


def test_a_broken_installation_is_left_to_torch(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("framesift.encoders.arithmetic.WORTH_COMPILING", 1)
    auto = load_encoder(clip, device="cpu")
    assert auto.arithmetic.backend == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert auto.encode_text(TEXTS).sentence.shape[0] == len(TEXTS)
    assert "cannot be loaded" in caplog.text


def test_a_wrong_conversion_is_noticed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(clip, device="cpu", backend="openvino")
    ov = conversion.import_openvino()
    real = ov.convert_model

    class Off(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            sentence, word = self.module(*inputs)
            return 1.01 * sentence, word

    def other(module: torch.nn.Module, example_input: object) -> object:
        return real(Off(module), example_input=example_input)

    monkeypatch.setattr(ov, "convert_model", other)
    with pytest.raises(ModelError, match="computes something else"):
        encoder.encode_text(TEXTS)


def test_nothing_is_written_home_or_sent(clip: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import socket, sys; socket.socket.connect = lambda *a: sys.exit('connects')\n"
        "from framesift.encoders import load_encoder\n"
        f"load_encoder({str(clip)!r}, device='cpu', backend='openvino').encode_text(['a dog'])\n"
        "assert 'openvino_telemetry.main' not in sys.modules"
    )
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "elsewhere")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))


# ---- below fp32


def test_int8_is_gated_and_the_report_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("storyboard-clip", device="cpu", dtype="int8")
    report = model.encoder.compared
    assert report is not None
    assert report.texts == CLIPS
    assert 0.96 < report.frame_least <= report.frame_mean < 0.99999, "it is int8"
    assert abs(report.r1_before - report.r1_after) <= 4.2
    assert not report.problems
    (kept,) = (cache / "gate").iterdir()
    assert json.loads(kept.read_text())["frame_mean"] == report.frame_mean
    monkeypatch.setattr(gates, "measure", lambda *_: pytest.fail("measured again"))
    assert load("storyboard-clip", device="cpu", dtype="int8").encoder.compared == report


def test_what_is_too_far_is_refused_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = GateReport(
        backend="torch", precision="bf16", version="torch", instructions="", frame_least=0.5, frame_mean=float("nan"),
        text_least=1.0, text_mean=1.0, texts=96, ranks_changed=90, r1_before=40.0, r1_after=10.0,
    )  # fmt: skip
    monkeypatch.setattr(gates, "measure", lambda *_: bad)
    with pytest.raises(ModelError, match=r"0\.5000, limit 0\.998.*nan.*R@1 40\.0 became 10\.0") as raised:
        load("storyboard-clip", device="cpu", dtype="bf16", backend="torch")
    assert "--force-precision" in str(raised.value)
    assert (
        load("storyboard-clip", device="cpu", dtype="bf16", backend="torch", force=True).encoder.compared
        == bad
    )
    monkeypatch.setenv("FRAMESIFT_FORCE_PRECISION", "1")
    monkeypatch.setenv("FRAMESIFT_PRECISION", "bf16")
    assert load("storyboard-clip", device="cpu").encoder.arithmetic.precision == "bf16"


def test_fp32_has_no_gate_and_bf16_of_torch_is_measured(clip: Path) -> None:
    encoder = load_encoder(clip, device="cpu")
    assert gate(encoder) is None
    encoder.use(device="cpu", dtype="bf16", backend="torch")
    report = measure(encoder, check_clips(6))
    assert 0.99 < report.frame_least < 1
    assert encoder.dtype == torch.bfloat16, "it is left as it was"


def test_a_cpu_without_the_instructions_is_told_so(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gates, "speeds_up", lambda precision: False)
    monkeypatch.setattr(gates, "measure", lambda encoder: measure(encoder, check_clips(4)))
    encoder = load_encoder(clip, device="cpu", dtype="bf16", backend="torch")
    for known in ((), ("avx2",)):  # a system that does not tell is not known to lack them
        gates._tell_if_slow.cache_clear()
        monkeypatch.setattr(gates, "instructions", lambda known=known: known)
        gate(encoder, force=True)
        gate(encoder, force=True)
    gates._tell_if_slow.cache_clear()
    assert (
        caplog.text.count("no instructions for bf16 (it has avx2): here it is slower than fp32, not faster")
        == 1
    )


def test_calibration_and_check_share_no_picture_and_are_the_same_every_time() -> None:
    pictures = calibration_pictures(8)
    assert np.array_equal(pictures, calibration_pictures(8))
    assert not any(np.array_equal(clip.pixels[0], picture) for clip in check_clips(8) for picture in pictures)


def test_the_limits_are_those_of_the_documents() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "encoding.md").read_text()
    for title, precision in (("bf16, fp16", "bf16"), ("bf16, fp16", "fp16"), ("int8", "int8")):
        limits = gates.LIMITS[precision]
        row = f"| {title} | {limits.least_cosine:g} | {limits.mean_cosine:g} | {limits.lost_r1:g} points |"
        assert row in page
    assert f"{CLIPS} clips" in page
