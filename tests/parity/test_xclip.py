"""X-CLIP: its scores, each component, losses, gradients, and pixels to logits equal the reference's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from framesift.errors import CheckpointError
from framesift.features import TextFeatures, VideoFeatures
from framesift.imports.layout import Options
from framesift.imports.xclip import XCLIP
from framesift.matchers import MultiGrained, MultiGrainedConfig
from framesift.model import RetrievalModel
from framesift.temporal import (
    Identity,
    Temporal,
    TemporalLSTM,
    TemporalLSTMConfig,
    TemporalTransformer,
    TemporalTransformerConfig,
)
from framesift.training.losses import symmetric_contrastive
from golden_files import golden_files, read_golden

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
LOGITS = {"atol": 1e-4, "rtol": 1e-5}


def parameters(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The reference's parameters below ``prefix``, without it."""
    prefix = f"param.{prefix}"
    return {key.removeprefix(prefix): x for key, x in golden.items() if key.startswith(prefix)}


def head(golden: dict[str, Tensor], metadata: dict[str, Any]) -> MultiGrained:
    """The reference's matrices under our names, which are theirs."""
    matcher = MultiGrained(
        MultiGrainedConfig(
            dim=metadata["embed_dim"],
            max_words=metadata["max_words"],
            max_frames=metadata["max_frames"],
            mask_padding=False,
        )
    )
    matrices = {name: golden[f"param.{name}"] for name, _ in matcher.named_parameters()}
    assert len(matrices) == 8
    matcher.load_state_dict({**matrices, "padding_frame": matcher.padding_frame})
    return matcher.eval()


def temporal_module(golden: dict[str, Tensor], metadata: dict[str, Any]) -> Temporal:
    """What makes the video feature; the frames stay as they are."""
    dim = metadata["embed_dim"]
    if metadata["sim_header"] == "meanP":
        return Identity()
    if metadata["sim_header"] == "seqLSTM":
        lstm = TemporalLSTM(TemporalLSTMConfig(dim=dim, keep_frames=True))
        lstm.lstm.load_state_dict(parameters(golden, "lstm_visual."))
        return lstm
    positions = golden["param.frame_position_embeddings.weight"]
    transformer = TemporalTransformer(
        TemporalTransformerConfig(
            dim=dim,
            num_layers=metadata["head_layers"],
            num_heads=metadata["heads"],
            max_frames=len(positions),
            keep_frames=True,
        )
    )
    blocks = parameters(golden, "transformerClip.resblocks.")
    transformer.load_state_dict(
        {"position_embedding.weight": positions, **{f"blocks.{name}": x for name, x in blocks.items()}}
    )
    return transformer.eval()


def features(golden: dict[str, Tensor]) -> tuple[TextFeatures, VideoFeatures]:
    text = TextFeatures(
        sentence=golden["sequence_output"][:, 0],
        word=golden["seq_features"],
        word_mask=golden["attention_mask"].bool(),
    )
    return text, VideoFeatures(frame=golden["visual_output"], frame_mask=golden["video_mask"].bool())


def every_form(matcher: MultiGrained, text: TextFeatures, video: VideoFeatures) -> list[Tensor]:
    return [matcher(text, video), matcher.scorer(video)(text), matcher.query_scorer(text)(video)]


@pytest.mark.parametrize("path", golden_files("xclip_head_*.safetensors"))
@torch.no_grad()
def test_head(path: Path) -> None:
    golden, metadata = read_golden(path)
    matcher = head(golden, metadata)
    text, video = features(golden)
    video = temporal_module(golden, metadata)(video)
    scale = golden["param.clip.logit_scale"].exp()
    found = matcher.contrasts(text, video)
    for name in ("video_sentence", "video_word", "sentence_frame", "frame_word"):
        expected = golden[f"{name}_logits"]
        torch.testing.assert_close(
            scale * getattr(found, name), expected, **LOGITS, msg=lambda m, n=name: f"{n}: {m}"
        )
    torch.testing.assert_close(found.frame_word, golden["frame_word_aosm_unscaled"], **CLOSE)
    for similarity in every_form(matcher, text, video):
        torch.testing.assert_close(scale * similarity, golden["logits"], **LOGITS)


