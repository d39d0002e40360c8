"""The place of a new index: it is empty or not there at first, and an index at the very end."""

from __future__ import annotations

from .place import Place
from .schema import IndexMeta
from .store import Store

__all__ = ["create_tables_in"]


def create_tables_in(place: Place, meta: IndexMeta) -> Store:
    """Make empty tables in a place.

    Raises:
        IndexStateError: there is an index meanwhile, or the place cannot be written to.
        InputError: something else was put there meanwhile.
    """
    place.make()
    with place.writing():
        place.claim()  # again: someone else may have been faster
        store = Store.create(place, meta)
        meta.write(place)  # last: an index without it does not exist
    return store
