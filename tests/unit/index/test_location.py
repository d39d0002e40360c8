"""Where an index is: directories and URIs, as they come from the command line and from code."""

from __future__ import annotations

from pathlib import Path

import pytest

from framesift.errors import InputError
from framesift.index.location import ObjectUri, located

FILMS = ObjectUri("s3", "videos", "a/films.index")


@pytest.mark.parametrize(
    "given",
    [
        "s3://videos/a/films.index",
        "s3://videos/a/films.index/",
        Path("s3://videos/a/films.index"),  # has lost a slash
        FILMS,
    ],
)
def test_uris(given: str | Path | ObjectUri) -> None:
    found = located(given)
    assert found == FILMS
    assert str(found) == "s3://videos/a/films.index"
    assert (found.name, found.stem) == ("films.index", "films")


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_schemes(scheme: str) -> None:
    assert located(f"{scheme}://videos/films") == ObjectUri(scheme, "videos", "films")


@pytest.mark.parametrize("given", ["films", "./s3/films", "/s3:/films", "./ftp://films", "s3", "C:/films"])
def test_everything_else_is_a_directory(given: str) -> None:
    assert located(given) == Path(given).absolute()


@pytest.mark.parametrize("given", ["ftp://videos/films", "xs3://a/b", "https://host/films", "file:///films"])
def test_other_uris_are_not_taken_for_directories(given: str) -> None:
    for place in (given, Path(given)):
        with pytest.raises(InputError, match="begins with s3://, gs://, az://"):
            located(place)


@pytest.mark.parametrize(
    "given",
    [
        "s3://",
        "s3://videos",
        "s3:///films",
        "s3://Videos/films",
        "s3://videos/a/../b",
        "s3://v*/f",
        "s3://videos/a\nb",
    ],
)
def test_what_begins_like_a_uri_and_is_none(given: str) -> None:
    with pytest.raises(InputError, match="cannot be an index; expected s3://BUCKET/PATH"):
        located(given)
