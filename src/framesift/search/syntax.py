r"""One line of text <-> :class:`.Query`: the syntax that command line, REST API and web page share (docs/queries.md).

::

    query   =  step { "then" [ "within" length ] step } , with filters anywhere
    step    =  { words | quoted | "-" ( word | quoted ) }
    words   =  word { word } [ "^" number ]              one term; a weight ends it
    quoted  =  '"' characters '"' [ "^" number ]         one term; \" and \\ stand for " and \
    filter  =  ( folder | name | tag | after | before | longer | shorter ) ":" ( word | quoted )

Whatever is not one of these is a word, so that plain sentences mean themselves: hyphens inside words, lone dashes,
``-5``, dates, apostrophes, ``16:9``, URLs. A backslash before a word makes it an ordinary one: ``\then``, ``\-dark``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..errors import InputError
from .query import Filters, MomentRef, Query, Step, Term, TextTerm

__all__ = [
    "FILTER_NAMES",
    "MOST_CHARACTERS",
    "MOST_TERMS",
    "format",
    "format_query",
    "parse",
    "parse_query",
]

FILTER_NAMES = ("folder", "name", "tag", "after", "before", "longer", "shorter")
MOST_CHARACTERS = 10_000  # no encoder reads a hundredth of it
MOST_TERMS = 32  # of all steps: each is scored against the whole index
MOST_WEIGHT = 100.0

UNITS_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_WEIGHT = re.compile(rf"\^({NUMBER})(?=\s|$)")
_WEIGHTED_WORD = re.compile(rf"(.+?)\^({NUMBER})", re.DOTALL)
_FILTER = re.compile(rf"({'|'.join(FILTER_NAMES)}):", re.IGNORECASE)
_LENGTH = re.compile(rf"({NUMBER})([a-z]*)", re.IGNORECASE)
_LENGTHS = re.compile(rf"(?:(?:{NUMBER})[a-z]+)+", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?")
AFTER_QUOTE = ",;.:!?"  # ends or separates what was quoted, as in a sentence; it is no term of its own


@dataclass(frozen=True)
class _Token:
    """A piece between spaces. ``at``: where it begins, from 0; ``text``: its words or value, without marks."""

    kind: Literal["word", "quoted", "filter"]
    at: int
    end: int
    text: str
    literal: bool = False  # a word that a backslash makes ordinary
    negative: bool = False
    weight: float | None = None
    filter: str = ""


def parse(
    text: str,
    *,
    like: Sequence[Term] = (),
    liked: Sequence[MomentRef] = (),
    disliked: Sequence[MomentRef] = (),
) -> Query:
    """Read a query.

    Args:
        text: a line in the syntax of this module; may be empty, or hold nothing but filters, where ``like`` is given.
        like: pictures, clips and moments to look for together with the words of the first step.
        liked, disliked: feedback on earlier results.

    Raises:
        InputError: there is nothing to look for, or a part of ``text`` cannot be read; the message names the place.
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the query has {len(text):,} characters; the most is {MOST_CHARACTERS:,}")
    tokens = _tokens(text)
    filters = _filters(text, [token for token in tokens if token.kind == "filter"])
    steps = _steps(text, tokens)
    if like:
        first = steps[0] if steps else Step(terms=())
        steps[:1] = [replace(first, terms=(*first.terms, *like))]
    if not steps:
        raise InputError(
            "the query is empty; say in words what to look for, such as 'a dog runs on grass'"
            if not tokens
            else "the query has filters only; say in words what to look for, too, such as 'a dog tag:beach'"
        )
    for number, step in enumerate(steps, start=1):
        if not any(term.weight > 0 for term in step.terms):
            where = f" in step {number}" if len(steps) > 1 else ""
            raise InputError(
                f"the query only says what shall not be there{where}; add what to look for, such as 'a street -night'"
            )
    terms = sum(len(step.terms) for step in steps)
    if terms > MOST_TERMS:
        raise InputError(f"the query has {terms} terms; the most is {MOST_TERMS}")
    return Query(steps=tuple(steps), filters=filters, liked=tuple(liked), disliked=tuple(disliked))


