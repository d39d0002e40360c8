"""The query syntax: old queries mean themselves, every mark does what it says, and nothing but InputError is raised."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.errors import InputError
from framesift.search.query import Filters, ImageTerm, MomentRef, Query, Step, TextTerm
from framesift.search.syntax import FILTER_NAMES, format, parse

MARKS = [
    "then",
    "within",
    "10s",
    "2 min",
    "and",
    '"',
    '"a b"',
    "-x",
    "-",
    '-"',
    "^2",
    "dog^2",
    "\\",
    "\\then",
    ",",
]
MARKS += [f"{name}:" for name in FILTER_NAMES] + [
    "tag:b",
    "after:2024",
    "longer:30s",
    'folder:"a b"',
    " ",
    "\t",
]


def terms(text: str) -> list[tuple[str, float]]:
    """Words and weights of a query of one step without filters."""
    query = parse(text)
    assert query.filters == Filters()
    (step,) = query.steps
    return [(term.text, term.weight) for term in step.terms if isinstance(term, TextTerm)]


@pytest.mark.parametrize(
    "text",
    [
        "a dog runs on the beach",
        "a well-known man, who isn't there - or is he -- waves; 50% of it",
        "it is -5 degrees on 2024-05-01, +3 later",
        "the ratio 16:9 at 12:30",
        "https://example.org/a:b?c=d",
        "name of the day: tagged, aftershock",
        'a 5" pipe',
        "five^ stars ^2x a^b",
        "within 10 s of the house",
        "then",
        "people back then",
        "two  spaces\tand a tab",
        "Hund läuft über die Straße, 犬が走る",
        "/home/me/a.mp4 C:\\videos",
        "++ C++ and C#",
    ],
)
def test_plain_sentences_mean_themselves(text: str) -> None:
    assert parse(f"  {text} \n") == Query(steps=(Step(terms=(TextTerm(text=text),)),))


def test_negative_terms_leave_the_sentence_whole() -> None:
    assert terms("a street -night with cars") == [("a street with cars", 1), ("night", -1)]
    assert terms('a street -"at night"^0.5') == [("a street", 1), ("at night", -0.5)]
    assert terms("-night^2 a street") == [("night", -2), ("a street", 1)]


def test_weights_and_quotes_separate_terms() -> None:
    assert terms("a dog^2 green grass") == [("a dog", 2), ("green grass", 1)]
    assert terms('"a red star"^0.5 on "blue ground"') == [("a red star", 0.5), ("on", 1), ("blue ground", 1)]
    assert terms('a sign "stop", at a "road".') == [("a sign", 1), ("stop", 1), ("at a", 1), ("road", 1)]


def test_a_backslash_makes_a_word_ordinary() -> None:
    assert terms("people back \\then in hats") == [("people back then in hats", 1)]
    assert terms("x\\y \\-dark \\tag:x \\a^2 \\\\z") == [("x\\y -dark tag:x a^2 \\z", 1)]
    assert terms('says \\"stop"') == [('says "stop"', 1)]
    assert terms(r'"says \"stop\" \\ \n"') == [(r'says "stop" \ \n', 1)]


@pytest.mark.parametrize(
    ("text", "within_s"),
    [
        ("a dog jumps then a cat", None),
        ("a dog jumps, then a cat", None),
        ("a dog jumps and THEN a cat", None),
        ("a dog jumps; and then within 10s a cat", 10),
        ("a dog jumps then within 10 s a cat", 10),
        ("a dog jumps then within 1.5 min a cat", 90),
        ("a dog jumps then within 2 hours a cat", 7200),
    ],
)
def test_then(text: str, within_s: float | None) -> None:
    first, second = (Step(terms=(TextTerm(text=words),)) for words in ("a dog jumps", "a cat"))
    assert parse(text) == Query(steps=(first, Step(terms=second.terms, within_s=within_s)))


def test_then_needs_something_on_both_sides_and_within_a_unit() -> None:
    def steps(text: str) -> list[str]:
        return [format(Query(steps=(Step(terms=step.terms),))) for step in parse(text).steps]

    assert steps('"then" a') == ['"then" "a"']
    assert steps("a then within reach") == ["a", "within reach"]
    assert steps("a then within 10 metres") == ["a", "within 10 metres"]
    assert steps("a then within 10 s") == ["a", "within 10 s"]
    assert steps("a then b -c then d^2 e") == ["a", "b -c", "d^2 e"]
    assert steps("a tag:x then tag:y b") == ["a", "b"]


def test_filters() -> None:
    query = parse(
        'name:*.MP4 a dog Folder:"my videos" folder:/abs tag:beach tag:"two words" after:2024-05 runs'
    )
    assert query.steps == (Step(terms=(TextTerm(text="a dog runs"),)),)
    assert query.filters == Filters(
        folders=(Path("my videos"), Path("/abs")),
        names=("*.MP4",),
        tags=("beach", "two words"),
        after=date(2024, 5, 1),
    )
    filters = parse("x before:2025 longer:1h30m shorter:90.5").filters
    assert filters == Filters(before=date(2025, 1, 1), longer_s=5400.0, shorter_s=90.5)


def test_pictures_are_part_of_the_first_step() -> None:
    picture = ImageTerm(path=Path("a.png"))
    seen = MomentRef(video="/a.mp4", start_s=0, end_s=1)
    assert parse("", like=[picture]).steps == (Step(terms=(picture,)),)
    query = parse("-night then a dog tag:x", like=[picture], liked=[seen])
    assert query.steps[0].terms == (TextTerm(text="night", weight=-1), picture)
    assert query.liked == (seen,)
    assert format(query) == "-night then a dog tag:x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("   ", "query is empty"),
        ("tag:beach", "filters only"),
        ("-night", "what shall not be there; add"),
        ("a dog then -night", "in step 2"),
        ('a dog "on grass', r"at character 7 .*never closed"),
        ('""', "nothing between the quotes"),
        ("a dog^0", r"at character 3 .*weight of 0 is out of range"),
        ('"a dog"^1000', r"at character 8 .*at most 100"),
        ('"a dog"^two', r"at character 8 .*no weight"),
        ("dog tag: beach", r"at character 5 .*write \\tag:"),
        ('dog folder:""', "needs a value"),
        ("dog -tag:beach", "cannot be negated"),
        ("dog after:yesterday", r"at character 5 .*after:2024-05-01"),
        ("dog after:2024-02-30", "is no day"),
        ("dog after:2024 after:2025", "given twice"),
        ("dog longer:ten", "longer:1h30m"),
        ("dog then within 0s cat", "longer than 0 s"),
        ("\udcff dog", "not valid text"),
        ("dog " * 5000, "20,000 characters"),
        (" ".join(f"t{n}^2" for n in range(40)), "40 terms"),
    ],
)
def test_errors_name_the_place_and_the_fix(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(text)


@given(
    st.one_of(st.text(), st.lists(st.sampled_from([*MARKS, "a", "b"]) | st.text(max_size=4)).map(" ".join))
)
def test_anything_typed_is_a_query_or_an_input_error(text: str) -> None:
    try:
        query = parse(text)
    except InputError:
        return
    assert parse(format(query)) == query


words = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.lists(st.sampled_from([*MARKS, "a", "b"]), min_size=1).map(" ".join),
).filter(lambda text: bool(text.strip()))
weights = st.one_of(st.just(1.0), st.floats(1e-3, 100))
positive = st.builds(TextTerm, text=words, weight=weights)
negative = st.builds(TextTerm, text=words, weight=weights.map(lambda weight: -weight))
step_terms = st.tuples(st.lists(negative, max_size=2), st.lists(positive, min_size=1, max_size=3)).map(
    lambda both: (*both[0], *both[1])
)
limits = st.none() | st.floats(1e-3, 1e6)
lengths = st.none() | st.floats(0, 1e9)
filters = st.builds(
    Filters,
    folders=st.lists(words.map(Path), max_size=2).map(tuple),
    names=st.lists(words, max_size=2).map(tuple),
    tags=st.lists(words, max_size=2).map(tuple),
    after=st.none() | st.dates(),
    before=st.none() | st.dates(),
    longer_s=lengths,
    shorter_s=lengths,
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    first = Step(terms=draw(step_terms))
    others = draw(st.lists(st.builds(Step, terms=step_terms, within_s=limits), max_size=2))
    return Query(steps=(first, *others), filters=draw(filters))


@given(queries())
def test_what_is_written_is_read_again(query: Query) -> None:
    assert parse(format(query)) == query


def test_what_cannot_be_written_is_an_error() -> None:
    for term in (TextTerm(text=" "), TextTerm(text="a", weight=0), TextTerm(text="a", weight=101)):
        with pytest.raises(InputError, match="cannot be written"):
            format(Query(steps=(Step(terms=(term,)),)))


def test_canonical_text_is_as_plain_as_it_can_be() -> None:
    for text in ("a dog", "a dog -night", "a dog^2 grass then within 10s a cat -rain tag:x after:2024-05-01"):
        assert format(parse(text)) == text
