"""Model directories: written, read, shared, refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from framesift import hub
from framesift.encoders import load_encoder
from framesift.encoders.clip import ClipEncoder
from framesift.encoders.token_shift import TokenShiftClipEncoder
from framesift.errors import CheckpointError, ConfigError, UnknownModelError
from framesift.matchers import MeanPool, SoftmaxPool, XPool
from framesift.matchers.xpool import XPoolConfig
from framesift.model import RetrievalModel
from framesift.temporal import Identity
from tiny_models import tiny_clip, tiny_siglip, tiny_token_shift_clip


@dataclass(frozen=True)
class Clip:
    pixels: np.ndarray


VIDEOS = [
    Clip(np.random.default_rng(i).integers(0, 256, (n, 36, 48, 3), dtype=np.uint8))
    for i, n in enumerate((4, 2, 3))
]
TEXTS = ["a red circle moves", "two cats jump"]


def scores(model: RetrievalModel) -> torch.Tensor:
    return model.similarity(model.encode_text(TEXTS), model.encode_video(VIDEOS))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "clip")


@pytest.fixture
def model(clip: Path) -> RetrievalModel:
    encoder = load_encoder(clip, device="cpu")
    matcher = XPool(XPoolConfig(dim=encoder.dim))
    with torch.no_grad():
        for parameter in matcher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model = RetrievalModel(encoder, Identity(), matcher, logit_scale=3.25, num_frames=4, name="tiny-xpool")
    return model.eval()


def test_saved_and_loaded_it_is_the_same(model: RetrievalModel, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "saved", card="# tiny\n")
    again = hub.load(tmp_path / "saved", device="cpu")
    assert torch.equal(scores(again), scores(model))
    assert again.fingerprint() == model.fingerprint()
    assert isinstance(again.matcher, XPool)
    assert again.matcher.config == model.matcher.config
    assert again.logit_scale.item() == 3.25
    assert (again.num_frames, again.name) == (4, "tiny-xpool")
    assert not again.training
    assert (tmp_path / "saved" / "README.md").read_text() == "# tiny\n"


def test_the_resizer_is_saved(clip: Path, tmp_path: Path) -> None:
    encoder = load_encoder(clip, device="cpu", resize="pil")
    hub.save(RetrievalModel(encoder, Identity(), MeanPool()), tmp_path / "saved")
    assert hub.load(tmp_path / "saved").encoder.preprocessing.resizer == "pil"
    assert hub.load(tmp_path / "saved", resize="torch").encoder.preprocessing.resizer == "torch"


def test_half_precision_storage(model: RetrievalModel, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "half", dtype="fp16")
    hub.save(model, tmp_path / "full")
    sizes = [(tmp_path / n / "encoder" / "model.safetensors").stat().st_size for n in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    again = hub.load(tmp_path / "half", device="cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.equal(
        again.matcher.state_dict()["linear_proj.weight"], model.matcher.state_dict()["linear_proj.weight"]
    )
    torch.testing.assert_close(scores(again), scores(model), atol=1e-2, rtol=0)


def test_a_shared_encoder(model: RetrievalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.save(model, tmp_path / "base")
    hub.save(model, tmp_path / "head", encoder_from="tiny-base")
    assert not (tmp_path / "head" / "encoder").exists()
    with pytest.raises(UnknownModelError, match="'head' is that of 'tiny-base'"):
        hub.load(tmp_path / "head")
    monkeypatch.setitem(hub.MODELS, "tiny-base", tmp_path / "base")
    again = hub.load(tmp_path / "head", device="cpu")
    assert torch.equal(scores(again), scores(model))
    assert again.fingerprint() == hub.load("tiny-base", device="cpu").fingerprint()


def test_an_encoder_that_is_shared_twice(model: RetrievalModel, clip: Path, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "first", encoder_from=str(clip))
    hub.save(model, tmp_path / "second", encoder_from=str(tmp_path / "first"))
    assert torch.equal(scores(hub.load(tmp_path / "second", device="cpu")), scores(model))


def test_the_image_encoder_of_a_model(model: RetrievalModel, clip: Path, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "own")
    hub.save(model, tmp_path / "shared", encoder_from=str(clip))
    expected = model.encoder.encode_video(VIDEOS, patches=True).patch
    for place in (clip, tmp_path / "own", tmp_path / "shared"):
        found = hub.load_image_encoder(place, device="cpu").encode_video(VIDEOS).patch
        torch.testing.assert_close(found, expected)


def test_the_image_encoder_of_a_bundled_model() -> None:
    """Those that share an encoder give its tokens, except where a frame's tokens depend on the other frames."""
    one, other = (
        hub.load_image_encoder(name, device="cpu") for name in ("storyboard-clip", "storyboard-xclip")
    )
    assert one.fingerprint() == other.fingerprint()
    with pytest.raises(CheckpointError, match=r"storyboard-ts2net.* token shift.*'storyboard-clip'"):
        hub.load_image_encoder("storyboard-ts2net", device="cpu")
    with pytest.raises(UnknownModelError, match="did you mean 'storyboard-clip'"):
        hub.load_image_encoder("storyboard-clop", device="cpu")


