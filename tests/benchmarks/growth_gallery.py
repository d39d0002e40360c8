"""Galleries of any size whose features are sampled from a trained model's distribution: no videos, no files.

What a million moments cost and how well they are found can be measured without rendering a million videos, provided
that the numbers are like a model's. So some thousand Storyboard scenes are rendered and encoded by the bundled
``storyboard-clip``, and a moment is sampled as a Storyboard video is drawn:

- one to four scenes of one to four seconds, in the benchmark's proportions, and twelve frames at equal distances;
- a scene is a rendered one, moved by a random shift: a smoothed bootstrap (Silverman and Young, 1987) whose shifts
  have the covariance between scenes. Their size is fitted so that a sampled scene is as far from the rendered ones as
  another rendered scene is; mean and covariance stay as they are;
- its frames differ from one another as those of the rendered scene do, mixed with noise whose covariance and
  correlation over time are those within scenes.

So a million moments are all different, in clusters as the real ones are. The model's embeddings are 256 wide; wider
ones are a fixed random rotation into ``dim`` dimensions, where the others hold noise of ``COMPLEMENT`` of the variance,
so that no direction is empty (texts have none of it). Real videos of the benchmark are planted in every gallery: the
queries are their captions, by the same model's text tower.

``bench_growth_gallery.py`` compares the samples with real videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import framesift as fs
from framesift.evaluation.storyboard import encode_storyboards
from framesift.storyboard import draw_storyboard
from framesift.storyboard.slices import standard
from framesift.storyboard.splits import SPLITS

__all__ = [
    "FRAMES",
    "MODEL",
    "Block",
    "Floats",
    "GrowthGallery",
    "Material",
    "mean_vectors",
    "nearest",
    "unit",
]

MODEL = "storyboard-xpool"
FRAMES = 12
SCENES = 2000
PLANTED = 1000
BLOCK = 1000  # moments: 25 MB a temporary array at 12 x 512
POOL = 8192  # shifts of scenes; every scene takes the sum of two, 33 million different ones
TRACKS = 2048  # noise of frames over time, of which every scene takes one
NOISE = 0.5  # of the variance within a scene; the rest is the rendered scene's own
COMPLEMENT = 0.05  # variance in the dimensions that a rotation into more of them adds
NUM_SCENES = (0.2, 0.3, 0.3, 0.2)  # draw_storyboard
HALF_SECONDS = (2, 8)  # draw_scene: 1 to 4 s in steps of half a second

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What was rendered and encoded.

    Attributes:
        scenes: raw frame embeddings of single scenes, ``[scene, frame, dim]``.
        videos: those of the planted videos, ``[video, frame, dim]``.
        texts: raw embeddings of a caption of each planted video, ``[video, dim]``.
    """

    scenes: Floats
    videos: Floats
    texts: Floats

    @classmethod
    def of(cls, folder: Path, *, scenes: int = SCENES, planted: int = PLANTED) -> Material:
        """From ``folder``, or rendered and encoded, which takes about 4 ms a frame of a core, and kept there."""
        model = fs.load(MODEL, device="cpu")
        kept = folder / f"material-{model.encoder.fingerprint()[:12]}-{scenes}-{planted}.npz"
        if kept.exists():
            with np.load(kept) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        with torch.inference_mode():
            seeds = SPLITS["pool"][:scenes]  # no gallery of the benchmark contains these
            alone = encode_storyboards(model.encoder, (draw_storyboard(seed, num_scenes=1) for seed in seeds))
            gallery = standard(planted)
            videos = encode_storyboards(model.encoder, gallery.videos)
            texts = model.encode_text(gallery.texts)
        assert bool(alone.frame_mask.all() and videos.frame_mask.all())  # no video is shorter than 12 frames
        made = cls(scenes=alone.frame.numpy(), videos=videos.frame.numpy(), texts=texts.sentence.numpy())
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **{field.name: getattr(made, field.name) for field in fields(cls)})
        return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some moments of a gallery.

    Attributes:
        first: row of the first one.
        frames: raw frame embeddings as an index stores them, ``[moment, frame, dim]`` float16.
        vectors: the unit-normalised mean of the unit-normalised frames, ``[moment, dim]`` float32.
    """

    first: int
    frames: NDArray[np.float16]
    vectors: Floats


class GrowthGallery:
    """``moments`` sampled moments, planted videos among them; the same for the same arguments.

    Args:
        material: what they are sampled from.
        moments: how many, at least one.
        dim: width, at least the model's.
        seed: another seed gives other moments.
        planted: how many real videos are among them; by default all that there are, at most a tenth.

    Attributes:
        bandwidth: how far scenes are moved, in standard deviations between scenes.
        inside: the rotation from the model's coordinates to these, orthonormal rows, ``[model's dim, dim]``.
        owners: row of every planted video, ascending, ``[planted]``.
        texts: raw embedding of a caption of every planted video, ``[planted, dim]``.
    """

    def __init__(
        self,
        material: Material,
        *,
        moments: int,
        dim: int = 512,
        seed: int = 0,
        planted: int | None = None,
    ) -> None:
        self.moments, self.dim, self._seed = moments, dim, seed
        rng = np.random.default_rng([seed, 0])
        own = material.scenes.shape[2]
        rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        self.inside, outside = rotation[:own], rotation[own:]
        inside = self.inside

        scene, within = _parts(material.scenes)
        mean = scene.mean(axis=0)
        self.bandwidth = bandwidth(scene)
        keep = np.sqrt(1 - self.bandwidth**2)
        moved = mean + keep * (scene - mean)
        self._base = ((moved[:, None] + np.sqrt(1 - NOISE) * within) @ inside).astype(np.float32)

        between = scene - mean
        shifts = _like(between, POOL, rng) @ inside + _full(between, POOL, outside, rng)
        self._shifts = (self.bandwidth * np.sqrt(0.5) * shifts).astype(np.float32)
        tracks = _tracks(within, TRACKS, rng) @ inside
        tracks += _full(within, TRACKS * FRAMES, outside, rng).reshape(tracks.shape)
        self._tracks = (np.sqrt(NOISE) * tracks).astype(np.float32)

        planted = min(len(material.videos), moments // 10) if planted is None else planted
        videos = material.videos[:planted] @ inside
        videos += (self.bandwidth * _full(between, planted, outside, rng))[:, None]
        videos += np.sqrt(NOISE) * _full(within, planted * FRAMES, outside, rng).reshape(videos.shape)
        self._planted = videos.astype(np.float32)
        self.owners = ((np.arange(planted) + 0.5) * moments / max(planted, 1)).astype(np.int64)
        self.texts = (material.texts[:planted] @ inside).astype(np.float32)

    @cached_property
    def queries(self) -> Floats:
        """The captions as unit vectors, ``[planted, dim]``."""
        return unit(self.texts)

    def blocks(self) -> Iterator[Block]:
        """All moments in order, some 50 MB at a time."""
        for number in range(-(-self.moments // BLOCK)):
            yield self.block(number)

    def vectors(self) -> Iterator[Floats]:
        """The vectors alone, ``[moment, dim]`` float32 block by block."""
        for block in self.blocks():
            yield block.vectors

    def block(self, number: int) -> Block:
        """Moments ``number * BLOCK`` and on."""
        first = number * BLOCK
        count = min(BLOCK, self.moments - first)
        rng = np.random.default_rng([self._seed, 1, number])
        slot, position = _cut(count, rng)
        row = np.arange(count)[:, None]
        base = rng.integers(len(self._base), size=(count, len(NUM_SCENES)))
        frames = self._base[base[row, slot], position]
        track = rng.integers(len(self._tracks), size=base.shape)
        frames += self._tracks[track[row, slot], position]
        one, other = rng.integers(POOL, size=(2, *base.shape))
        frames += (self._shifts[one] + self._shifts[other])[row, slot]
        here = np.flatnonzero((self.owners >= first) & (self.owners < first + count))
        frames[self.owners[here] - first] = self._planted[here]
        stored = frames.astype(np.float16)
        return Block(first=first, frames=stored, vectors=mean_vectors(stored))


def unit(x: Floats) -> Floats:
    """Scale vectors to length one along the last dimension."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def mean_vectors(frames: NDArray[np.float16]) -> Floats:
    """:func:`framesift.features.masked_mean` of frames that are all real, ``[moment, dim]``."""
    return unit(unit(frames.astype(np.float32)).mean(axis=1))


