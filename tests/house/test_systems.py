"""The table of systems names every part of this package, and says of each what the classes say."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.encoders import ENCODERS
from framesift.explanation import Explanation
from framesift.matchers import MATCHERS
from framesift.rerankers import RERANKERS, CrossTransformer, CrossTVR
from framesift.systems import EXPLAINED, SYSTEMS, System
from framesift.temporal import TEMPORALS

REGISTRIES = {"encoder": ENCODERS, "temporal": TEMPORALS, "matcher": MATCHERS, "reranker": RERANKERS}
WORDS_OF_RERANKERS = {CrossTransformer: False, CrossTVR: True}
"""Whether a reranker reads the words of a text, its own or the first stage's."""


@pytest.mark.parametrize("part", REGISTRIES)
def test_every_registered_part_is_in_a_system(part: str) -> None:
    used = {getattr(system, part) for system in SYSTEMS} - {None}
    missing = REGISTRIES[part].keys() - used
    assert not missing, f"no system in framesift.systems uses the {part} {missing}; add its paper there"
    assert used <= REGISTRIES[part].keys()


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_what_a_system_needs_is_what_its_parts_read(system: System) -> None:
    temporal, matcher = TEMPORALS[system.temporal], MATCHERS[system.matcher]
    reranker = RERANKERS[system.reranker] if system.reranker else None
    words = matcher.from_config(matcher.Config()).num_words is not None
    words |= reranker is not None and WORDS_OF_RERANKERS[reranker]
    patches = temporal.reads_patches or (reranker is not None and reranker.reads_patches)
    assert system.needs == ("frames", *["words"] * words, *["patch tokens"] * patches)


def test_papers_are_cited_in_full_and_systems_are_distinct() -> None:
    for system in SYSTEMS:
        assert re.fullmatch(r"\d{4}\.\d{5}", system.paper.arxiv)
        assert system.paper.authors.endswith(" et al.")
        assert 2000 + int(system.paper.arxiv[:2]) == system.paper.year
        assert system.paper.title
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)


def test_every_explanation_has_words() -> None:
    fields = {name for name in Explanation.__dataclass_fields__ if name not in ("scores", "words")}
    assert EXPLAINED.keys() == fields


def test_the_command_lists_them() -> None:
    plain = CliRunner().invoke(app, ["models"])
    assert plain.exit_code == 0, plain.output
    for system in SYSTEMS:
        assert f"{system.sentence}  ({system.paper})" in plain.stdout
    assert "needs frames, words; explains frame weights, contrast scores, words x frames" in plain.stdout
    listed = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)["systems"]
    assert [entry["name"] for entry in listed] == [system.name for system in SYSTEMS]
    assert listed[-1]["explains"] == ["frame_weight", "patch_selected", "patch_weight"]
