"""Near-duplicates: copies are found, other films are not."""

from __future__ import annotations

import torch

from framesift.features import VideoFeatures
from framesift.search.grouping import distances, duplicates

DIM = 16


def film(seed: int, frames: int = 12) -> torch.Tensor:
    """A film that changes from frame to frame."""
    return torch.randn(frames, DIM, generator=torch.Generator().manual_seed(seed)).cumsum(0)


def together(*films: torch.Tensor) -> VideoFeatures:
    longest = max(map(len, films))
    frame = torch.stack([torch.cat([x, torch.full((longest - len(x), DIM), torch.nan)]) for x in films])
    mask = torch.arange(longest) < torch.tensor([len(x) for x in films])[:, None]
    return VideoFeatures(frame=frame, frame_mask=mask)


def noisy(x: torch.Tensor, size: float) -> torch.Tensor:
    return (
        x
        + size
        * x.norm(dim=1, keepdim=True)
        * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
        / DIM**0.5
    )


def test_a_copy_has_no_distance_and_lengths_and_padding_do_not_matter() -> None:
    x = film(0)
    found = distances(together(x, x * 3), together(x, film(1, 5)))
    assert abs(float(found[0, 0])) < 1e-6
    assert abs(float(found[1, 0])) < 1e-6
    assert found.isfinite().all()
    assert float(found[0, 1]) > 0.2
    torch.testing.assert_close(found[:, 1], distances(together(x, x * 3), together(film(1, 5)))[:, 0])


def test_it_is_the_same_both_ways() -> None:
    video = together(film(0), film(1, 7), film(2, 3))
    torch.testing.assert_close(distances(video, video), distances(video, video).T)


def test_a_part_is_no_copy_of_the_whole_and_a_film_played_backwards_is_another() -> None:
    x = film(0)
    found = distances(together(x), together(x[:4], x.flip(0)))[0]
    assert float(found.min()) > 0.1


def test_copies_are_grouped_behind_the_best_of_them() -> None:
    a, b = film(0), film(1)
    groups = duplicates(together(b, a, noisy(b, 0.1), film(2), noisy(a, 0.1), a))
    assert groups == [[0, 2], [1, 4, 5], [3]]


def test_small_differences_do_not_add_up() -> None:
    """A row is compared with the first of a group, not with the last."""
    start, end = torch.eye(DIM)[0], torch.eye(DIM)[1]
    angles = torch.linspace(0, 1.2, 9)
    drift = [(angle.cos() * start + angle.sin() * end).repeat(12, 1) for angle in angles]
    groups = duplicates(together(*drift))
    assert len(groups) > 2
    assert sorted(row for group in groups for row in group) == list(range(9))


def test_no_rows_no_groups() -> None:
    assert duplicates(together(film(0))[[]]) == []
