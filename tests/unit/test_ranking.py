"""The ranking pipeline against naive loops, and the merging of adjacent moments."""

from __future__ import annotations

import random

import pytest
import torch

from framesift.errors import InputError, ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool, TopK
from framesift.ranking import FEW_TEXTS, Hit, MemoryGallery, exact_candidates, merge_adjacent, rank
from framesift.rerankers.base import Reranker
from framesift.similarity import similarity_matrix

DIM = 6


def _video(count: int, *, seed: int = 0, frames: int = 3) -> VideoFeatures:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(count, frames, generator=generator) > 0.3
    mask[:, 0] = True
    return VideoFeatures(frame=torch.randn(count, frames, DIM, generator=generator), frame_mask=mask)


def _text(count: int, *, seed: int = 1) -> TextFeatures:
    return TextFeatures(sentence=torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


class Backwards(Reranker):
    """Prefers what the matcher put last: the negated dot product with the first frame."""

    def forward(self, text: TextFeatures, video: VideoFeatures, pairs: torch.Tensor) -> torch.Tensor:
        return -(text.sentence[pairs[:, 0]] * video.frame[pairs[:, 1], 0]).sum(dim=1)


@pytest.mark.parametrize("texts", [1, FEW_TEXTS, FEW_TEXTS + 1])
def test_exhaustive_ranking_is_the_sorted_similarity_matrix(texts: int) -> None:
    text, video, matcher = _text(texts), _video(20), TopK()
    ranking = rank(text, MemoryGallery(video), matcher)
    expected, rows = similarity_matrix(matcher, text, video).sort(dim=1, descending=True)
    torch.testing.assert_close(ranking.scores, expected)
    assert torch.equal(ranking.rows, rows)


def test_candidates_score_as_in_the_full_matrix_and_only_they_are_ranked() -> None:
    text, video, matcher = _text(4), _video(50), TopK()
    ranking = rank(text, MemoryGallery(video), matcher, depth=7)
    assert ranking.rows.shape == (4, 7)
    full = similarity_matrix(matcher, text, video)
    torch.testing.assert_close(ranking.scores, full.gather(1, ranking.rows))
    coarse = similarity_matrix(MeanPool(), text, video).argsort(dim=1, descending=True)[:, :7]
    assert torch.equal(ranking.rows.sort(dim=1).values, coarse.sort(dim=1).values)


def test_mean_pool_search_equals_evaluation_at_any_depth() -> None:
    text, video = _text(5), _video(30)
    full = rank(text, MemoryGallery(video), MeanPool())
    shallow = rank(text, MemoryGallery(video), MeanPool(), depth=8)
    assert torch.equal(shallow.rows, full.rows[:, :8])
    torch.testing.assert_close(shallow.scores, full.scores[:, :8])


def test_equal_scores_keep_row_order() -> None:
    video = _video(1)[[0] * 5]
    assert rank(_text(1), MemoryGallery(video), MeanPool()).rows.tolist() == [[0, 1, 2, 3, 4]]


def test_reranker_orders_the_first_rows_only() -> None:
    text, video, matcher = _text(2), _video(12), MeanPool()
    plain = rank(text, MemoryGallery(video), matcher)
    again = rank(text, MemoryGallery(video), matcher, reranker=Backwards(), rerank_depth=5)
    assert torch.equal(again.rows[:, 5:], plain.rows[:, 5:])
    for t in range(2):
        key = {row: float(text.sentence[t] @ video.frame[row, 0]) for row in plain.rows[t, :5].tolist()}
        assert again.rows[t, :5].tolist() == sorted(key, key=key.__getitem__)


def test_empty_gallery_gives_no_rows() -> None:
    assert rank(_text(3), MemoryGallery(_video(0)), MeanPool(), depth=5).rows.shape == (3, 0)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_meaningless_query_is_refused(value: float) -> None:
    text = _text(3)
    text.sentence[1] = value
    with pytest.raises(InputError, match="text 1 has an embedding that is zero or not finite"):
        rank(text, MemoryGallery(_video(4)), MeanPool())


def test_depth_must_be_positive() -> None:
    with pytest.raises(InputError, match="depth is 0"):
        rank(_text(1), MemoryGallery(_video(4)), MeanPool(), depth=0)


def test_exact_candidates_ignore_the_length_of_a_text() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(40, DIM, generator=torch.Generator().manual_seed(3)), dim=1
    )
    short = exact_candidates(_text(3), vectors, 6)
    long = exact_candidates(TextFeatures(sentence=_text(3).sentence * 100), vectors, 6)
    assert torch.equal(short, long)
    assert exact_candidates(_text(3), vectors, 400).shape == (3, 40)