def test_half_precision_storage_of_the_head(model: RetrievalModel, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "half", head_dtype="fp16")
    hub.save(model, tmp_path / "full")
    stored = load_file(tmp_path / "half" / "head.safetensors")
    assert {x.dtype for x in stored.values()} == {torch.float16}
    again = hub.load(tmp_path / "half", device="cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert again.fingerprint() == model.fingerprint(), "the encoder is stored as it is"
    assert not torch.equal(scores(again), scores(model)), "rounded"
    torch.testing.assert_close(scores(again), scores(model), atol=5e-3, rtol=0)


@pytest.fixture
def shifted(clip: Path, tmp_path: Path) -> RetrievalModel:
    """Saved in ``tmp_path / "shifted"``; it shares the encoder of ``clip``, with token shift."""
    plain = load_encoder(clip, device="cpu")
    assert type(plain) is ClipEncoder
    encoder = TokenShiftClipEncoder.from_clip(plain, shift_layers=[1])
    model = RetrievalModel(encoder, Identity(), MeanPool()).eval()
    hub.save(model, tmp_path / "shifted", encoder_from=str(clip))
    return model


def test_a_shared_encoder_with_token_shift(shifted: RetrievalModel, clip: Path, tmp_path: Path) -> None:
    assert not (tmp_path / "shifted" / "encoder").exists()
    again, plain = hub.load(tmp_path / "shifted", device="cpu"), hub.load(clip, device="cpu")
    assert isinstance(again.encoder, TokenShiftClipEncoder)
    assert again.encoder.shift_layers == (1,)
    seen, expected = again.encode_video(VIDEOS), shifted.encode_video(VIDEOS)
    assert torch.equal(seen.frame, expected.frame)
    assert not torch.allclose(seen.frame, plain.encode_video(VIDEOS).frame, atol=1e-4)
    assert torch.equal(again.encode_text(TEXTS).sentence, plain.encode_text(TEXTS).sentence)
    assert again.fingerprint() == shifted.fingerprint()
    assert again.fingerprint() != plain.fingerprint()


def test_a_shared_encoder_whose_token_shift_was_forgotten(shifted: RetrievalModel, tmp_path: Path) -> None:
    hub.save(shifted, tmp_path / "again", encoder_from=str(tmp_path / "shifted"))
    assert torch.equal(scores(hub.load(tmp_path / "again", device="cpu")), scores(shifted))
    edit(tmp_path / "again", encoder={"from": str(tmp_path / "shifted")})
    with pytest.raises(CheckpointError, match=r"that of .*shifted.*: it has token shift in \[1\]"):
        hub.load(tmp_path / "again")


def test_an_encoder_that_has_the_token_shift_already(tmp_path: Path) -> None:
    source = tiny_token_shift_clip(tmp_path / "source", shift_layers=(0, 1))
    hub.save(hub.load(source, device="cpu"), tmp_path / "head", encoder_from=str(source))
    again = hub.load(tmp_path / "head", device="cpu")
    assert torch.equal(scores(again), scores(hub.load(source, device="cpu")))
    edit(tmp_path / "head", encoder={"from": str(source), "shift_layers": [1]})
    with pytest.raises(CheckpointError, match=r"shift_layers=\[1\]: expected a CLIP without them"):
        hub.load(tmp_path / "head")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (1, "shift_layers is 1, expected a list of blocks"),
        ("01", "shift_layers is '01', expected a list of blocks"),
        ([0.0], r"shift_layers is \[0\.0\], expected a list of blocks"),
        ([[1]], r"shift_layers is \[\[1\]\], expected a list of blocks"),
        ([True], r"shift_layers is \[True\], expected a list of blocks"),
        ([1, 2], r"shift_layers=\[1, 2\]: expected blocks of the 2 of the visual tower"),
        ([-1], r"shift_layers=\[-1\]: expected blocks of the 2 of the visual tower"),
    ],
)
def test_a_wrong_token_shift_is_named(
    shifted: RetrievalModel, clip: Path, tmp_path: Path, layers: object, message: str
) -> None:
    edit(tmp_path / "shifted", encoder={"from": str(clip), "shift_layers": layers})
    with pytest.raises(CheckpointError, match=message) as caught:
        hub.load(tmp_path / "shifted")
    assert "'shifted' is that of" in str(caught.value)


