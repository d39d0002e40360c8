"""The ranking pipeline against naive loops over texts and videos."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from framesift.errors import InputError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import Matcher, MeanPool, SoftmaxPool, TopK
from framesift.ranking import Hit, MemoryGallery, exact_candidates, merge_adjacent, rank

SETTINGS = settings(deadline=None, max_examples=40, derandomize=True)
DIM = 5

seeds = st.integers(0, 2**32 - 1)
matchers = st.sampled_from([MeanPool, SoftmaxPool, TopK])


def features(seed: int, texts: int, videos: int) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(videos, 4, generator=generator) > 0.4
    mask[:, 0] = True
    frame = torch.randn(videos, 4, DIM, generator=generator)
    return (
        TextFeatures(sentence=torch.randn(texts, DIM, generator=generator)),
        VideoFeatures(frame=frame, frame_mask=mask),
    )


def naive_score(matcher: Matcher, text: TextFeatures, video: VideoFeatures) -> float:
    """One pair on its own, without its masked frames."""
    real = video.frame_mask[0]
    alone = VideoFeatures(
        frame=video.frame[:, real], frame_mask=torch.ones(1, int(real.sum()), dtype=torch.bool)
    )
    with torch.no_grad():
        return float(matcher(text, alone))


def naive_vector(frame: Tensor, mask: Tensor) -> np.ndarray:
    units = [row / np.linalg.norm(row) for row in frame[mask].double().numpy()]
    mean = np.mean(units, axis=0)
    return mean / np.linalg.norm(mean)


@SETTINGS
@given(seeds, st.integers(1, 20), st.integers(1, 12), matchers)
def test_all_rows_in_the_order_of_their_scores(
    seed: int, texts: int, videos: int, kind: type[Matcher]
) -> None:
    text, video = features(seed, texts, videos)
    matcher = kind.from_config(kind.Config()).eval()
    ranking = rank(text, MemoryGallery(video), matcher)
    assert ranking.rows.sort(dim=1).values.tolist() == [list(range(videos))] * texts
    assert (ranking.scores.diff(dim=1) <= 0).all()
    t = seed % texts
    for row, score in zip(ranking.rows[t].tolist(), ranking.scores[t].tolist(), strict=True):
        assert score == pytest.approx(naive_score(matcher, text[t : t + 1], video[row : row + 1]), abs=1e-5)


@SETTINGS
@given(seeds, st.integers(1, 20), st.integers(1, 30), matchers, st.none() | st.integers(1, 40), st.data())
def test_permuting_the_videos_permutes_the_result(
    seed: int, texts: int, videos: int, kind: type[Matcher], depth: int | None, data: st.DataObject
) -> None:
    text, video = features(seed, texts, videos)
    matcher = kind.from_config(kind.Config()).eval()
    order = torch.tensor(data.draw(st.permutations(range(videos))))
    before = rank(text, MemoryGallery(video), matcher, depth=depth)
    after = rank(text, MemoryGallery(video[order]), matcher, depth=depth)
    torch.testing.assert_close(after.scores, before.scores)
    by_row = before.scores.new_full((texts, videos), torch.nan).scatter(1, before.rows, before.scores)
    torch.testing.assert_close(by_row.gather(1, order[after.rows]), after.scores)


@SETTINGS
@given(seeds, st.integers(1, 20), st.integers(1, 12), st.integers(1, 15))
def test_duplicates_score_alike_and_keep_their_order(seed: int, texts: int, videos: int, depth: int) -> None:
    text, video = features(seed, texts, videos)
    twice = video[[row for row in range(videos) for _ in range(2)]]
    ranking = rank(text, MemoryGallery(twice), MeanPool())
    for rows, scores in zip(ranking.rows.tolist(), ranking.scores.tolist(), strict=True):
        for (row, score), (other, same) in pairwise(zip(rows, scores, strict=True)):
            assert score > same or row < other
    shallow = rank(text, MemoryGallery(twice), MeanPool(), depth=depth)
    torch.testing.assert_close(shallow.scores, ranking.scores[:, :depth])


@SETTINGS
@given(seeds, st.integers(1, 6), st.integers(1, 40), st.none() | st.integers(1, 50))
def test_candidates_are_the_nearest_vectors(seed: int, texts: int, videos: int, depth: int | None) -> None:
    text, video = features(seed, texts, videos)
    vectors = np.stack([naive_vector(*pair) for pair in zip(video.frame, video.frame_mask, strict=True)])
    found = exact_candidates(text, torch.tensor(vectors, dtype=torch.float32), depth)
    kept = videos if depth is None else min(depth, videos)
    assert found.shape == (texts, kept)
    assert torch.equal(found, MemoryGallery(video).candidates(text, depth))
    for rows, sentence in zip(found.tolist(), text.sentence.double().numpy(), strict=True):
        assert rows == sorted(set(rows))
        nearest = sorted(range(videos), key=lambda row, s=sentence: -float(vectors[row] @ s))[:kept]
        assert rows == sorted(nearest)


@st.composite
def ranked_moments(draw: st.DrawFn) -> list[tuple[int, float, float]]:
    """Moments of a few videos, cut without gaps as an index cuts them, some of them very short; best first."""
    lengths = st.sampled_from([1e-4, 4e-4, 9e-4, 2e-3, 0.5, 10.0])
    moments = [
        (video, start_s, end_s)
        for video in range(draw(st.integers(1, 3)))
        for start_s, end_s in pairwise(accumulate(draw(st.lists(lengths, max_size=8)), initial=0.0))
    ]
    shuffled = draw(st.permutations(moments))
    return shuffled[: draw(st.integers(0, len(shuffled)))]


def merged(moments: list[tuple[int, float, float]], k: int) -> list[list[int]]:
    return merge_adjacent([m[0] for m in moments], [m[1] for m in moments], [m[2] for m in moments], k=k)


@SETTINGS
@given(ranked_moments(), st.integers(1, 6))
def test_merged_results_are_stretches_of_a_beginning_of_the_list(
    moments: list[tuple[int, float, float]], k: int
) -> None:
    groups = merged(moments, k)
    assert len(groups) <= k
    used = sorted(position for group in groups for position in group)
    assert used == list(range(len(used))), "each position once, and none behind the last that is needed"
    assert len(used) == len(moments) or len(groups) == k
    assert [min(group) for group in groups] == sorted(min(group) for group in groups)
    for group in groups:
        assert len({moments[i][0] for i in group}) == 1
        for i, j in pairwise(group):
            assert moments[i][1] < moments[j][1]
            assert moments[j][1] - moments[i][2] < 1e-3


@SETTINGS
@given(ranked_moments())
def test_neighbours_are_never_two_results(moments: list[tuple[int, float, float]]) -> None:
    groups = merged(moments, len(moments) + 1)
    where = {position: number for number, group in enumerate(groups) for position in group}
    for i, (video, _, end_s) in enumerate(moments):
        for j, (other, start_s, _) in enumerate(moments):
            if video == other and end_s == start_s:
                assert where[i] == where[j]


def test_no_results_are_no_request() -> None:
    with pytest.raises(InputError, match="k is 0"):
        merge_adjacent([], [], [], k=0)


@SETTINGS
@given(
    st.lists(st.floats(1e-3, 100.0), min_size=2, max_size=20),
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1), min_size=20, max_size=20),
)
def test_the_focus_lies_within_the_result_around_its_peak(gaps: list[float], weights: list[float]) -> None:
    times_s = list(accumulate(gaps))[:-1]
    attention = weights[: len(times_s)]
    hit = Hit(
        rank=1,
        video="v.mp4",
        start_s=0.0,
        end_s=sum(gaps),
        score=0.0,
        frame_times_s=tuple(times_s),
        attention=tuple(attention),
    )
    start_s, end_s = hit.focus_s
    assert 0.0 <= start_s < end_s <= hit.end_s
    inside = [i for i, time_s in enumerate(times_s) if start_s <= time_s <= end_s]
    assert attention.index(max(attention)) in inside
    assert all(attention[i] >= max(attention) / 2 for i in inside)
    for outside in {inside[0] - 1, inside[-1] + 1} & set(range(len(times_s))):
        assert attention[outside] < max(attention) / 2
