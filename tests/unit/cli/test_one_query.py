"""What computes the encoder of a verb that answers one query and ends."""

from __future__ import annotations

import os

import pytest

from framesift.cli.arithmetic import for_one_query


@pytest.mark.parametrize(
    ("backend", "precision", "expected"),
    [
        (None, None, "torch"),
        (None, "fp32", "torch"),
        ("auto", None, "auto"),
        ("openvino", None, "openvino"),
        (None, "int8", None),
    ],
)
def test_torch_unless_something_was_said(
    backend: str | None, precision: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FRAMESIFT_BACKEND", backend), ("FRAMESIFT_PRECISION", precision)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with for_one_query():
        assert os.environ.get("FRAMESIFT_BACKEND") == expected
    assert os.environ.get("FRAMESIFT_BACKEND") == backend
