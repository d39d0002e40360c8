"""From words to what SQLite's full-text search is given: windows of cues, and queries that cannot be wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from ..video.subtitles import Cue

__all__ = ["match_expression", "searchable", "windows"]

WINDOW_CUES = 4
WINDOW_STEP = 2
"""Windows overlap so that any three cues that follow one another stand together in one of them."""

GAP_S = 5.0  # cues with a longer silence between them are not one speech

MAX_TERMS = 64  # FTS5 refuses expressions deeper than 256
MAX_TERM_CHARS = 400

# Scripts written without spaces: Thai and Lao, Burmese, Khmer, kana, Han. Every letter of theirs is a word to FTS5,
# and what is typed in one piece a phrase of them.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U00020000-\U000323af])"
)
_TERM = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')


def searchable(text: str) -> str:
    """Text as it is given to the tokenizer, in the index and in queries."""
    return _UNSPACED.sub(r" \1 ", text)


def windows(cues: Sequence[Cue]) -> Iterator[tuple[int, int]]:
    """Groups of cues ``[first, last]`` that are searched as one text: a sentence rarely ends where its cue does."""
    begin = 0
    for end in range(1, len(cues) + 1):
        if end == len(cues) or cues[end].start_s - cues[end - 1].end_s > GAP_S:
            for first in range(begin, end, WINDOW_STEP):
                if first > begin and end - first <= WINDOW_STEP:
                    break  # all of it stands in the window before
                yield first, min(first + WINDOW_CUES, end) - 1
            begin = end


def match_expression(query: str, *, any_word: bool = False) -> str | None:
    """What a person typed, as an FTS5 expression that is valid whatever it was; None where it holds no word.

    All words must occur (``any_word``: one of them), ``"in quotes"`` one after the other, ``begin*`` as a beginning.
    Nothing else has a meaning: ``OR``, ``NEAR(``, ``text:`` and ``-`` are searched as they stand, where they are words.
    """
    terms: list[str] = []
    for phrase, starred, word in _TERM.findall(query):
        prefix = bool(starred) or word.endswith("*")
        text = "".join(
            letter if _is_printable(letter) else " " for letter in (phrase or word)[:MAX_TERM_CHARS]
        )
        if any(map(_is_word, text)):
            quoted = searchable(text).replace('"', " ")
            terms.append(f'"{quoted}"*' if prefix else f'"{quoted}"')
        if len(terms) == MAX_TERMS:
            break
    return (" OR " if any_word else " ").join(terms) or None


def _is_word(letter: str) -> bool:
    """Whether the tokenizer takes it for part of a word (FTS5's unicode61: letters, numbers, private use)."""
    category = unicodedata.category(letter)
    return category[0] in "LN" or category == "Co"


def _is_printable(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cs")
