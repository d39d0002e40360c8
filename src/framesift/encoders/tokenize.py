"""From texts to token ids, with the tokenizer of the weights."""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ftfy
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import CheckpointError, InputError, MissingExtraError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

__all__ = ["clean_text", "clip_tokenizer_from_merges", "load_tokenizer", "padded_ids", "ragged_ids"]

CLIP_MERGES = 49152 - 256 - 2  # OpenAI CLIP, simple_tokenizer.py: the rest of the file is not used

Ids = Int[Tensor, "text word"]
Mask = Bool[Tensor, "text word"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")


def clean_text(text: str) -> str:
    """OpenAI CLIP's cleaning: mend the encoding, unescape HTML twice, collapse white space, lower-case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text.strip()).strip().lower()


def load_tokenizer(directory: str | Path) -> Any:
    """The tokenizer saved beside the weights in ``directory``.

    Raises:
        CheckpointError: there is none, or it cannot be read.
        MissingExtraError: it is a SentencePiece model, and that package is not installed.
    """
    from transformers import AutoTokenizer

    directory = Path(directory)
    if not any((directory / name).is_file() for name in _TOKENIZER_FILES):
        raise CheckpointError(f"no tokenizer in {str(directory)!r}: expected {' or '.join(_TOKENIZER_FILES)}")
    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:
        if "sentencepiece" in str(error).lower():
            raise MissingExtraError("sentencepiece", "siglip") from None
        raise CheckpointError(
            f"cannot read the tokenizer in {str(directory)!r}: {_one_line(error)}"
        ) from None


def clip_tokenizer_from_merges(path: str | Path) -> CLIPTokenizer:
    """CLIP's tokenizer from OpenAI's merge list ``bpe_simple_vocab_16e6.txt[.gz]`` (49,408 entries).

    Raises:
        CheckpointError: the file cannot be read or is not a merge list.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read the merge list {str(path)!r}: {error}") from None
    lines = text.split("\n")[1 : 1 + CLIP_MERGES]  # the first line is a version mark
    merges: Any = [tuple(line.split()) for line in lines if line]
    if not merges or any(len(pair) != 2 for pair in merges):
        raise CheckpointError(f"{str(path)!r} is not a list of byte-pair merges, two tokens a line")
    # printable bytes first, then the others: the order of OpenAI's bytes_to_unicode
    letters = sorted(ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)}, merges=merges, model_max_length=77
    )


def ragged_ids(tokenizer: Any, texts: Sequence[str], *, context: int) -> list[list[int]]:
    """Token ids of each text with its special tokens, cut to ``context`` so that the end mark is kept."""
    if not texts:
        return []
    return tokenizer(list(texts), truncation=True, max_length=context, padding=False)["input_ids"]


def padded_ids(rows: Sequence[Sequence[int]], *, pad_id: int, length: int | None = None) -> tuple[Ids, Mask]:
    """Rows of ids as one matrix, padded with ``pad_id`` to ``length`` (default: the longest), and its mask.

    ``pad_id=0, length=77`` gives OpenAI's ``tokenize``; ``length=max_words`` CLIP4Clip's (spec: section 0.2).
    """
    longest = max((len(row) for row in rows), default=0)
    length = longest if length is None else length
    if longest > length:
        raise InputError(f"a text has {longest} tokens, but only {length} fit")
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = True
    return ids, mask


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
