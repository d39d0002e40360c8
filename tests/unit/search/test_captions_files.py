"""Files of captions and tags."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from framesift.errors import InputError
from framesift.search.captions import read_captions


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffa dog, runs\r\n\r\n  zwölf Hunde \n"),
        ("a.csv", 'n,Text\n1,"a dog, runs"\n2,\n3,zwölf Hunde\n'),
        ("a.csv", "tag;n\na dog, runs;1\nzwölf Hunde;2\n"),
        ("a.tsv", "caption\tn\na dog, runs\t1\nzwölf Hunde\t2\n"),
        ("a.jsonl", '{"text": "a dog, runs"}\n\n{"label": "zwölf Hunde", "n": 1}\n'),
    ],
)
def test_what_is_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert read_captions(tmp_path / name) == ["a dog, runs", "zwölf Hunde"]
    assert read_captions(tmp_path / f"{name}.gz") == ["a dog, runs", "zwölf Hunde"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"video,n\nx,1\n", "column text, caption, tag, label"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 1}\n', "line 2: no text under"),
        ("a.jsonl", b"{", "line 1"),
        ("a.txt", b"caf\xe9", "not UTF-8"),
        ("a.txt", b"", "is empty"),
        ("a.txt", None, "cannot read"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_captions(tmp_path / name)
