from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config

from framesift.errors import MissingFeatureError, ShapeError
from framesift.features import TextFeatures, VideoFeatures, masked_mean, unit


def videos(count: int, frames: int, dim: int = 4) -> VideoFeatures:
    generator = torch.Generator().manual_seed(count * 100 + frames)
    return VideoFeatures(
        frame=torch.randn(count, frames, dim, generator=generator),
        frame_mask=torch.ones(count, frames, dtype=torch.bool),
    )


@pytest.fixture
def _unchecked() -> Iterator[None]:
    """Without the run-time check of the tests, which would speak before the library's own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_unit_keeps_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert torch.equal(unit(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_masked_mean_is_the_mean_of_unit_frames() -> None:
    frame = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [7.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    expected = torch.tensor([[0.5**0.5, 0.5**0.5]])
    torch.testing.assert_close(masked_mean(frame, mask), expected)


def test_masked_mean_of_nothing_is_zero() -> None:
    assert masked_mean(torch.randn(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)).eq(0).all()


@pytest.mark.parametrize("rows", [slice(1, 3), [2, 0], torch.tensor([1]), torch.tensor([True, False, True])])
def test_indexing_acts_on_every_tensor(rows: object) -> None:
    features = videos(3, 2)
    part = features[rows]  # type: ignore[index]
    index = rows if not isinstance(rows, list) else torch.tensor(rows)
    assert torch.equal(part.frame, features.frame[index])  # type: ignore[index]
    assert torch.equal(part.frame_mask, features.frame_mask[index])  # type: ignore[index]


@pytest.mark.usefixtures("_unchecked")
def test_an_integer_index_is_refused() -> None:
    with pytest.raises(TypeError, match="slice or a list"):
        videos(3, 2)[0]  # type: ignore[index]


def test_cat_pads_to_the_longest() -> None:
    joined = VideoFeatures.cat([videos(2, 3), videos(1, 5)])
    assert joined.frame.shape == (3, 5, 4)
    assert joined.frame_mask.sum(dim=1).tolist() == [3, 3, 5]
    assert torch.equal(joined.frame[:2, :3], videos(2, 3).frame)


def test_cat_of_texts_does_not_pad_sentences() -> None:
    texts = [TextFeatures(sentence=torch.randn(2, 4)), TextFeatures(sentence=torch.randn(1, 4))]
    assert TextFeatures.cat(texts).sentence.shape == (3, 4)


def test_cat_refuses_nothing_and_mixtures() -> None:
    with pytest.raises(ShapeError, match="at least one part"):
        VideoFeatures.cat([])
    with_words = TextFeatures(
        sentence=torch.randn(1, 4), word=torch.randn(1, 2, 4), word_mask=torch.ones(1, 2, dtype=torch.bool)
    )
    with pytest.raises(MissingFeatureError, match="word"):
        TextFeatures.cat([with_words, TextFeatures(sentence=torch.randn(1, 4))])


@pytest.mark.usefixtures("_unchecked")
def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="frame_mask"):
        VideoFeatures(frame=torch.randn(2, 3, 4), frame_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match="together"):
        TextFeatures(sentence=torch.randn(1, 4), word=torch.randn(1, 2, 4))


def test_to_moves_and_converts_floats_only() -> None:
    half = videos(2, 3).to(dtype=torch.float16)
    assert half.frame.dtype == torch.float16
    assert half.frame_mask.dtype == torch.bool


def test_repr_and_len() -> None:
    assert repr(videos(2, 3)) == "<VideoFeatures 2 videos x 3 frames x 4>"
    assert repr(TextFeatures(sentence=torch.randn(5, 4))) == "<TextFeatures 5 texts x 4>"
    assert len(videos(2, 3)) == 2
