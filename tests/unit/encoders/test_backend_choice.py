"""What computes an encoder: asked, installed and built in."""

from __future__ import annotations

import pytest
import torch

from framesift.encoders import arithmetic
from framesift.encoders.arithmetic import WORTH_COMPILING, Arithmetic, asked, choose, forced
from framesift.errors import InputError, MissingExtraError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
LARGE, SMALL = WORTH_COMPILING, WORTH_COMPILING - 1
TORCH, OPENVINO = Arithmetic(), Arithmetic(backend="openvino")


def test_auto_takes_openvino_for_large_encoders_on_a_cpu() -> None:
    assert choose(backend="auto", precision="fp32", device=CPU, parameters=LARGE) == OPENVINO
    assert choose(backend="auto", precision="fp32", device=CPU, parameters=SMALL) == TORCH
    assert choose(backend="auto", precision="fp32", device=CUDA, parameters=LARGE) == TORCH
    assert choose(backend="openvino", precision="fp32", device=CPU, parameters=SMALL) == OPENVINO


def test_int8_is_openvino_whatever_the_size() -> None:
    chosen = choose(backend="auto", precision="int8", device=CPU, parameters=1)
    assert str(chosen) == "openvino int8"
    assert chosen.dtype == torch.float32


def test_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "find_spec", lambda name: None)
    assert choose(backend="auto", precision="bf16", device=CPU, parameters=LARGE).backend == "torch"
    for given in ({"backend": "openvino", "precision": "fp32"}, {"backend": "auto", "precision": "int8"}):
        with pytest.raises(MissingExtraError, match=r"pip install 'framesift\[openvino\]'"):
            choose(**given, device=CPU, parameters=LARGE)


@pytest.mark.parametrize(
    ("backend", "precision", "device", "message"),
    [
        ("torch", "int8", CPU, r"pip install 'framesift\[openvino\]'"),
        ("auto", "fp16", CPU, "CUDA only"),
        ("openvino", "fp16", CPU, "CUDA only"),
        ("openvino", "fp32", CUDA, "for CPUs"),
        ("auto", "int8", CUDA, "for CPUs"),
        ("openvinno", "fp32", CPU, "did you mean 'openvino'"),
        ("auto", "bf61", CPU, "fp32, bf16, fp16, int8"),
    ],
)
def test_what_cannot_be_is_refused(backend: str, precision: str, device: torch.device, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(backend=backend, precision=precision, device=device, parameters=LARGE)


def test_a_given_value_wins_over_the_environment() -> None:
    environment = {"FRAMESIFT_BACKEND": "openvino", "FRAMESIFT_PRECISION": "bf16"}
    assert asked(None, None, environment) == ("openvino", "bf16")
    assert asked("torch", "fp32", environment) == ("torch", "fp32")
    assert asked(None, None, {}) == ("auto", "fp32")
    with pytest.raises(InputError, match="FRAMESIFT_PRECISION='int4'"):
        asked(None, None, {"FRAMESIFT_PRECISION": "int4"})


def test_force_is_read_as_the_command_line_reads_it() -> None:
    for value, expected in (("1", True), ("yes", True), ("0", False), ("False", False), ("", False)):
        assert forced({"FRAMESIFT_FORCE_PRECISION": value}) is expected
    assert not forced({})
