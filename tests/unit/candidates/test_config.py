"""Which engine a gallery gets."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from framesift.candidates import EXACT_UP_TO, CandidateConfig, choose, default_depth
from framesift.errors import ConfigError


def test_size_decides_unless_the_user_does() -> None:
    auto = CandidateConfig()
    assert choose(1, auto) == choose(EXACT_UP_TO, auto) == "exact"
    assert choose(EXACT_UP_TO + 1, auto) == "faiss"
    assert choose(10**9, CandidateConfig(kind="exact")) == "exact"
    assert choose(10, CandidateConfig(kind="faiss")) == "faiss"
    assert choose(10, CandidateConfig(kind="milvus")) == "milvus"


def test_the_depth_is_never_more_than_there_is() -> None:
    assert default_depth(7) == 7
    assert default_depth(10**6) == 200
    assert default_depth(0) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "fiass"}, "kind is 'fiass'; it must be one of auto, exact"),
        ({"by": "video"}, "by is 'video'; it must be one of auto, mean, frame, scene"),
        ({"rescored": 0}, "rescored is 0; it must be at least 1"),
        ({"probes": 0}, "probes is 0; it must be at least 1, or None"),
    ],
)
def test_a_wrong_value_says_what_is_right(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CandidateConfig(**values)


def test_faiss_is_loaded_only_when_codes_are() -> None:
    code = "import framesift.candidates, sys; print('faiss' in sys.modules, 'pymilvus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