def test_adjacent_moments_are_merged_in_the_order_of_time() -> None:
    # b's middle comes last and joins its neighbours; a's two moments have a gap between them
    videos = ["b", "a", "b", "a", "b"]
    starts, ends = [4.0, 0.0, 0.0, 9.0, 2.0], [6.0, 3.0, 2.0, 12.0, 4.0]
    assert merge_adjacent(videos, starts, ends, k=10) == [[2, 4, 0], [1], [3]]


def test_moments_beyond_the_k_th_result_change_nothing() -> None:
    videos, starts, ends = ["a", "b", "a"], [0.0, 0.0, 2.0], [2.0, 2.0, 4.0]
    assert merge_adjacent(videos, starts, ends, k=2) == [[0], [1]]
    assert merge_adjacent(videos, starts, ends, k=3) == [[0, 2], [1]]


def _naive_merge(moments: list[tuple[str, int]], k: int) -> list[list[int]]:
    """Groups of the shortest beginning that has k connected components."""
    groups: list[list[int]] = []
    for length in range(1, len(moments) + 1):
        chosen = sorted(range(length), key=lambda i: moments[i])
        groups = []
        for i in chosen:
            last = moments[groups[-1][-1]] if groups else None
            if last is not None and (last[0], last[1] + 1) == moments[i]:
                groups[-1].append(i)
            else:
                groups.append([i])
        if len(groups) == k:
            break
    return sorted(groups, key=min)


@pytest.mark.parametrize("seed", range(10))
def test_merging_agrees_with_a_naive_search(seed: int) -> None:
    rng = random.Random(seed)
    moments = [(video, second) for video in "abc" for second in range(6)]
    rng.shuffle(moments)
    videos, starts = [video for video, _ in moments], [float(second) for _, second in moments]
    for k in (1, 2, 4, 18):
        assert merge_adjacent(videos, starts, [s + 1 for s in starts], k=k) == _naive_merge(moments, k)


def test_merging_needs_equal_lengths() -> None:
    with pytest.raises(ShapeError):
        merge_adjacent(["a", "b"], [0.0], [1.0], k=1)


def test_hit_prints_and_serialises() -> None:
    hit = Hit(
        rank=1,
        video="/v/dog.mp4",
        start_s=3.0,
        end_s=7.5,
        score=0.412,
        frame_times_s=(3.5,),
        attention=(1.0,),
    )
    assert repr(hit) == "<Hit dog.mp4 3.0-7.5 s 0.41>"
    assert hit.to_dict() == {
        "rank": 1,
        "video": "/v/dog.mp4",
        "start_s": 3.0,
        "end_s": 7.5,
        "focus_s": [3.0, 7.5],
        "score": 0.412,
        "frame_times_s": [3.5],
        "attention": [1.0],
    }


@pytest.mark.parametrize(
    ("attention", "focus"),
    [
        ((0.1, 0.2, 0.4, 0.3), (2.0, 8.0)),  # the peak and what is at least half of it
        ((0.7, 0.1, 0.1, 0.1), (0.0, 2.0)),
        ((0.45, 0.05, 0.05, 0.45), (0.0, 2.0)),  # of two equal peaks the first
        ((0.25, 0.25, 0.25, 0.25), (0.0, 8.0)),
    ],
)
def test_focus_is_the_stretch_around_the_largest_weight(
    attention: tuple[float, ...], focus: tuple[float, float]
) -> None:
    hit = Hit(
        rank=1,
        video="a.mp4",
        start_s=0.0,
        end_s=8.0,
        score=0.1,
        frame_times_s=(1.0, 3.0, 5.0, 7.0),
        attention=attention,
    )
    assert hit.focus_s == focus
