"""Scores of terms: what each kind is compared with, and how several become one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from colour_model import ColourModel
from framesift.errors import InputError, MissingFeatureError, ShapeError
from framesift.features import TextFeatures, VideoFeatures, unit
from framesift.ranking import MemoryGallery
from framesift.search.query import ClipTerm, ImageTerm, MomentRef, MomentTerm, TextTerm
from framesift.search.terms import background, combine, kind_of, score_term, standardised


def random_video(rows: int, *, frames: int = 4, dim: int = 4, seed: int = 0) -> VideoFeatures:
    dice = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, frames + 1, (rows,), generator=dice)
    return VideoFeatures(
        frame=torch.randn(rows, frames, dim, generator=dice),
        frame_mask=torch.arange(frames) < lengths[:, None],
    )


def test_the_background_is_a_fixed_sample() -> None:
    gallery = MemoryGallery(random_video(300))
    one, other = background(gallery), background(gallery)
    assert len(one) == 256
    assert one.total == 300
    assert one.rows.tolist() == other.rows.tolist() == sorted(set(one.rows.tolist()))
    torch.testing.assert_close(one.features.frame, gallery.features(one.rows).frame)
    assert background(MemoryGallery(random_video(3))).rows.tolist() == [0, 1, 2]
    with pytest.raises(InputError):
        background(gallery, size=0)


def test_words_are_scored_by_the_matcher() -> None:
    model, video = ColourModel(), random_video(20)
    text = model.encode_text(["red"])
    with torch.inference_mode():
        expected = model.matcher(text, video)[0].numpy()
    np.testing.assert_allclose(score_term(model, text, "text", video), expected, atol=1e-6)


def test_a_picture_is_compared_with_the_frame_that_is_most_like_it() -> None:
    video = random_video(20)
    frames = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True, True, False]])
    term = TextFeatures(sentence=torch.ones(1, 4), word=frames, word_mask=mask)
    expected = []
    for row in range(len(video)):
        own = unit(video.frame[row][video.frame_mask[row]])
        expected.append(np.mean([float((unit(frame) @ own.T).max()) for frame in frames[0, :2]]))
    np.testing.assert_allclose(score_term(ColourModel(), term, "image", video), expected, atol=1e-6)


def test_a_row_without_frames_is_like_no_picture() -> None:
    nothing = VideoFeatures(
        frame=torch.full((1, 2, 4), torch.nan), frame_mask=torch.zeros(1, 2, dtype=torch.bool)
    )
    term = TextFeatures(
        sentence=torch.ones(1, 4), word=torch.ones(1, 1, 4), word_mask=torch.ones(1, 1, dtype=torch.bool)
    )
    assert score_term(ColourModel(), term, "clip", nothing).tolist() == [0.0]


def test_terms_that_cannot_be_scored_are_refused() -> None:
    video = random_video(2)
    with pytest.raises(ShapeError):
        score_term(ColourModel(), TextFeatures(sentence=torch.ones(2, 4)), "text", video)
    with pytest.raises(MissingFeatureError):
        score_term(ColourModel(), TextFeatures(sentence=torch.ones(1, 4)), "image", video)


def test_scores_are_told_in_deviations_of_the_background() -> None:
    assert standardised([5.0, 1.0], [0.0, 2.0]).tolist() == [4.0, 0.0]
    assert standardised([5.0], [1.0, 1.0]).tolist() == [0.0]  # nothing stands out
    assert standardised([5.0], []).tolist() == [0.0]


def test_one_term_keeps_its_order_and_two_are_on_one_scale() -> None:
    dice = np.random.default_rng(0)
    small, large = dice.normal(size=50) * 0.01, dice.normal(size=50) * 10
    alone = combine([2.0], [small], [small])
    assert alone.argsort().tolist() == small.argsort().tolist()
    both = combine([1.0, 1.0], [small, large], [small, large])
    assert abs(np.corrcoef(both, small)[0, 1] - np.corrcoef(both, large)[0, 1]) < 1e-9
    leaning = combine([3.0, 1.0], [small, large], [small, large])
    assert np.corrcoef(leaning, small)[0, 1] > np.corrcoef(both, small)[0, 1]


def test_a_negative_term_pushes_down_what_stands_out_for_it_and_reorders_nothing_else() -> None:
    wanted, barred = np.array([4.0, 3.0, 2.0, 1.0]), np.array([9.0, 0.0, -1.0, -2.0])
    sample = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    found = combine([1.0, -1.0], [wanted, barred], sample)
    assert found.argsort()[::-1].tolist() == [1, 2, 3, 0]
    np.testing.assert_array_equal(found[1:], wanted[1:])


@pytest.mark.parametrize("weights", [[-1.0, -1.0], [0.0, 1.0], [float("inf"), 1.0]])
def test_weights_that_ask_for_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError):
        combine(weights, np.ones((2, 3)), np.ones((2, 3)))


def test_as_many_scores_as_weights() -> None:
    with pytest.raises(ShapeError):
        combine([1.0], np.ones((2, 3)), np.ones((2, 3)))


def test_kinds() -> None:
    moment = MomentTerm(moment=MomentRef(video="a", start_s=0, end_s=1))
    terms = [TextTerm(text="x"), ImageTerm(path=Path("x")), ClipTerm(path=Path("x")), moment]
    assert [kind_of(term) for term in terms] == ["text", "image", "clip", "moment"]