def test_token_shift_is_of_clip_only(shifted: RetrievalModel, tmp_path: Path) -> None:
    other = tiny_siglip(tmp_path / "siglip")
    edit(tmp_path / "shifted", encoder={"from": str(other), "shift_layers": [1]})
    with pytest.raises(CheckpointError, match="expected a CLIP without them, found <SiglipEncoder"):
        hub.load(tmp_path / "shifted")


@pytest.mark.parametrize("maker", [tiny_clip, tiny_siglip])
def test_a_plain_checkpoint_gets_a_matcher_without_weights(maker, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = hub.load(maker(tmp_path / "plain"), device="cpu")
    assert isinstance(model.matcher, SoftmaxPool)
    assert model.logit_scale.item() == pytest.approx(model.encoder.logit_scale)
    assert scores(model).shape == (2, 3)


def test_another_matcher(clip: Path) -> None:
    by_name = hub.load(clip, matcher="mean_pool")
    assert isinstance(by_name.matcher, MeanPool)
    given = MeanPool()
    assert hub.load(clip, matcher=given).matcher is given
    with pytest.raises(ConfigError, match="mean_pool"):
        hub.load(clip, matcher="mean_pol")


def test_a_new_head_keeps_the_fingerprint_and_a_new_encoder_does_not(
    model: RetrievalModel, tmp_path: Path
) -> None:
    original = model.fingerprint()
    model.matcher = MeanPool()
    assert model.fingerprint() == original
    other = load_encoder(tiny_clip(tmp_path / "other", seed=1), device="cpu")
    assert RetrievalModel(other, Identity(), MeanPool()).fingerprint() != original


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'storyboard-clip'") as caught:
        hub.load("storybord-clip")
    assert "\n" not in str(caught.value)


def test_a_hub_id_without_network() -> None:
    with pytest.raises(UnknownModelError, match="framesift demo"):
        hub.load("nobody/has-this-model")


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected framesift\.json"):
        hub.load(tmp_path)


def edit(directory: Path, **changes: object) -> None:
    path = directory / "framesift.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 2, but this framesift reads 1"),
        ({"num_frames": 0}, "num_frames=0: expected a positive number"),
        ({"numframes": 3}, "did you mean 'num_frames'"),
        ({"matcher": {"name": "xpol"}}, "xpool"),
        ({"matcher": {"name": "xpool", "config": {"dimm": 3}}}, "dim"),
        ({"temporal": {"name": "identiy"}}, "did you mean 'identity'"),
        ({"reranker": {"name": "qformer"}}, "no reranker 'qformer'"),
        ({"encoder": {"form": "clip"}}, "expected a 'path' or a 'from'"),
    ],
)
def test_a_wrong_layout_is_named(
    model: RetrievalModel, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    hub.save(model, tmp_path / "saved")
    edit(tmp_path / "saved", **changes)
    with pytest.raises(CheckpointError, match=message):
        hub.load(tmp_path / "saved")


def test_a_wrong_head_is_named(model: RetrievalModel, tmp_path: Path) -> None:
    hub.save(model, tmp_path / "saved")
    path = tmp_path / "saved" / "head.safetensors"
    state = load_file(path)
    del state["logit_scale"]
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"head\.safetensors.* lack logit_scale"):
        hub.load(tmp_path / "saved")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"head\.safetensors"):
        hub.load(tmp_path / "saved")


def test_repr(model: RetrievalModel) -> None:
    text = repr(model)
    assert text.startswith("<RetrievalModel tiny-xpool: ClipEncoder 24-d on cpu")
    assert "XPool" in text


def test_a_matcher_of_another_width_than_its_encoder_is_refused(tmp_path: Path) -> None:
    tiny_clip(tmp_path / "clip")
    model = hub.load(tmp_path / "clip", device="cpu", matcher=XPool(XPoolConfig(dim=8)))
    hub.save(model, tmp_path / "model")
    layout = json.loads((tmp_path / "model" / "framesift.json").read_text())
    assert layout["matcher"]["config"]["dim"] == 8
    with pytest.raises(CheckpointError, match="8 wide"):
        hub.load(tmp_path / "model", device="cpu")