def format(query: Query) -> str:
    """Write a query: ``parse(format(query))`` is the same one. Pictures, clips, moments and feedback, for which there
    are no words, are left out.

    Raises:
        InputError: a term has no words, or a weight that ``parse`` does not take.
    """
    parts: list[str] = []
    for step in query.steps:
        text = _format_step(step)
        if not text:
            continue
        if parts:
            parts.append("then" if step.within_s is None else f"then within {_plain(step.within_s)}s")
        parts.append(text)
    return " ".join([*parts, *_format_filters(query.filters)])


# ---- pieces


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _token(text, at)
        at = token.end
        if token.kind == "quoted":
            while at < len(text) and text[at] in AFTER_QUOTE:
                at += 1
        if token.kind != "filter":
            _check_characters(text, token)
        tokens.append(token)
    return tokens


def _token(text: str, at: int) -> _Token:
    if text[at] == '"':
        return _quoted(text, at, at, negative=False)
    if text[at] == "-" and at + 1 < len(text):
        following = text[at + 1]
        if following == '"':
            return _quoted(text, at, at + 1, negative=True)
        if _FILTER.match(text, at + 1):
            raise InputError(
                f"{_place(text, at)}: a filter cannot be negated; for the words themselves write {_word(text, at)!r} "
                "in quotes"
            )
        if following.isalpha():
            return replace(_plain_word(text, at, at + 1), negative=True)
    if found := _FILTER.match(text, at):
        return _filter(text, at, found)
    if text[at] == "\\" and at + 1 < len(text) and not text[at + 1].isspace():
        return _Token("word", at, _end_of_word(text, at), _word(text, at + 1), literal=True)
    return _plain_word(text, at, at)


def _plain_word(text: str, at: int, begin: int) -> _Token:
    word = _word(text, begin)
    token = _Token("word", at, begin + len(word), word)
    if found := _WEIGHTED_WORD.fullmatch(word):
        return replace(token, text=found[1], weight=_weight(text, at, found[2]))
    return token


def _quoted(text: str, at: int, quote: int, *, negative: bool) -> _Token:
    inside, end = _unquote(text, quote)
    if not inside.strip():
        raise InputError(f"{_place(text, quote)}: there is nothing between the quotes")
    token = _Token("quoted", at, end, inside, negative=negative)
    if found := _WEIGHT.match(text, end):
        return replace(token, end=found.end(), weight=_weight(text, end, found[1]))
    if text.startswith("^", end):
        raise InputError(
            f"{_place(text, end)}: {_word(text, end)!r} is no weight; write a number, such as ^2 or ^0.5, "
            "or a space before it"
        )
    return token


def _filter(text: str, at: int, found: re.Match[str]) -> _Token:
    begin, name = found.end(), found[1].lower()
    if text.startswith('"', begin):
        value, end = _unquote(text, begin)
    else:
        value = _word(text, begin)
        end = begin + len(value)
    if not value:
        raise InputError(
            f"{_place(text, at)}: {name}: needs a value right behind it, such as {name}:{_EXAMPLES[name]}; "
            f"for the word itself write \\{name}:"
        )
    return _Token("filter", at, end, value, filter=name)


def _unquote(text: str, quote: int) -> tuple[str, int]:
    """What stands in the quotes that open at ``quote``, and the place behind them."""
    inside: list[str] = []
    at = quote + 1
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        elif text[at] == '"':
            return "".join(inside), at + 1
        inside.append(text[at])
        at += 1
    raise InputError(
        f"{_place(text, quote)}: the quote is never closed; close it, or write \\ before it for the sign itself"
    )


def _word(text: str, at: int) -> str:
    return text[at : _end_of_word(text, at)]


def _end_of_word(text: str, at: int) -> int:
    while at < len(text) and not text[at].isspace():
        at += 1
    return at


def _weight(text: str, at: int, number: str) -> float:
    weight = float(number)
    if not 0 < weight <= MOST_WEIGHT:
        raise InputError(
            f"{_place(text, at)}: a weight of {number} is out of range; it is more than 0 and at most "
            f"{MOST_WEIGHT:g}. For what shall not be there write - before it"
        )
    return weight


def _check_characters(text: str, token: _Token) -> None:
    try:
        token.text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{_place(text, token.at)}: this is not valid text (UTF-8)") from None


