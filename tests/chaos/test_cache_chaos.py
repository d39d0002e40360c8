"""What must not reach an answer: killed refreshes, flipped bits and full disks of the cache."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chaos.cache_storm import Outcome, flips_storm, full_disk, kills_storm


def test_flipped_bits_are_noticed_and_built_again(tmp_path: Path) -> None:
    outcome = Outcome(seed=5)
    flips_storm(tmp_path, outcome, flips=26, chance=random.Random(5))
    assert outcome.wrong == []
    assert len(outcome.flips) >= 12  # kinds of files
    assert 0 < outcome.in_place < 26


def test_a_full_disk_stops_a_refresh_only(tmp_path: Path) -> None:
    outcome = Outcome(seed=0)
    full_disk(tmp_path, outcome)
    assert outcome.wrong == []
    assert outcome.full >= 3


def test_kills_reach_no_reader(tmp_path: Path) -> None:
    outcome = Outcome(seed=6)
    kills_storm(tmp_path, outcome, kills=2, chance=random.Random(6))
    assert outcome.wrong == []
    assert outcome.reads > 5
    assert outcome.cached_parts > 0


@pytest.mark.slow
def test_many_kills_reach_no_reader(tmp_path: Path) -> None:
    outcome = Outcome(seed=7)
    kills_storm(tmp_path, outcome, kills=50, chance=random.Random(7))
    assert outcome.wrong == []
    assert {"compaction", "refresh"} <= set(outcome.kills)