@pytest.mark.parametrize("path", golden_files("xclip_loss_grad_*.safetensors"))
def test_loss_and_every_gradient(path: Path) -> None:
    golden, metadata = read_golden(path)
    matcher, temporal = head(golden, metadata), temporal_module(golden, metadata)
    inputs = {
        f"grad_{name}": golden[name].requires_grad_()
        for name in ("sequence_output", "seq_features", "visual_output")
    }
    text, video = features(golden)
    scale = golden["param.clip.logit_scale"].requires_grad_()
    similarity = matcher(text, temporal(video))
    loss = symmetric_contrastive(similarity, scale)
    loss.backward()
    torch.testing.assert_close((scale.exp() * similarity).detach(), golden["logits"], **LOGITS)
    torch.testing.assert_close(loss.detach(), golden["loss"], **LOGITS)
    found = {
        **{name: x.grad for name, x in inputs.items()},
        "grad.clip.logit_scale": scale.grad,
        **{f"grad.{name}": parameter.grad for name, parameter in matcher.named_parameters()},
    }
    assert {key for key in golden if key.startswith("grad")} == set(found)
    for key, gradient in found.items():
        torch.testing.assert_close(
            gradient, golden[key], atol=1e-4, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
        )


def imported(golden: dict[str, Tensor]) -> RetrievalModel:
    """The model of a golden file's parameters, as a checkpoint of theirs would be read."""
    return XCLIP.build(parameters(golden, ""), Options(tokenizer=None, resize="pil", name="x"))


@pytest.mark.parametrize("path", golden_files("xclip_e2e_*.safetensors"))
@torch.no_grad()
def test_pixels_and_ids_to_logits(path: Path) -> None:
    golden, metadata = read_golden(path)
    model = imported(golden)
    assert model.num_frames == metadata["max_frames"]
    assert model.matcher.num_words == metadata["max_words"]
    text = model.encoder.encode_tokens(golden["input_ids"], golden["attention_mask"].bool(), words=True)
    torch.testing.assert_close(text.sentence, golden["sequence_output"][:, 0], **CLOSE)
    torch.testing.assert_close(text.word, golden["seq_features"], **CLOSE)
    pixels = golden["video"].flatten(1, 3)  # [video, frame, 3, y, x]
    frame = model.encoder.encode_pixels(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
    torch.testing.assert_close(frame, golden["visual_output"], **CLOSE)
    mask = golden["video_mask"].bool()
    scale = model.logit_scale.exp()
    # what an encoder and a gallery make of short videos, no blank frames, is the same
    for given in (frame, frame.masked_fill(~mask[..., None], 0.0)):
        video = model.temporal(VideoFeatures(frame=given, frame_mask=mask))
        for similarity in every_form(model.matcher, text, video):
            torch.testing.assert_close(scale * similarity, golden["logits"], **LOGITS)
    loss = symmetric_contrastive(model.matcher(text, video), model.logit_scale)
    torch.testing.assert_close(loss, golden["loss"], **LOGITS)


# ---- the import names what is wrong


@pytest.fixture
def state() -> dict[str, Tensor]:
    found = golden_files("xclip_e2e_*.safetensors")[0].values[0]
    if found is None:
        pytest.skip("no end-to-end numbers")
    return parameters(read_golden(found)[0], "")


def test_the_layout_is_recognised_by_its_matrices(state: dict[str, Tensor]) -> None:
    assert XCLIP.recognises(state)
    assert not XCLIP.recognises({name: x for name, x in state.items() if "_weight" not in name})


@pytest.mark.parametrize("name", ["word_mat_weight2", "local_mat_weight", "frame_logit_weight"])
def test_a_matrix_is_missing_or_of_another_size(state: dict[str, Tensor], name: str) -> None:
    missing = {key: x for key, x in state.items() if key != name}
    with pytest.raises(CheckpointError, match=f"X-CLIP's attention lack {name}"):
        XCLIP.build(missing, Options(tokenizer=None))
    with pytest.raises(CheckpointError, match=r"X-CLIP's attention have \w+ \[\d+, \d+\] instead of"):
        XCLIP.build({**state, name: torch.eye(7)}, Options(tokenizer=None))


def test_no_matrix_over_words_at_all(state: dict[str, Tensor]) -> None:
    without = {name: x for name, x in state.items() if not name.startswith("word_")}
    with pytest.raises(CheckpointError, match="lack a matrix word_logit_weight"):
        XCLIP.build(without, Options(tokenizer=None))


def test_other_parameters_are_those_of_clip4clip(state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match="have the unknown odd"):
        XCLIP.build({**state, "odd": torch.zeros(1)}, Options(tokenizer=None))
    name = "transformerClip.resblocks.0.ln_1.bias"
    with pytest.raises(CheckpointError, match=f"lack {name}"):
        XCLIP.build({key: x for key, x in state.items() if key != name}, Options(tokenizer=None))


def test_without_a_temporal_module_the_video_is_the_mean_of_its_frames(state: dict[str, Tensor]) -> None:
    bare = {
        name: x for name, x in state.items() if not name.startswith(("transformerClip.", "frame_position"))
    }
    model = XCLIP.build(bare, Options(tokenizer=None))
    assert isinstance(model.temporal, Identity)
    assert not model.matcher.config.needs_video
    assert XCLIP.build(state, Options(tokenizer=None)).matcher.config.needs_video