def _cut(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every frame of every moment, which of its scenes it shows, and which frame of that scene."""
    most = len(NUM_SCENES)
    scenes = 1 + rng.choice(most, p=NUM_SCENES, size=count)
    length = rng.integers(HALF_SECONDS[0], HALF_SECONDS[1] + 1, size=(count, most)).astype(float)
    length[np.arange(most) >= scenes[:, None]] = 0
    end = length.cumsum(axis=1)
    time = (np.arange(FRAMES) + 0.5) / FRAMES * end[:, -1:]
    slot = (time[:, :, None] >= end[:, None]).sum(axis=2)
    row = np.arange(count)[:, None]
    progress = 1 - (end[row, slot] - time) / length[row, slot]
    return slot, (progress * FRAMES).astype(np.int64).clip(0, FRAMES - 1)


def bandwidth(scenes: Floats) -> float:
    """How far sampled scenes are moved, as a fraction of the standard deviation between scenes.

    Half of the scenes are sampled from; a sample shall be as near to the nearest of them, in the median, as the
    scenes of the other half are.
    """
    rng = np.random.default_rng(0)
    half, other = scenes[::2], scenes[1::2]
    target = np.median(nearest(other, half))
    mean = half.mean(axis=0)
    around = half[rng.integers(len(half), size=len(other))] - mean
    shift = _like(half - mean, len(other), rng)
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        sampled = mean + np.sqrt(1 - middle**2) * around + middle * shift
        low, high = (middle, high) if np.median(nearest(sampled, half)) > target else (low, middle)
    return (low + high) / 2


def nearest(vectors: Floats, among: Floats | None = None) -> Floats:
    """Cosine of every vector with the nearest other one, or with the nearest of ``among``."""
    if among is not None:
        return (unit(vectors) @ unit(among).T).max(axis=1)
    cosine = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(cosine, -1)
    return cosine.max(axis=1)


def _parts(frames: Floats) -> tuple[Floats, Floats]:
    """The mean of every scene ``[scene, dim]``, and what its frames differ from it by ``[scene, frame, dim]``."""
    mean = frames.mean(axis=1)
    return mean, frames - mean[:, None]


def _like(sample: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Normal vectors with the covariance of a sample around zero, ``[count, dim]``."""
    weight = rng.standard_normal((count, len(sample)), dtype=np.float32)
    return weight @ (sample / np.float32(np.sqrt(len(sample))))


def _tracks(within: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Noise whose frames have the covariance of those of a scene, and their correlation over time.

    ``[count, frame, dim]``; the two are taken to be independent of one another (a matrix normal distribution).
    """
    over_time = np.einsum("sfd,sgd->fg", within, within)
    values, vectors = np.linalg.eigh(over_time / np.trace(over_time) * FRAMES)
    root = vectors * np.sqrt(values.clip(0))  # not Cholesky: the frames of a scene sum to zero
    plain = _like(within.reshape(-1, within.shape[2])[::4], count * FRAMES, rng)
    return np.einsum("fg,cgd->cfd", root.astype(np.float32), plain.reshape(count, FRAMES, -1))


def _full(sample: Floats, count: int, outside: Floats, rng: np.random.Generator) -> Floats:
    """Noise in the dimensions that ``outside`` spans, of ``COMPLEMENT`` of a sample's variance, ``[count, dim]``."""
    if not len(outside):
        return np.zeros((count, outside.shape[1]), np.float32)
    variance = COMPLEMENT * float(np.square(sample).sum(axis=-1).mean()) / len(outside)
    return np.sqrt(variance, dtype=np.float32) * (
        rng.standard_normal((count, len(outside)), dtype=np.float32) @ outside
    )
