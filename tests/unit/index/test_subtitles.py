"""The subtitles' database: what is found, what may be typed, and what becomes of damage."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.errors import IndexRecoveredWarning, IndexStateError, InputError
from framesift.index.subtitle_store import SubtitleState, SubtitleStore
from framesift.index.subtitle_text import WINDOW_CUES, match_expression, windows
from framesift.index.subtitles import SUBTITLES_NAME, Subtitles
from framesift.video.subtitles import Cue, Track

STATE = SubtitleState(uri="/videos/a.mp4", mtime_ns=1, size_bytes=2, sidecars=(("a.srt", 3, 4),))


def _track(*lines: str, source: str = "a.srt", language: str | None = "en", gap_s: float = 0.0) -> Track:
    """Cues of a second each."""
    step = 1 + gap_s
    cues = (Cue(start_s=i * step, end_s=i * step + 1, text=line) for i, line in enumerate(lines))
    return Track(source=source, language=language, cues=tuple(cues))


SPEECH = (
    "The quick brown",
    "fox jumps over",
    "the lazy dog.",
    "Ein Café für Zoë",
    "今天天气很好",
    "don't stop",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SubtitleStore]:
    with SubtitleStore(tmp_path) as made:
        yield made


@pytest.fixture
def found(store: SubtitleStore, tmp_path: Path) -> Subtitles:
    """One video with a speech."""
    store.put("a", STATE, beside=[_track(*SPEECH)], embedded=[])
    return Subtitles(tmp_path)


def _spans(subtitles: Subtitles, query: str, **options: object) -> list[tuple[float, float]]:
    return [(hit.start_s, hit.end_s) for hit in subtitles.search(query, **options)]


@pytest.mark.parametrize(
    ("query", "spans"),
    [
        ("fox", [(1.0, 2.0)]),
        ("FOX, dog!", [(1.0, 3.0)]),
        ('"brown fox"', [(0.0, 2.0)]),
        ('"quick fox"', []),
        ("quick fox", [(0.0, 2.0)]),
        ("jum*", [(1.0, 2.0)]),
        ('"over the la*"', []),
        ('"over the la"*', [(1.0, 3.0)]),
        ("cafe zoe", [(3.0, 4.0)]),
        ("天气", [(4.0, 5.0)]),
        ("天很", []),
        ("don't", [(5.0, 6.0)]),
        ("quick don't", []),  # too far apart
        ("unicorn", []),
    ],
)
def test_words_are_found_where_they_are_said(
    found: Subtitles, query: str, spans: list[tuple[float, float]]
) -> None:
    assert _spans(found, query) == spans


def test_hit_says_all_about_itself(found: Subtitles) -> None:
    (hit,) = found.search("brown fox")
    assert (hit.video_id, hit.uri, hit.language, hit.source) == ("a", "/videos/a.mp4", "en", "a.srt")
    assert hit.text == "The quick brown fox jumps over"
    assert hit.score > 0
    assert repr(hit).startswith("<SubtitleHit a.mp4 0.0-2.0 s")
    assert hit.to_dict()["text"] == hit.text


@pytest.mark.parametrize(
    "query",
    [
        *(
            '"',
            '"" ""',
            "*",
            "AND",
            "NOT fox",
            "fox OR",
            "NEAR(fox dog, 2)",
            "text:fox",
            "{text}: fox",
            "^fox",
            "-fox",
        ),
        *(
            "fox)",
            "((fox",
            "a'b;--",
            "fox\x00\x1f",
            "\ud800",
            "\u0301",
            "%s",
            "\\",
            '"unclosed fox',
            "+ fox",
            ", . !",
        ),
        *("fox " * 5000, "x" * 100_000, "ꟊ 𞤀 \U0001fae8", "天" * 1000),
    ],
)
def test_nothing_that_is_typed_is_an_error(found: Subtitles, query: str) -> None:
    assert isinstance(found.search(query), list)
    assert isinstance(found.search(query, any_word=True), list)


def test_nothing_to_search_for_finds_nothing(found: Subtitles) -> None:
    assert match_expression(' "!" * ') is None
    assert found.search("") == []
    with pytest.raises(InputError, match="limit is 0"):
        found.search("fox", limit=0)


def test_any_word_ranks_rarer_and_more_words_first(store: SubtitleStore, tmp_path: Path) -> None:
    fillers = [f"nothing but filler {i}" for i in range(40)]
    store.put("a", STATE, beside=[_track("filler", *fillers, "red balloon", gap_s=9)])
    store.put("b", STATE, beside=[_track("red", *fillers, gap_s=9)])
    hits = Subtitles(tmp_path).search("a red balloon, filler", any_word=True, limit=3)
    assert [hit.text for hit in hits[:2]] == ["red balloon", "red"]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_one_hit_for_a_moment_whatever_windows_and_tracks_hold_it(
    store: SubtitleStore, tmp_path: Path
) -> None:
    lines = ["fox"] * 3 + ["-"] * 9 + ["fox"]
    store.put(
        "a", STATE, beside=[_track(*lines)], embedded=[_track(*lines, source="stream 2", language="eng")]
    )
    assert sorted(_spans(Subtitles(tmp_path), "fox", limit=99)) == [(0.0, 3.0), (12.0, 13.0)]


def test_only_in_some_videos_and_not_more_than_asked_for(store: SubtitleStore, tmp_path: Path) -> None:
    for name in "abc":
        store.put(name, STATE, beside=[_track("hello")])
    subtitles = Subtitles(tmp_path)
    assert {hit.video_id for hit in subtitles.search("hello", video_ids=["a", "c", "none"])} == {"a", "c"}
    assert subtitles.search("hello", video_ids=[]) == []
    assert len(subtitles.search("hello", limit=2)) == 2


@pytest.mark.parametrize("count", range(1, 14))
def test_three_cues_that_follow_one_another_share_a_window(count: int) -> None:
    cues = _track(*["x"] * count).cues
    groups = list(windows(cues))
    for first in range(max(1, count - 2)):
        assert any(a <= first and min(first + 2, count - 1) <= b for a, b in groups)
    assert all(b - a < WINDOW_CUES for a, b in groups)
    assert len({a for a, _ in groups}) == len(groups)


def test_windows_end_at_a_long_silence() -> None:
    assert list(windows(_track("a", "b", "c", gap_s=9).cues)) == [(0, 0), (1, 1), (2, 2)]


def test_cues_by_time_and_tracks(store: SubtitleStore, tmp_path: Path) -> None:
    bad = Track(source="b.srt", problem="it is not text", skipped=3)
    store.put(
        "a", STATE, beside=[_track(*SPEECH), bad], embedded=[_track("said", source="stream 1", language=None)]
    )
    subtitles = Subtitles(tmp_path)
    assert [cue.text for cue in subtitles.cues("a", 1.5, 3.0)] == ["fox jumps over", "the lazy dog."]
    assert [cue.text for cue in subtitles.cues("a", end_s=0.5)] == ["The quick brown", "said"]
    assert len(subtitles.cues("a")) == 7
    assert subtitles.cues("none") == []
    assert [(track.source, track.cues, track.skipped, track.problem) for track in subtitles.tracks("a")] == [
        ("a.srt", 6, 0, None),
        ("b.srt", 0, 3, "it is not text"),
        ("stream 1", 1, 0, None),
    ]
    assert (subtitles.counts().videos, subtitles.counts().tracks, subtitles.counts().cues) == (1, 2, 7)


def test_replacing_one_kind_of_tracks_keeps_the_other_and_forgetting_leaves_nothing(
    store: SubtitleStore, found: Subtitles
) -> None:
    store.put("a", STATE, embedded=[_track("inside", source="stream 1")])
    store.put("a", STATE, beside=[_track("beside")])
    assert (_spans(found, "fox"), len(_spans(found, "inside")), len(_spans(found, "beside"))) == ([], 1, 1)
    assert store.states() == {"a": STATE}
    store.forget(["a", "never there"])
    with sqlite3.connect(found.path) as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
            for t in ("videos", "tracks", "cues", "windows")
        ]
    database.close()
    assert counts == [0, 0, 0, 0]


def test_names_that_are_not_utf8(store: SubtitleStore, tmp_path: Path) -> None:
    name = b"/videos/\xff.mp4".decode("utf-8", "surrogateescape")
    state = SubtitleState(uri=name, mtime_ns=1, size_bytes=1, sidecars=((f"{name[8:]}.srt", 1, 1),))
    store.put("a", state, beside=[_track("hello", source=f"{name[8:]}.srt")])
    assert store.states() == {"a": state}
    (hit,) = Subtitles(tmp_path).search("hello")
    assert (hit.uri, hit.source) == (name, "\\xff.mp4.srt")


def test_index_without_subtitles_finds_nothing(tmp_path: Path) -> None:
    subtitles = Subtitles(tmp_path)
    assert (subtitles.search("fox"), subtitles.cues("a"), subtitles.tracks("a"), subtitles.counts().cues) == (
        [],
        [],
        [],
        0,
    )
    assert list(tmp_path.iterdir()) == []


def test_medium_that_cannot_be_written_to_is_read(
    found: Subtitles, store: SubtitleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.compact()
    store.__exit__(None, None, None)
    connect = sqlite3.connect
    asked: list[str] = []

    def refusing(place: str, **options: object) -> sqlite3.Connection:
        asked.append(place)
        if place.endswith(
            "mode=ro"
        ):  # as where WAL's shared memory cannot be made; the superuser always could
            return connect("file:/nowhere/at/all?mode=ro", **options)  # type: ignore[call-overload]
        return connect(place, **options)  # type: ignore[call-overload]

    def lazy(place: str, **options: object) -> object:
        try:
            return refusing(place, **options)
        except sqlite3.OperationalError as error:
            return _Failing(error)

    monkeypatch.setattr("framesift.index.subtitles.sqlite3.connect", lazy)
    assert _spans(found, "fox") == [(1.0, 2.0)]
    assert [place.rpartition("?")[2] for place in asked] == ["mode=ro", "immutable=1"]


class _Failing:
    """A connection that fails at the first question, as SQLite's do: it opens files late."""

    def __init__(self, error: sqlite3.OperationalError) -> None:
        self._error = error

    def execute(self, sql: str) -> None:
        raise self._error

    def close(self) -> None:
        pass


