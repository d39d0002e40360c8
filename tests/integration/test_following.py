"""Servers answer from the state before while the next one is made ready; other searches see what was committed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from chaos.cache_storm import make_index, put
from framesift.errors import IndexStateError
from framesift.index.gallery import LanceGallery
from framesift.index.schema import IndexMeta
from framesift.index.store import Store
from framesift.search.following import Following

PATIENCE_S = 0.05


class OnlyRead:
    """What following asks of an index, without a model."""

    def __init__(self, store: Store, meta: IndexMeta) -> None:
        self._store, self._gallery = store, LanceGallery(store, meta)
        self.failing = False

    @property
    def version(self) -> tuple[int, int, int]:
        return self._store.version()

    def gallery(self) -> LanceGallery:
        if self.failing:
            raise IndexStateError("the disk is gone")
        self._gallery = self._gallery.refreshed()
        return self._gallery


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_index(tmp_path / "an.index")


@pytest.fixture
def index(store: Store) -> OnlyRead:
    return OnlyRead(store, IndexMeta.read(store.place))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Engines are made once this is set."""
    let = threading.Event()
    real = LanceGallery.engine.fget
    assert real is not None

    def engine(self: LanceGallery) -> object:
        assert let.wait(20)
        return real(self)

    monkeypatch.setattr(LanceGallery, "engine", property(engine))
    return let


def test_without_patience_every_search_sees_what_was_committed(
    store: Store, index: OnlyRead, slow: threading.Event
) -> None:
    following = Following(index, patience_s=None)  # type: ignore[arg-type]
    before = following.snapshot()
    assert following.snapshot() is before
    put(store, ["later"], 1, known=set())
    after = following.snapshot()  # and does not make an engine that nobody asked for
    assert len(after.gallery) == len(before.gallery) + 4


def test_a_server_answers_from_the_state_before_until_the_next_is_ready(
    store: Store, index: OnlyRead, slow: threading.Event
) -> None:
    following = Following(index, patience_s=PATIENCE_S)  # type: ignore[arg-type]
    before = following.snapshot()
    put(store, ["later"], 1, known=set())
    began = time.monotonic()
    assert following.snapshot() is before
    assert time.monotonic() - began >= PATIENCE_S
    assert following.snapshot() is before
    newest = following.newest()  # whoever has to, waits
    assert newest is not before
    slow.set()
    following.prepare()
    assert following.snapshot() is newest


def test_the_next_state_is_searched_once_it_is_ready(
    store: Store, index: OnlyRead, slow: threading.Event
) -> None:
    following = Following(index, patience_s=PATIENCE_S)  # type: ignore[arg-type]
    before = following.snapshot()
    put(store, ["later"], 1, known=set())
    assert following.snapshot() is before
    slow.set()
    following.prepare()
    after = following.snapshot()
    assert len(after.gallery) == len(before.gallery) + 4
    assert following.snapshot() is after


def test_a_small_index_is_up_to_date_at_once(store: Store, index: OnlyRead) -> None:
    following = Following(index, patience_s=60.0)  # type: ignore[arg-type]
    for number in range(3):
        before = following.snapshot()
        put(store, [f"later{number}"], 1, known=set())
        assert len(following.snapshot().gallery) == len(before.gallery) + 4


def test_an_index_that_cannot_be_read_is_told(store: Store, index: OnlyRead) -> None:
    following = Following(index, patience_s=60.0)  # type: ignore[arg-type]
    following.snapshot()
    put(store, ["later"], 1, known=set())
    index.failing = True
    with pytest.raises(IndexStateError, match="the disk is gone"):
        following.snapshot()
    index.failing = False
    assert "later" in following.snapshot().gallery.catalogue.video_ids
