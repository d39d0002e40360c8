from __future__ import annotations

import numpy as np
import pytest

from framesift.errors import ConfigError, InputError
from framesift.video import Rate, Sampler, Uniform, clip4clip_extract_indices, xpool_uniform_indices


def test_uniform_takes_midpoints() -> None:
    np.testing.assert_allclose(Uniform(num_frames=4).times(2.0, 10.0), [3, 5, 7, 9])


def test_rate_follows_the_length_within_its_limits() -> None:
    np.testing.assert_allclose(Rate(fps=2.0).times(0.0, 2.0), [0.25, 0.75, 1.25, 1.75])
    assert len(Rate(fps=1.0, min_frames=5).times(0.0, 2.0)) == 5
    assert len(Rate(fps=1.0, max_frames=7).times(0.0, 3600.0)) == 7
    assert len(Rate(fps=1.0).times(0.0, 3600.0)) == 3600


@pytest.mark.parametrize("sampler", [Uniform(num_frames=3), Rate(fps=0.7, min_frames=2)])
def test_times_are_inside_and_ascending(sampler: Sampler) -> None:
    assert isinstance(sampler, Sampler)
    for start, end in ((0.0, 0.04), (5.0, 5.0), (1.0, 1000.3)):
        times = sampler.times(start, end)
        assert len(times) > 0
        assert (times >= start).all()
        assert (times <= end).all()
        assert (np.diff(times) >= 0).all()


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="num_frames"):
        Uniform(num_frames=0)
    with pytest.raises(ConfigError, match="fps"):
        Rate(fps=0.0)
    with pytest.raises(ConfigError, match="max_frames"):
        Rate(min_frames=4, max_frames=3)
    with pytest.raises(InputError, match="at least one"):
        xpool_uniform_indices(12, 0)
    with pytest.raises(InputError, match="go together"):
        clip4clip_extract_indices(100, 25.0, start_s=1)
    with pytest.raises(InputError, match="fps"):
        clip4clip_extract_indices(100, 0.5)
