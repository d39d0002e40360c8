"""Storyboards as pixels and as mp4 files. Pillow draws, PyAV encodes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from .scenes import COLORS, FPS, Dice, Pose, Scene, SceneObject, Storyboard, event_poses

__all__ = ["SIZE_PX", "render_frame", "render_frames", "render_scene_frame", "write_mp4"]

SIZE_PX = 128
_SUPERSAMPLING = 4
_MARK = {"white": (120, 120, 120)}  # colour of the stripes on an object; white stripes on all the others


def render_frame(storyboard: Storyboard, frame: int, *, size_px: int = SIZE_PX) -> np.ndarray:
    """One frame of a video, uint8 ``[size_px, size_px, 3]`` RGB."""
    scene, inside = storyboard.locate(frame)
    return render_scene_frame(storyboard.scenes[scene], inside, size_px=size_px)


def render_frames(storyboard: Storyboard, *, size_px: int = SIZE_PX) -> Iterator[np.ndarray]:
    """All frames of a video in order."""
    for scene in storyboard.scenes:
        for inside in range(scene.num_frames):
            yield render_scene_frame(scene, inside, size_px=size_px)


def render_scene_frame(scene: Scene, inside: int, *, size_px: int = SIZE_PX) -> np.ndarray:
    """Frame number ``inside`` of a scene, uint8 ``[size_px, size_px, 3]`` RGB."""
    canvas = _background(scene.background, scene.texture_seed, size_px).copy()
    progress = inside / max(1, scene.num_frames - 1)
    if scene.event:
        poses = event_poses(scene, progress)
        order = (1, 0)  # the actor in front
    else:
        poses = tuple(thing.pose(progress, inside / FPS) for thing in scene.objects)
        order = range(len(poses))
    for number in order:
        if poses[number].visible:
            _paint(canvas, scene.objects[number], poses[number], size_px)
    return np.asarray(canvas)


def write_mp4(
    frames: Iterable[np.ndarray], path: str | Path, *, fps: int = FPS, size_px: int = SIZE_PX, gop: int = 24
) -> None:
    """Encode frames as H.264 in an mp4 file, atomically: a killed run leaves no half-written video.

    Args:
        frames: uint8 ``[size_px, size_px, 3]`` RGB.
        gop: frames between keyframes at the most.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(unfinished), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            # One thread: the bytes do not depend on the number of cores.
            options = {"crf": "20", "preset": "veryfast", "threads": "1"}
            stream = container.add_stream("libx264", rate=fps, options=options)
            stream.width = stream.height = size_px
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, fps)
            stream.gop_size = gop
            for pixels in frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape of radius one around the origin (y grows downwards)."""

    def around(count: int, radius: float = 1.0, start: float = -0.25) -> list[tuple[float, float]]:
        turns = (start + step / count for step in range(count))
        return [(radius * math.cos(2 * math.pi * t), radius * math.sin(2 * math.pi * t)) for t in turns]

    if shape == "square":
        return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    if shape == "triangle":
        return around(3)
    if shape == "hexagon":
        return around(6)
    if shape == "diamond":
        return [(0.0, -1.0), (0.68, 0.0), (0.0, 1.0), (-0.68, 0.0)]
    if shape == "star":
        points = zip(around(5), around(5, 0.42, -0.15), strict=True)
        return [corner for pair in points for corner in pair]
    if shape == "cross":
        a, b = 0.34, 0.95
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    if shape == "heart":
        turns = (2 * math.pi * step / 40 for step in range(40))
        return [
            (
                math.sin(t) ** 3 * 0.98,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 15,
            )
            for t in turns
        ]
    return around(48)  # circle, ring, crescent


_OUTLINES: dict[str, list[tuple[float, float]]] = {}


def _paint(canvas: Image.Image, thing: SceneObject, pose: Pose, size_px: int) -> None:
    """Draw one object, anti-aliased: as a mask of four times the resolution, averaged down."""
    outline = _OUTLINES.setdefault(thing.shape, _outline(thing.shape))
    radius = thing.radius * pose.scale * size_px
    left = math.floor(round(pose.x * size_px - radius, 3)) - 1
    top = math.floor(round(pose.y * size_px - radius, 3)) - 1
    side = math.ceil(2 * radius) + 4
    center_x = (pose.x * size_px - left) * _SUPERSAMPLING
    center_y = (pose.y * size_px - top) * _SUPERSAMPLING
    cos, sin = math.cos(2 * math.pi * pose.turn), math.sin(2 * math.pi * pose.turn)

    def place(points: list[tuple[float, float]], factor: float, dx: float = 0.0) -> list[tuple[int, int]]:
        scale = radius * _SUPERSAMPLING
        return [
            (
                round(center_x + scale * ((x * factor + dx) * cos - y * factor * sin)),
                round(center_y + scale * ((x * factor + dx) * sin + y * factor * cos)),
            )
            for x, y in points
        ]

    mask = Image.new("L", (side * _SUPERSAMPLING, side * _SUPERSAMPLING), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(place(outline, 1.0), fill=255)
    if thing.shape == "ring":
        draw.polygon(place(outline, 0.55), fill=0)
    elif thing.shape == "crescent":
        draw.polygon(place(outline, 0.80, 0.42), fill=0)
    elif thing.fill == "outlined":
        draw.polygon(place(outline, 0.62), fill=0)
    canvas.paste(COLORS[thing.color], (left, top), mask.reduce(_SUPERSAMPLING))
    if thing.fill == "striped":
        stripes = Image.new("L", mask.size, 0)
        bars = ImageDraw.Draw(stripes)
        for offset in (-0.66, 0.0, 0.66):
            bars.polygon(
                place(
                    [(offset - 0.14, -1), (offset + 0.14, -1), (offset + 0.14, 1), (offset - 0.14, 1)], 1.0
                ),
                fill=255,
            )
        stripes.paste(0, (0, 0), mask.point([255] * 128 + [0] * 128))
        canvas.paste(_MARK.get(thing.color, (255, 255, 255)), (left, top), stripes.reduce(_SUPERSAMPLING))


@lru_cache(maxsize=64)
def _background(name: str, texture_seed: int, size_px: int) -> Image.Image:
    dice = Dice("texture", texture_seed)
    last = size_px - 1
    unit = size_px / 128
    image = Image.new("RGB", (size_px, size_px))
    draw = ImageDraw.Draw(image)

    def scatter(count: int, color: tuple[int, int, int], width: float, height: float) -> None:
        for _ in range(count):
            x, y = dice.below(size_px), dice.below(size_px)
            draw.rectangle([x, y, x + round(width * unit), y + round(height * unit)], fill=color)

    if name == "plain":
        grey = 185 + dice.below(45)
        draw.rectangle([0, 0, last, last], fill=(grey, grey, grey))
    elif name == "sunset":
        for y in range(size_px):
            mix = y / last
            draw.line(
                [0, y, last, y], fill=(round(110 + 140 * mix), round(70 + 80 * mix), round(140 - 80 * mix))
            )
    elif name == "night":
        draw.rectangle([0, 0, last, last], fill=(15, 18, 50))
        scatter(60, (225, 225, 200), 1, 1)
    elif name == "grass":
        draw.rectangle([0, 0, last, last], fill=(95, 170, 70))
        scatter(160, (70, 140, 50), 1, 6)
    elif name == "water":
        draw.rectangle([0, 0, last, last], fill=(70, 150, 215))
        scatter(60, (140, 200, 240), 14, 1)
    elif name == "bricks":
        draw.rectangle([0, 0, last, last], fill=(170, 85, 65))
        height, width = max(2, round(12 * unit)), max(4, round(26 * unit))
        shift = dice.below(width)
        for row, y in enumerate(range(0, size_px, height)):
            draw.line([0, y, last, y], fill=(215, 200, 185))
            for x in range(-width + (shift + row * width // 2) % width, size_px, width):
                draw.line([x, y, x, y + height], fill=(215, 200, 185))
    elif name == "checkerboard":
        cell = max(2, round(16 * unit))
        for y in range(0, size_px, cell):
            for x in range(0, size_px, cell):
                tone = 205 if (x // cell + y // cell) % 2 else 105
                draw.rectangle([x, y, x + cell - 1, y + cell - 1], fill=(tone, tone, tone))
    elif name == "sand":
        draw.rectangle([0, 0, last, last], fill=(225, 200, 145))
        scatter(260, (195, 165, 110), 1, 1)
    elif name == "snow":
        draw.rectangle([0, 0, last, last], fill=(242, 246, 252))
        scatter(140, (196, 212, 235), 2, 2)
    else:  # stripes
        band = max(2, round(10 * unit))
        for number, y in enumerate(range(0, size_px, band)):
            color = (250, 225, 190) if number % 2 else (180, 215, 205)
            draw.rectangle([0, y, last, y + band - 1], fill=color)
    return image
