"""BERT's WordPiece, cleaned as LAVIS cleans captions: the tokens that a Q-Former of BLIP-2 was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from ..errors import CheckpointError, InputError

__all__ = ["WordPiece", "clean_caption"]

MAX_CAPTION_WORDS = 50  # LAVIS
PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
VOCABULARY_FILE = "vocab.txt"


def clean_caption(text: str) -> str:
    """Lower case, without ``. ! " ( ) * # : ; ~``, white space collapsed, at most 50 words."""
    words = re.sub(r'[.!"()*#:;~]', " ", text.lower()).split()
    return " ".join(words[:MAX_CAPTION_WORDS])


class WordPiece:
    """Texts -> ids of ``[CLS] tokens [SEP]``.

    Args:
        vocabulary: tokens in the order of their ids, with ``[PAD]``, ``[UNK]``, ``[CLS]`` and ``[SEP]``.

    Raises:
        InputError: one of these four is missing, or a token comes twice.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        ids = {token: i for i, token in enumerate(vocabulary)}
        missing = [token for token in (PAD, UNKNOWN, START, END) if token not in ids]
        if missing or len(ids) != len(vocabulary):
            what = f"lacks {', '.join(missing)}" if missing else "has a token twice"
            raise InputError(f"the vocabulary {what}; expected BERT's, one token an id")
        self.vocabulary = tuple(vocabulary)
        self._pad_id = ids[PAD]
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing((END, ids[END]), (START, ids[START]))
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __call__(
        self, texts: Sequence[str], *, max_tokens: int
    ) -> tuple[Int[Tensor, "text word"], Bool[Tensor, "text word"]]:
        """Ids padded to the longest text, and their mask; a long text is cut with its ``[SEP]`` kept."""
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding(pad_id=self._pad_id, pad_token=PAD)
        rows = self._tokenizer.encode_batch([clean_caption(text) for text in texts])
        shape = (len(rows), len(rows[0].ids) if rows else 0)
        ids = torch.tensor([row.ids for row in rows], dtype=torch.long).reshape(shape)
        mask = torch.tensor([row.attention_mask for row in rows], dtype=torch.bool).reshape(shape)
        return ids, mask

    @classmethod
    def load(cls, directory: str | Path) -> WordPiece:
        """Read ``vocab.txt``, one token a line, in ``directory``.

        Raises:
            CheckpointError: the file is missing or not such a vocabulary.
        """
        path = Path(directory) / VOCABULARY_FILE
        try:
            return cls(path.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:  # of which InputError and UnicodeDecodeError are some
            raise CheckpointError(f"cannot read the vocabulary {str(path)!r}: {error}") from None

    def save(self, directory: str | Path) -> None:
        """Write ``vocab.txt`` into ``directory``."""
        path = Path(directory) / VOCABULARY_FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
