"""Sampled galleries: the same for the same arguments, like what they are sampled from, with their planted videos."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from framesift.features import masked_mean

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from growth_gallery import BLOCK, FRAMES, GrowthGallery, Material, nearest, unit

DIM = 16


@pytest.fixture(scope="module")
def material() -> Material:
    """Scenes around some centres, whose frames drift; videos and texts around the same centres."""
    rng = np.random.default_rng(0)

    def scenes(count: int) -> np.ndarray:
        centre = 3 + 2 * rng.standard_normal((count, 1, DIM)) * np.linspace(0.2, 1.5, DIM)
        drift = np.linspace(-1, 1, FRAMES)[:, None] * 0.3 * rng.standard_normal((count, 1, DIM))
        return (centre + drift).astype(np.float32)

    videos = scenes(40)
    return Material(scenes=scenes(300), videos=videos, texts=videos.mean(axis=1))


def sampled(gallery: GrowthGallery) -> np.ndarray:
    return np.concatenate([block.frames for block in gallery.blocks()]).astype(np.float32)


def test_blocks_are_the_same_in_any_order(material: Material) -> None:
    gallery = GrowthGallery(material, moments=2 * BLOCK + 7, dim=24)
    blocks = list(gallery.blocks())
    assert [block.first for block in blocks] == [0, BLOCK, 2 * BLOCK]
    assert [len(block.vectors) for block in blocks] == [BLOCK, BLOCK, 7]
    again = GrowthGallery(material, moments=2 * BLOCK + 7, dim=24).block(1)
    assert np.array_equal(again.frames, blocks[1].frames)
    other = GrowthGallery(material, moments=2 * BLOCK + 7, dim=24, seed=1).block(1)
    assert not np.array_equal(other.frames, again.frames)


def test_vectors_are_the_mean_of_the_stored_frames(material: Material) -> None:
    block = GrowthGallery(material, moments=50, dim=24).block(0)
    frames = torch.from_numpy(block.frames.astype(np.float32))
    expected = masked_mean(frames, torch.ones(frames.shape[:2], dtype=torch.bool))
    np.testing.assert_allclose(block.vectors, expected.numpy(), atol=1e-5)


def test_no_two_moments_are_alike(material: Material) -> None:
    gallery = GrowthGallery(material, moments=3000, dim=DIM, planted=0)
    vectors = np.concatenate(list(gallery.vectors()))
    assert len(np.unique(vectors, axis=0)) == len(vectors)


def test_planted_videos_answer_their_captions(material: Material) -> None:
    gallery = GrowthGallery(material, moments=1500, dim=24)
    assert len(gallery.owners) == len(gallery.texts) == len(material.videos)
    vectors = np.concatenate(list(gallery.vectors()))
    own = np.einsum("td,td->t", gallery.queries, vectors[gallery.owners])
    assert own.min() > 0.95  # but for what lies outside of the model's directions
    assert np.median((gallery.queries @ vectors.T > own[:, None]).sum(axis=1)) <= 1


def test_samples_have_mean_and_covariance_of_the_scenes(material: Material) -> None:
    gallery = GrowthGallery(material, moments=4000, dim=DIM, planted=0)
    frames = sampled(gallery).reshape(-1, DIM) @ gallery.inside.T
    real = material.scenes.reshape(-1, DIM)
    spread = real.std(axis=0)
    assert (np.abs(frames.mean(axis=0) - real.mean(axis=0)) < 0.15 * spread).all()
    ratio = np.cov(frames, rowvar=False) / np.cov(real, rowvar=False).trace()
    assert np.linalg.norm(ratio - np.cov(real, rowvar=False) / np.cov(real, rowvar=False).trace()) < 0.1


def test_added_dimensions_hold_little_but_something(material: Material) -> None:
    gallery = GrowthGallery(material, moments=2000, dim=2 * DIM, planted=0)
    frames = sampled(gallery).reshape(-1, 2 * DIM)
    inside = frames @ gallery.inside.T
    total = frames.var(axis=0).sum()
    share = 1 - inside.var(axis=0).sum() / total
    assert 0.02 < share < 0.07
    assert np.linalg.matrix_rank(frames - frames.mean(axis=0), tol=1e-2) == 2 * DIM


def test_nearest_leaves_itself_out() -> None:
    vectors = unit(np.array([[1, 0], [1, 0.1], [0, 1]], np.float32))
    np.testing.assert_allclose(nearest(vectors)[:2], [vectors[0] @ vectors[1]] * 2, rtol=1e-6)
