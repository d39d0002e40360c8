"""Converted towers on disk: whole or not there, and not without bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framesift.encoders.compiled_store import CompiledStore


def keep(store: CompiledStore, key: str, size: int = 1000) -> Path:
    def write(path: Path) -> None:
        path.write_text("<net/>")
        path.with_suffix(".bin").write_bytes(b"w" * size)

    return store.keep(key, write, {"encoder": "clip"})


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    store = CompiledStore(tmp_path / "store")
    assert store.find("a") is None
    path = keep(store, "a")
    assert store.find("a") == path
    assert sorted(p.name for p in store.folder.iterdir()) == ["a"], "no draft is left"


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "facts.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_entry_is_deleted(tmp_path: Path, name: str, damage: str) -> None:
    store = CompiledStore(tmp_path)
    file = keep(store, "a").parent / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "gone":
        file.unlink()
    if (name, damage) == ("facts.json", "flip") and store.find("a") is not None:
        return  # the flipped bit was in what is only told
    assert store.find("a") is None
    assert not (tmp_path / "a").exists()
    assert keep(store, "a").exists()


def test_the_unused_go_first(tmp_path: Path) -> None:
    store = CompiledStore(tmp_path, most_bytes=3000)
    for age, key in enumerate(("a", "b")):
        os.utime(keep(store, key).parent, (1000 + age, 1000 + age))
    assert store.find("a") is not None  # so that b has been unused longest
    keep(store, "c")
    assert [key for key in "abc" if store.find(key)] == ["a", "c"]


def test_what_else_lies_there_stays(tmp_path: Path) -> None:
    reports = tmp_path / "gate"
    reports.mkdir()
    (reports / "one.json").write_text("{}")
    os.utime(reports, (1000, 1000))
    store = CompiledStore(tmp_path, most_bytes=10)
    keep(store, "a")
    keep(store, "b")
    assert store.find("a") is None
    assert (reports / "one.json").exists()


def test_the_one_just_made_stays_even_if_it_is_too_large(tmp_path: Path) -> None:
    store = CompiledStore(tmp_path, most_bytes=10)
    assert keep(store, "a").exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = CompiledStore(tmp_path)

    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        store.keep("a", full, {})
    assert not list(tmp_path.iterdir())


def test_two_that_make_the_same_agree(tmp_path: Path) -> None:
    one, other = CompiledStore(tmp_path), CompiledStore(tmp_path)

    def write(path: Path) -> None:
        keep(other, "a")  # another process is faster
        path.write_text("<net/>")
        path.with_suffix(".bin").write_bytes(b"late")

    path = one.keep("a", write, {})
    assert path.with_suffix(".bin").read_bytes() == b"w" * 1000
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
