"""Token ids equal OpenAI's ``tokenize`` and CLIP4Clip's padded rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.encoders.tokenize import clean_text, clip_tokenizer_from_merges, padded_ids, ragged_ids
from golden_files import golden_files


@pytest.fixture(scope="module")
def tokenizer(real_data: Path) -> Any:
    return clip_tokenizer_from_merges(real_data / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz")


@pytest.mark.parametrize("path", golden_files("tokenizer*.json"))
def test_ids_equal_openai_and_clip4clip(path: Path, tokenizer: Any) -> None:
    golden = json.loads(path.read_text())
    assert tokenizer.bos_token_id == golden["sot_id"]
    assert tokenizer.eos_token_id == golden["eot_id"]
    assert len(tokenizer) == golden["vocab_size"]
    texts = [clean_text(case["text"]) for case in golden["cases"]]
    for key in golden["cases"][0]:
        kind, _, length = key.rpartition("_")
        if kind == "openai_clip":  # openai_clip_77_truncated
            continue
        if key.startswith("openai_clip_"):
            context = int(key.split("_")[2])
            ids, mask = padded_ids(ragged_ids(tokenizer, texts, context=context), pad_id=0, length=context)
            assert ids.tolist() == [case[key] for case in golden["cases"]]
            assert mask.sum(dim=1).tolist() == [
                len(case["bpe_ids"]) + 2 if len(case["bpe_ids"]) + 2 < context else context
                for case in golden["cases"]
            ]
        elif kind == "clip4clip_ids":
            context = int(length)
            ids, mask = padded_ids(ragged_ids(tokenizer, texts, context=context), pad_id=0, length=context)
            assert ids.tolist() == [case[key] for case in golden["cases"]]
            valid = [case[f"clip4clip_mask_len_{length}"] for case in golden["cases"]]
            assert mask.sum(dim=1).tolist() == valid


@pytest.mark.parametrize("path", golden_files("tokenizer*.json"))
def test_pieces_equal_the_reference(path: Path, tokenizer: Any) -> None:
    for case in json.loads(path.read_text())["cases"]:
        ids = tokenizer(clean_text(case["text"]), add_special_tokens=False)["input_ids"]
        assert ids == case["bpe_ids"], case["text"]
        assert tokenizer.convert_ids_to_tokens(ids) == case["bpe_tokens"], case["text"]
