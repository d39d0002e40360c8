"""Cleaning, padding, and the tokenizer made of a merge list."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from framesift.encoders import load_encoder
from framesift.encoders.tokenize import clean_text, clip_tokenizer_from_merges, padded_ids
from framesift.errors import CheckpointError, InputError
from tiny_models import tiny_clip, tiny_siglip


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  A  Dog\n\truns ", "a dog runs"),
        ("Tom &amp;amp; Jerry", "tom & jerry"),  # unescaped twice
        ("schÃ¶n", "schön"),
        ("&amp;nbsp;x&amp;nbsp;", "x"),
        ("", ""),
    ],
)
def test_clean_text(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_padding() -> None:
    ids, mask = padded_ids([[5, 6, 7], [8]], pad_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert padded_ids([[5]], pad_id=0, length=3)[0].tolist() == [[5, 0, 0]]
    assert padded_ids([], pad_id=0)[0].shape == (0, 0)
    with pytest.raises(InputError, match="3 tokens, but only 2"):
        padded_ids([[5, 6, 7]], pad_id=0, length=2)


def test_clip_pads_to_the_longest_and_siglip_to_its_context(tmp_path: Path) -> None:
    clip, siglip = load_encoder(tiny_clip(tmp_path / "clip")), load_encoder(tiny_siglip(tmp_path / "siglip"))
    for encoder, length in ((clip, 4), (siglip, siglip.context_length)):
        ids, mask = encoder.tokenize(["red dog"])
        assert ids.shape == (1, length)
        assert mask.sum() < siglip.context_length


@pytest.mark.parametrize("packed", [False, True])
def test_merge_list(tmp_path: Path, packed: bool) -> None:
    text = '"version"\nd o\ndo g</w>\n'
    path = tmp_path / "merges"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    tokenizer = clip_tokenizer_from_merges(path)
    assert len(tokenizer) == 256 + 256 + 2 + 2
    ids = tokenizer("dog")["input_ids"]
    assert ids == [len(tokenizer) - 2, 256 + 256 + 1, len(tokenizer) - 1]


def test_not_a_merge_list(tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    with pytest.raises(CheckpointError, match=r"merges\.txt"):
        clip_tokenizer_from_merges(path)
    path.write_text("version\nthree words here\n")
    with pytest.raises(CheckpointError, match="byte-pair"):
        clip_tokenizer_from_merges(path)
    path.write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(CheckpointError, match=r"merges\.txt"):
        clip_tokenizer_from_merges(path)