def _place(text: str, at: int) -> str:
    shown = text[at : at + 20] + ("..." if len(text) > at + 20 else "")
    return f"at character {at + 1} of the query, {shown!r}"


# ---- steps


def _steps(text: str, tokens: Sequence[_Token]) -> list[Step]:
    return [_step(text, part, within_s) for part, within_s in _split(text, tokens)]


def _split(text: str, tokens: Sequence[_Token]) -> list[tuple[list[_Token], float | None]]:
    """The tokens of every step, without filters, and the time limit that ``then`` gave it."""
    parts: list[tuple[list[_Token], float | None]] = []
    current: list[_Token] = []
    within_s: float | None = None
    rest = [token for token in tokens if token.kind != "filter"]
    while rest:
        token = rest.pop(0)
        if _is(token, "then") and current and rest:
            parts.append((_without_conjunction(current), within_s))
            within_s, used = _limit(text, rest)
            current = []
            del rest[:used]
        else:
            current.append(token)
    return [*parts, (current, within_s)] if current else parts


def _is(token: _Token, word: str) -> bool:
    marked = token.literal or token.negative or token.weight is not None
    return token.kind == "word" and not marked and token.text.lower() == word


def _limit(text: str, rest: Sequence[_Token]) -> tuple[float | None, int]:
    """The time limit that ``rest`` begins with, in seconds, and how many tokens it takes; (None, 0) without one."""
    if not (len(rest) >= 2 and _is(rest[0], "within") and rest[1].kind == "word"):
        return None, 0
    found = _LENGTH.fullmatch(rest[1].text)
    if found is None or rest[1].weight is not None or rest[1].literal:
        return None, 0
    unit, used = found[2].lower(), 2
    if not unit and len(rest) >= 3 and rest[2].kind == "word" and not rest[2].literal:
        unit, used = rest[2].text.lower(), 3
    if unit not in UNITS_S or len(rest) == used:
        return None, 0
    limit = float(found[1]) * UNITS_S[unit]
    if not 0 < limit < math.inf:
        raise InputError(f"{_place(text, rest[1].at)}: a time limit has to be longer than 0 s")
    return limit, used


def _without_conjunction(tokens: list[_Token]) -> list[_Token]:
    """``a dog runs, and then``: the comma and the ``and`` belong to ``then``."""
    kept = tokens
    if len(kept) > 1 and _is(kept[-1], "and"):
        kept = kept[:-1]
    last = kept[-1]
    if last.kind == "word" and last.weight is None and not last.literal and last.text.rstrip(",;"):
        bare = last.text.rstrip(",;")
        kept = [*kept[:-1], replace(last, text=bare, end=last.end - (len(last.text) - len(bare)))]
    return kept


def _step(text: str, tokens: Sequence[_Token], within_s: float | None) -> Step:
    terms: list[Term] = []
    run: list[_Token] = []
    place = 0  # of the run among the terms: negatives between its words come behind it

    def end_run(weight: float = 1.0) -> None:
        if run:
            terms.insert(place, TextTerm(text=_sentence(text, run), weight=weight))
            run.clear()

    for token in tokens:
        if token.negative:
            terms.append(TextTerm(text=token.text, weight=-(token.weight or 1.0)))
        elif token.kind == "quoted":
            end_run()
            terms.append(TextTerm(text=token.text, weight=token.weight or 1.0))
        else:
            place = place if run else len(terms)
            run.append(token)
            if token.weight is not None:
                end_run(token.weight)
    end_run()
    return Step(terms=tuple(terms), within_s=within_s)


def _sentence(text: str, run: Sequence[_Token]) -> str:
    """The words of a term, with the spaces between them as they were typed where nothing was taken out."""
    parts = [run[0].text]
    for before, token in pairwise(run):
        between = text[before.end : token.at]
        parts += [between if between.isspace() else " ", token.text]
    return "".join(parts)


# ---- filters

_EXAMPLES = {
    "folder": "holiday",
    "name": "*.mp4",
    "tag": "beach",
    "after": "2024-05-01",
    "before": "2025",
    "longer": "30s",
    "shorter": "2m",
}


