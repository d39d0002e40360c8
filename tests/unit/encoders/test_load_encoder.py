"""Loading from names and directories: what is missing or damaged is named, in one line."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from framesift.encoders import load_encoder, resolve_device
from framesift.encoders.weights import read_state, write_state
from framesift.errors import CheckpointError, InputError, UnknownModelError
from tiny_models import tiny_clip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "clip")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
)
def test_a_missing_file_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        load_encoder(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
)
def test_a_damaged_file_is_a_checkpoint_error(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_bytes(b"\x00damaged")
    with pytest.raises(CheckpointError) as caught:
        load_encoder(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_must_fit_exactly(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    state = load_file(path)
    name = "text_projection.weight"
    for change, message in (
        ({k: v for k, v in state.items() if k != name}, f"lack {name}"),
        ({**state, "extra": torch.zeros(1)}, "unknown extra"),
        ({**state, name: state[name][:5]}, rf"{name} \[5, 32\] instead of \[24, 32\]"),
    ):
        save_file({k: v.contiguous() for k, v in change.items()}, path)
        with pytest.raises(CheckpointError, match=message):
            load_encoder(checkpoint)


def test_another_architecture(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "siglp"}))
    with pytest.raises(CheckpointError, match="supported: clip, siglip, siglip2"):
        load_encoder(checkpoint)


def test_pickled_and_sharded_weights_and_old_buffers(checkpoint: Path) -> None:
    expected = load_encoder(checkpoint).fingerprint()
    state = load_file(checkpoint / "model.safetensors")
    state["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    (checkpoint / "model.safetensors").unlink()
    torch.save(state, checkpoint / "pytorch_model.bin")
    assert load_encoder(checkpoint).fingerprint() == expected
    (checkpoint / "pytorch_model.bin").unlink()
    names = sorted(state)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, checkpoint / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert load_encoder(checkpoint).fingerprint() == expected


class Evil:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (print, ("code was run",))


def test_a_pickle_with_code_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match="could run code"):
            read_state(tmp_path / name)
    assert "code was run" not in capsys.readouterr().out


def test_a_torchscript_archive_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(CheckpointError, match=r"TorchScript.*state_dict"):
        read_state(path)


def test_names_that_are_nothing() -> None:
    with pytest.raises(UnknownModelError, match="expected a directory, or a hub id"):
        load_encoder("no-such-model")
    with pytest.raises(UnknownModelError, match="hub id"):
        load_encoder("/no/such/directory")


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.touch()
    with pytest.raises(UnknownModelError, match="is a file"):
        load_encoder(path)


def test_a_hub_id_without_network_says_what_to_do() -> None:
    with pytest.raises(UnknownModelError) as caught:
        load_encoder("nobody/has-this-model")
    message = str(caught.value)
    assert "not in the local cache" in message
    assert "downloads are switched off" in message
    assert "--model DIR" in message
    assert "framesift demo" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "failure", [ConnectionError("down\nand out"), TimeoutError(), OSError(28, "disk full")]
)
def test_any_failure_of_the_hub_client_is_one_line(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise failure

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UnknownModelError, match="cannot download 'some/model'") as caught:
        load_encoder("some/model")
    assert "\n" not in str(caught.value)


def test_a_cached_snapshot_is_used(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def cached(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    assert load_encoder("some/model", revision="abc").fingerprint() == load_encoder(checkpoint).fingerprint()
    assert asked["name"] == "some/model"
    assert asked["revision"] == "abc"
    assert asked["local_files_only"] is True
    assert not [pattern for pattern in asked["allow_patterns"] if ".bin" in pattern]  # type: ignore[union-attr]


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(InputError, match="device='gpu'"):
        resolve_device("gpu")
    with pytest.raises(InputError, match="CUDA devices here"):
        resolve_device("cuda:99")


def test_dtypes(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="fp32, bf16, fp16"):
        load_encoder(checkpoint, dtype="int4")


@pytest.mark.parametrize("name", ["~no-such-user/model", "a" * 300])
def test_a_name_that_is_no_path_of_this_system(name: str) -> None:
    with pytest.raises(UnknownModelError, match="no model"):
        load_encoder(name)


def test_weights_are_written_with_the_permissions_of_other_files(tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        write_state({"x": torch.ones(2)}, tmp_path / "new.safetensors")
    finally:
        os.umask(earlier)
    assert (tmp_path / "new.safetensors").stat().st_mode & 0o777 == 0o644