@pytest.mark.parametrize("damage", ["text", "middle", "tables"])
def test_damaged_database_is_told_and_begun_anew(found: Subtitles, store: SubtitleStore, damage: str) -> None:
    store.put("b", STATE, beside=[_track(*(f"word{i} " * 20 for i in range(300)))])
    store.compact()
    store.__exit__(None, None, None)
    content = found.path.read_bytes()
    if damage == "text":
        found.path.write_bytes(b"this is no database" * 500)
    elif damage == "middle":
        found.path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    else:
        with sqlite3.connect(found.path) as database:
            database.execute("DROP TABLE cues")
        database.close()
    with pytest.raises(IndexStateError, match="next framesift index makes it again"):
        found.search("fox")
    with pytest.warns(IndexRecoveredWarning, match="the subtitles are read again"):
        again = SubtitleStore(found.path.parent)
    with again:
        assert again.states() == {}
        again.put("a", STATE, beside=[_track(*SPEECH)])
    assert _spans(found, "fox") == [(1.0, 2.0)]


def test_database_of_another_format_is_replaced_and_finds_nothing_before(
    found: Subtitles, store: SubtitleStore
) -> None:
    store.__exit__(None, None, None)
    with sqlite3.connect(found.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert found.search("fox") == []
    with SubtitleStore(found.path.parent) as again:
        assert again.states() == {}


def test_log_of_a_lost_database_is_not_applied_to_the_next(tmp_path: Path) -> None:
    with SubtitleStore(tmp_path) as store:
        store.put("a", STATE, beside=[_track(*SPEECH)])
        assert Path(f"{tmp_path / SUBTITLES_NAME}-wal").stat().st_size > 0
        (tmp_path / SUBTITLES_NAME).unlink()
        with SubtitleStore(tmp_path) as again:
            assert again.states() == {}


def test_searching_goes_on_while_a_build_writes(store: SubtitleStore, found: Subtitles) -> None:
    ended = threading.Event()
    failures: list[BaseException] = []
    seen: list[int] = []

    def search() -> None:
        try:
            while not ended.is_set():
                seen.append(len(found.search("fox", limit=200)))
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(60):
        store.put(f"v{number}", STATE, beside=[_track("a fox", *["word"] * 20)])
    ended.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert seen
    assert seen[0] < 61
    assert len(found.search("fox", limit=200)) == 61