def _filters(text: str, tokens: Sequence[_Token]) -> Filters:
    several: dict[str, list[str]] = {"folder": [], "name": [], "tag": []}
    days: dict[str, date] = {}
    lengths: dict[str, float] = {}
    for token in tokens:
        name = token.filter
        if name in several:
            several[name].append(token.text)
            continue
        if name in days or name in lengths:
            raise InputError(f"{_place(text, token.at)}: {name}: is given twice; leave one of them out")
        if name in ("after", "before"):
            days[name] = _day(text, token)
        else:
            lengths[name] = _seconds(text, token)
    return Filters(
        folders=tuple(map(Path, several["folder"])),
        names=tuple(several["name"]),
        tags=tuple(several["tag"]),
        after=days.get("after"),
        before=days.get("before"),
        longer_s=lengths.get("longer"),
        shorter_s=lengths.get("shorter"),
    )


def _day(text: str, token: _Token) -> date:
    found = _DATE.fullmatch(token.text)
    try:
        if found is not None:
            return date(*(int(part or 1) for part in found.groups()))
    except ValueError:
        pass
    raise InputError(
        f"{_place(text, token.at)}: {token.text!r} is no day; write a year, month or day, such as "
        f"{token.filter}:2024, {token.filter}:2024-05 or {token.filter}:2024-05-01"
    )


def _seconds(text: str, token: _Token) -> float:
    value = token.text
    pieces = _LENGTH.findall(value) if _LENGTHS.fullmatch(value) or _LENGTH.fullmatch(value) else []
    units = [unit.lower() or "s" for _, unit in pieces]
    if pieces and all(unit in UNITS_S for unit in units):
        total = sum(float(piece[0]) * UNITS_S[unit] for piece, unit in zip(pieces, units, strict=True))
        if total < math.inf:
            return total
    raise InputError(
        f"{_place(text, token.at)}: {value!r} is no length of time; write seconds, minutes or hours, such as "
        f"{token.filter}:30s, {token.filter}:2m or {token.filter}:1h30m"
    )


# ---- writing


def _format_step(step: Step) -> str:
    texts = [term for term in step.terms if isinstance(term, TextTerm)]
    for term in texts:
        if not term.text.strip() or not 0 < abs(term.weight) <= MOST_WEIGHT:
            raise InputError(
                f"the term {term.text!r} with weight {term.weight:g} cannot be written: it needs words, and a weight "
                f"that is not 0 and at most {MOST_WEIGHT:g}"
            )
    plain = " ".join(_marked(term, term.text) for term in texts)
    if _reads_as(plain, texts):
        return plain
    return " ".join(_marked(term, _quote(term.text)) for term in texts)


def _marked(term: TextTerm, text: str) -> str:
    size = abs(term.weight)
    return f"{'-' if term.weight < 0 else ''}{text}{'' if size == 1 else f'^{_plain(size)}'}"


def _reads_as(text: str, terms: Sequence[TextTerm]) -> bool:
    """Whether ``text`` is a step of these terms, alone as well as before and behind a ``then``."""
    step = Step(terms=tuple(terms))
    twice = f"{text} then {text}"
    try:
        return _steps(text, _tokens(text)) == [step] and _steps(twice, _tokens(twice)) == [step, step]
    except InputError:
        return False


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(number: float) -> str:
    """Without exponent, and exactly the same number when it is read again."""
    shown = f"{Decimal(repr(float(number))):f}"
    return shown.removesuffix(".0")


def _format_filters(filters: Filters) -> list[str]:
    named = [("folder", str(folder)) for folder in filters.folders]
    named += [("name", name) for name in filters.names]
    named += [("tag", tag) for tag in filters.tags]
    named += [(name, day.isoformat()) for name in ("after", "before") if (day := getattr(filters, name))]
    lengths = {"longer": filters.longer_s, "shorter": filters.shorter_s}
    named += [(name, f"{_plain(value)}s") for name, value in lengths.items() if value is not None]
    return [f"{name}:{value if _is_bare(value) else _quote(value)}" for name, value in named]


def _is_bare(value: str) -> bool:
    return bool(value) and not value.startswith('"') and not any(map(str.isspace, value))


parse_query, format_query = parse, format  # what they are called where the module is not named
