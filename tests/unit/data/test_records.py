"""Split: what it refuses, its relevance, its hash."""

import numpy as np
import pytest

from framesift.data import Caption, Split
from framesift.errors import DatasetError


def split(videos="ab", captions=(("one", "a"), ("two", "b")), protocol="one-caption"):
    return Split(
        benchmark="mine",
        split="test",
        protocol=protocol,
        videos=tuple(videos),
        captions=tuple(Caption(text=text, video=video) for text, video in captions),
    )


def test_relevance_is_of_the_own_video():
    several = split(captions=(("x", "b"), ("y", "a"), ("z", "b")), protocol="all-captions")
    assert several.relevance().tolist() == [[False, True], [True, False], [False, True]]
    assert several.owner.dtype == np.int64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"videos": ""}, "0 videos"),
        ({"captions": ()}, "0 captions"),
        ({"videos": "aab"}, "'a' is in the gallery twice"),
        ({"captions": (("one", "c"),)}, "'c', which the gallery lacks"),
        ({"captions": (("  ", "a"),)}, "is empty"),
        ({"captions": (("one", "a"), ("two", "a"))}, "one caption a video"),
        ({"protocol": "paragraphs"}, "did you mean 'paragraph'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(DatasetError, match=message):
        split(**arguments)


def test_the_hash_depends_on_content_and_order_and_protocol():
    plain = split()
    assert plain.content_hash == split().content_hash
    others = [
        split(videos="ba"),
        split(captions=(("one", "a"), ("two!", "b"))),
        split(protocol="all-captions"),
    ]
    assert len({plain.content_hash, *(other.content_hash for other in others)}) == 4


def test_missing_videos_are_counted_and_make_another_split():
    left = split().without(["b", "never heard of"])
    assert left.videos == ("a",)
    assert left.texts == ["one"]
    assert left.notes == ("1 of 2 videos are missing and were left out",)
    assert left.content_hash != split().content_hash
    with pytest.raises(DatasetError, match="0 videos"):
        split().without(["a", "b"])
    whole = split()
    assert whole.without([]) is whole


def test_subset_keeps_the_order_asked_for():
    assert split().subset([1]).texts == ["two"]
    assert split().subset([1, 0]).videos == ("b", "a")
