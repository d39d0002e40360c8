"""``Index.verify``: what is wrong with an index is found, and said in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest

from framesift.index.store import Store
from framesift.index.verify import Verification, verify
from index_rows import DIM, META, moments, record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path, META)
    made.commit([record("a"), record("b")], moments(("a", 0.0), ("a", 1.0), ("b", 0.0)), known=[])
    return made


def _problems(store: Store) -> list[str]:
    return verify(store.index, META).problems


def _changed(rows: pa.Table, column: str, value: object) -> pa.Table:
    place = rows.schema.get_field_index(column)
    return rows.set_column(
        place, rows.schema.field(column), pa.array([value], rows.schema.field(column).type)
    )


def test_whole_index_has_no_problems_and_says_what_was_examined(store: Store) -> None:
    result = verify(store.index, META)
    assert result.ok
    examined = {check.name: check.examined for check in result.checks}
    assert examined["keys of videos, each once"] == 2
    assert examined["keys of moments, each once"] == 3
    assert examined["data files, by size and checksum"] == 2
    assert result.to_dict()["ok"] is True


def test_duplicates_are_found(store: Store) -> None:
    lance.dataset(store.index / "moments.lance").insert(moments(("a", 0.0)))
    assert _problems(store) == ["1 twice in the index: 'a:0.000'"]
    store.update_videos([record("b", uri="/videos/a.mp4")])
    assert "1 twice in the index: '/videos/a.mp4'" in _problems(store)


def test_moments_and_videos_that_miss_each_other_are_found(store: Store) -> None:
    lance.dataset(store.index / "moments.lance").delete("video_id = 'b'")
    assert _problems(store) == ["1 without moments: '/videos/b.mp4'"]
    lance.dataset(store.index / "videos.lance").delete("video_id = 'a'")
    assert any("moments of a video that is not in the index: 'a'" in problem for problem in _problems(store))
    store.sweep()
    assert _problems(store) == []
    assert store.records() == []


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("fingerprint", "e" * 32, "1 not of ffffffffffff: 'b:7.000'"),
        ("vector", np.zeros(DIM, np.float32), "1 not as they were computed: 'b:7.000'"),
        ("frames", np.zeros(2 * DIM, np.float16), "1 not as they were computed: 'b:7.000'"),
        ("frames", np.ones(DIM, np.float16), "1 not as they were computed: 'b:7.000'"),
        ("frame_times_s", [], "1 not as they were computed: 'b:7.000'"),
        ("end_s", -1.0, "1 not as they were computed: 'b:7.000'"),
    ],
)
def test_content_that_does_not_fit_is_found(store: Store, column: str, value: object, problem: str) -> None:
    lance.dataset(store.index / "moments.lance").insert(_changed(moments(("b", 7.0)), column, value))
    assert _problems(store) == [problem]


def test_index_of_another_width_is_found(store: Store) -> None:
    problems = verify(store.index, replace(META, dim=DIM + 1)).problems
    assert any("column 'vector' is missing or of another type" in problem for problem in problems)


def test_flipped_bit_in_an_old_file_is_found(store: Store) -> None:
    (old,) = (store.index / "moments.lance" / "data").iterdir()
    for name in "cdefg":
        store.commit([record(name)], moments((name, 0.0)), known=[])
    content = bytearray(old.read_bytes())
    content[3] ^= 1
    old.write_bytes(content)
    result = verify(store.index, META)
    assert isinstance(result, Verification)
    assert not result.ok
    assert "its content has changed since it was written" in result.problems[0]


def test_missing_table_is_a_problem_and_not_a_crash(store: Store) -> None:
    for manifest in (store.index / "videos.lance" / "_versions").iterdir():
        manifest.unlink()
    assert "has no table 'videos'" in _problems(store)[0]


def test_lancedb_opens_the_tables(store: Store) -> None:
    database = lancedb.connect(str(store.index))
    table = database.open_table("moments")
    assert table.count_rows() == 3
    assert table.search([0.5] * DIM, vector_column_name="vector").limit(2).to_arrow().num_rows == 2
