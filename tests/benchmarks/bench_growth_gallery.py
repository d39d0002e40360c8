"""Are sampled galleries (growth_gallery.py) like the model's features of real videos? Both, in the same numbers.

    python tests/benchmarks/bench_growth_gallery.py --json results/bench-growth-gallery.json

As many samples as there are planted videos, which had no part in what is sampled from: mean and covariance, how near
the nearest neighbours are, how frames of a video differ, and what a caption of another video reaches. ``another half``
is how far two halves of the real ones are apart: nobody could be nearer than that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from growth_gallery import Floats, GrowthGallery, Material, mean_vectors, nearest, unit
from record import keep, machine

WORK = Path(__file__).resolve().parents[2] / "runs" / "growth"
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
SHARES = (1, 4, 16, 64)  # directions of the covariance


def described(frames: Floats, texts: Floats, own: Floats | None) -> dict[str, Any]:
    """Videos in numbers.

    Args:
        frames: raw frame embeddings, ``[video, frame, dim]``.
        texts: captions of other videos, unit vectors.
        own: vectors of these captions' videos, if they are not among ``frames``.
    """
    vectors = mean_vectors(frames.astype(np.float16))
    scores = texts @ vectors.T
    if own is None:
        own_scores = scores.diagonal().copy()
        np.fill_diagonal(scores, np.nan)
    else:
        own_scores = np.einsum("td,td->t", texts, own)
    flat = unit(frames)
    apart = {
        str(lag): quantiles(np.einsum("vfd,vfd->vf", flat[:, lag:], flat[:, :-lag])) for lag in (1, 3, 6, 11)
    }
    ranks = 1 + (scores >= own_scores[:, None]).sum(axis=1)
    return {
        "norm_of_frames": quantiles(np.linalg.norm(frames, axis=-1)),
        "share_of_variance_in_first_directions": spectrum(vectors),
        "share_of_variance_in_first_directions_of_frames": spectrum(
            frames[:, ::4].reshape(-1, frames.shape[2])
        ),
        "cosine_of_nearest_neighbours": quantiles(nearest(vectors)),
        "cosine_of_frames_by_distance": apart,
        "cosine_of_captions_with_other_videos": quantiles(scores[~np.isnan(scores)]),
        "best_cosine_of_a_caption_with_other_videos": quantiles(np.nanmax(scores, axis=1)),
        "rank_of_own_video_among_these": {"median": float(np.median(ranks)), "mean": float(ranks.mean())},
    }


def quantiles(values: Floats) -> dict[str, float]:
    """By their probability."""
    found = np.quantile(values.astype(np.float64), QUANTILES)
    return {str(q): float(value) for q, value in zip(QUANTILES, found, strict=True)}


def spectrum(vectors: Floats) -> dict[str, float]:
    """Which share of the variance the first directions hold."""
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    return {str(n): float(values[:n].sum() / values.sum()) for n in SHARES}


def between(one: Floats, other: Floats) -> dict[str, float]:
    """How far two sets of vectors are apart in mean and covariance."""
    covariance = [np.cov(vectors, rowvar=False) for vectors in (one, other)]
    difference = np.linalg.norm(covariance[0] - covariance[1]) / np.linalg.norm(covariance[0])
    mean = [vectors.mean(axis=0) for vectors in (one, other)]
    spread = np.sqrt(np.trace(covariance[0]))
    return {
        "distance_of_means_in_standard_deviations": float(np.linalg.norm(mean[0] - mean[1]) / spread),
        "relative_difference_of_covariances": float(difference),
    }


def compared(material: Material) -> dict[str, Any]:
    """Real videos and samples."""
    real = material.videos
    texts = unit(material.texts)
    result: dict[str, Any] = {"videos": len(real), "real": described(real, texts, None)}
    own = mean_vectors(real.astype(np.float16))
    for dim in (real.shape[2], 512):
        gallery = GrowthGallery(material, moments=len(real), dim=dim, planted=0)
        frames = np.concatenate([block.frames for block in gallery.blocks()]).astype(np.float32)
        planted = GrowthGallery(material, moments=10 * len(real), dim=dim, planted=len(real))
        told = described(frames, planted.queries, planted_vectors(planted))
        result[f"sampled, {dim} dimensions"] = told
        result["shift_in_standard_deviations"] = gallery.bandwidth
        if dim == real.shape[2]:
            back = mean_vectors(frames.astype(np.float16)) @ gallery.inside.T
            result["sampled against real"] = between(own, back)
    result["another half of the real ones"] = between(own[::2], own[1::2])
    return result


def planted_vectors(gallery: GrowthGallery) -> Floats:
    """Vectors of the planted videos."""
    return np.concatenate([block.vectors for block in gallery.blocks()])[gallery.owners]


def main() -> None:
    """Compare, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--work", type=Path, default=WORK, help="where rendered and encoded scenes are kept")
    options = parser.parse_args()
    keep({**compared(Material.of(options.work)), "machine": machine()}, options.json)


if __name__ == "__main__":
    main()
