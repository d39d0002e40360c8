"""Every encoder of the registry is an encoder: batches, padding, files and fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from framesift.encoders import ENCODERS, Encoder, TokenShiftClipEncoder, load_encoder
from framesift.encoders.arithmetic import has_openvino
from framesift.errors import InputError, ShapeError

MAKERS: dict[str, Callable[..., Path]] = {name: getattr(tiny_models, f"tiny_{name}") for name in ENCODERS}
TEXTS = ["a red circle", "", "two cats jump over the small blue square while it rains, 12 words", "x" * 200]
CLOSE = {"atol": 2e-6, "rtol": 1e-5}


@dataclass(frozen=True)
class Clip:
    pixels: np.ndarray


def clips(*lengths: int, height: int = 40, width: int = 56) -> list[Clip]:
    random = np.random.default_rng(0)
    return [Clip(random.integers(0, 256, (n, height, width, 3), dtype=np.uint8)) for n in lengths]


@pytest.fixture(scope="module", params=sorted(ENCODERS))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("checkpoint") / request.param)


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return load_encoder(checkpoint, device="cpu")


def test_the_registry_key_is_the_class_name(encoder: Encoder) -> None:
    assert ENCODERS[encoder.name] is type(encoder)


def test_text_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    together = encoder.encode_text(TEXTS, words=True)
    assert together.sentence.shape == (len(TEXTS), encoder.dim)
    for i, text in enumerate(TEXTS):
        alone = encoder.encode_text([text], words=True)
        torch.testing.assert_close(together.sentence[i], alone.sentence[0], **CLOSE)
        real = together.word_mask[i]
        assert real.sum() == alone.word_mask[0].sum()
        torch.testing.assert_close(together.word[i, real], alone.word[0, alone.word_mask[0]], **CLOSE)
    assert encoder.encode_text(TEXTS).word is None
    torch.testing.assert_close(encoder.encode_text(TEXTS).sentence, together.sentence, **CLOSE)


def test_texts_differ(encoder: Encoder) -> None:
    sentence = encoder.encode_text(TEXTS).sentence
    distances = torch.cdist(sentence, sentence) + torch.eye(len(TEXTS))
    assert distances.min() > 1e-3


def test_long_text_is_cut_with_its_end_kept(encoder: Encoder) -> None:
    ids, mask = encoder.tokenize(["x" * 500])
    assert ids.shape[1] == encoder.context_length
    assert mask.all()
    if encoder.name == "clip":
        assert ids[0, -1] == encoder.tokenizer.eos_token_id


def test_a_video_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    videos = clips(3, 1, 5)
    together = encoder.encode_video(videos, patches=True, batch_size=4)
    assert together.frame.shape == (3, 5, encoder.dim)
    assert together.frame_mask.sum(dim=1).tolist() == [3, 1, 5]
    for i, video in enumerate(videos):
        frame, patch = encoder.encode_pixels(encoder.preprocess(video.pixels), patches=True)
        torch.testing.assert_close(together.frame[i, : len(frame)], frame, **CLOSE)
        torch.testing.assert_close(together.patch[i, : len(frame)], patch, **CLOSE)


def test_frames_across_videos_equal_one_by_one(encoder: Encoder) -> None:
    if isinstance(encoder, TokenShiftClipEncoder):
        pytest.skip("its frames see their neighbours")
    videos = clips(3, 1, 5)
    together = encoder.encode_video(videos, patches=True, batch_size=4)
    for i, video in enumerate(videos):
        for j, picture in enumerate(video.pixels):
            frame, patch = encoder.encode_pixels(encoder.preprocess(picture[None]), patches=True)
            torch.testing.assert_close(together.frame[i, j], frame[0], **CLOSE)
            torch.testing.assert_close(together.patch[i, j], patch[0], **CLOSE)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batch_size_is_only_a_memory_knob(encoder: Encoder, batch_size: int) -> None:
    videos = clips(2, 4, 8)
    one, other = encoder.encode_video(videos), encoder.encode_video(videos, batch_size=batch_size)
    torch.testing.assert_close(one.frame, other.frame, **CLOSE)


def test_videos_of_different_sizes(encoder: Encoder) -> None:
    wide, tall = clips(2, height=24, width=90)[0], clips(3, height=70, width=30)[0]
    together = encoder.encode_video([wide, tall, wide])
    torch.testing.assert_close(together.frame[2, :2], encoder.encode_video([wide]).frame[0], **CLOSE)
    torch.testing.assert_close(together.frame[1], encoder.encode_video([tall]).frame[0], **CLOSE)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_pixels_of_other_sizes_are_refused_in_the_same_words(
    checkpoint: Path, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "openvino" and not has_openvino():  # to import it here would switch its reporting of use on
        pytest.skip("OpenVINO is not installed: pip install 'framesift[openvino]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = load_encoder(checkpoint, device="cpu", backend=backend)
    right = encoder.preprocess(clips(2)[0].pixels)
    for wrong in (right[..., :-1], right[:, :-1], right[:, :1], right.permute(0, 2, 3, 1)):
        with pytest.raises(ShapeError) as caught:
            encoder.encode_pixels(wrong)
        told = str(caught.value)
        assert told.startswith(
            f"pixels for the vision tower of {encoder.name!r}: expected [frame, {right.shape[1]}, "
        )
        assert told.endswith(f"as preprocess() makes them, got {list(wrong.shape)}")
    assert encoder.encode_pixels(right).shape == (2, encoder.dim)


def test_nothing_in_nothing_out(encoder: Encoder) -> None:
    assert len(encoder.encode_text([])) == 0
    assert len(encoder.encode_text([], words=True)) == 0
    assert len(encoder.encode_video([])) == 0
    empty = encoder.encode_video(clips(0, 2))
    assert empty.frame_mask.tolist() == [[False, False], [True, True]]
    assert encoder.encode_video(clips(0), patches=True).patch.shape[:2] == (1, 0)


def test_training_path_reaches_every_parameter(encoder: Encoder) -> None:
    pixels = encoder.preprocess(clips(2)[0].pixels)
    frame = encoder.forward_pixels(pixels)
    text = encoder.forward_text(*encoder.tokenize(TEXTS[:2]))
    torch.testing.assert_close(frame.detach(), encoder.encode_pixels(pixels), **CLOSE)
    torch.testing.assert_close(text.detach(), encoder.encode_text(TEXTS[:2]).sentence, **CLOSE)
    (frame.square().sum() + text.square().sum()).backward()
    for name, parameter in encoder.model.named_parameters():
        if not name.startswith("logit_"):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    encoder.zero_grad()


def test_inference_restores_the_training_mode(encoder: Encoder) -> None:
    encoder.train()
    features = encoder.encode_text(["a dog"])
    assert encoder.training
    assert not features.sentence.requires_grad
    encoder.eval()


def test_saved_and_loaded_it_is_the_same(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    again = load_encoder(tmp_path, device="cpu")
    assert again.fingerprint() == encoder.fingerprint()
    assert torch.equal(again.encode_text(TEXTS).sentence, encoder.encode_text(TEXTS).sentence)
    assert torch.equal(again.encode_video(clips(2)).frame, encoder.encode_video(clips(2)).frame)


def test_weights_stored_in_half_precision_load_as_fp32(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save(tmp_path, dtype="fp16")
    again = load_encoder(tmp_path, device="cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert again.fingerprint() != encoder.fingerprint()
    similarity = torch.cosine_similarity(
        again.encode_text(TEXTS).sentence, encoder.encode_text(TEXTS).sentence
    )
    assert similarity.min() > 0.9999


def test_fingerprint_tells_weights_and_preprocessing(
    checkpoint: Path, encoder: Encoder, tmp_path: Path
) -> None:
    original = encoder.fingerprint()
    assert load_encoder(checkpoint, device="cpu").fingerprint() == original
    assert load_encoder(checkpoint, device="cpu", dtype="bf16").fingerprint() == original
    encoder.encode_video(clips(3), batch_size=2)
    assert encoder.fingerprint() == original
    assert load_encoder(checkpoint, device="cpu", resize="pil").fingerprint() != original
    other = MAKERS[encoder.name](tmp_path, seed=1)
    assert load_encoder(other, device="cpu").fingerprint() != original


def test_fingerprint_follows_training(checkpoint: Path) -> None:
    encoder = load_encoder(checkpoint, device="cpu")
    original = encoder.fingerprint()
    with torch.no_grad():
        next(p for n, p in encoder.model.named_parameters() if "final_layer_norm.bias" in n).add_(1e-3)
    assert encoder.fingerprint() != original


def test_bf16_is_close_and_gives_fp32_features(checkpoint: Path, encoder: Encoder) -> None:
    reduced = load_encoder(checkpoint, device="cpu", dtype="bf16")
    exact, close = encoder.encode_video(clips(3)).frame, reduced.encode_video(clips(3)).frame
    assert close.dtype == torch.float32
    assert not torch.equal(exact, close)
    assert torch.cosine_similarity(exact, close, dim=-1).min() > 0.999


def test_fp16_on_a_cpu_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"fp16.* is for CUDA only"):
        load_encoder(checkpoint, device="cpu", dtype="fp16")


def test_bad_input_is_named(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="batch_size=0"):
        encoder.encode_video(clips(1), batch_size=0)
    with pytest.raises(ShapeError, match="uint8"):
        encoder.encode_video([Clip(np.zeros((1, 8, 8, 3), dtype=np.float32))])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_cuda_equals_cpu(checkpoint: Path, encoder: Encoder, dtype: str) -> None:
    there = load_encoder(checkpoint, device="cuda", dtype=dtype)
    assert there.fingerprint() == encoder.fingerprint()
    for a, b in (
        (there.encode_text(TEXTS).sentence, encoder.encode_text(TEXTS).sentence),
        (there.encode_video(clips(3)).frame, encoder.encode_video(clips(3)).frame),
    ):
        assert torch.cosine_similarity(a.cpu(), b, dim=-1).min() > 0.999


def test_a_head_can_be_trained_on_the_features(encoder: Encoder) -> None:
    head = torch.nn.Linear(encoder.dim, 1)
    head(encoder.encode_video(clips(2)).frame).sum().backward()
    assert head.weight.grad is not None
