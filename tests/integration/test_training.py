"""The bundled models' recipes, on tiny sizes: train, save, load, search; and what the shipped weights reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import framesift as fs
from framesift.encoders.scratch import ClipSizes
from framesift.evaluation.storyboard import encode_storyboards, frames_of
from framesift.hub import MODELS
from framesift.storyboard import standard, storyboards, write_split
from framesift.training.fit import FitConfig
from framesift.training.storyboard_models import ClipRecipe, XPoolRecipe, train_clip, train_xpool

REPO = Path(__file__).resolve().parents[2]
TINY = ClipSizes(
    dim=16,
    image_size_px=32,
    vision_width=32,
    vision_layers=1,
    vision_heads=2,
    text_width=32,
    text_layers=1,
    text_heads=2,
)
TWO_STEPS = FitConfig(steps=2, batch_size=4, lr=1e-3, warmup_steps=1, log_every=1, evaluate_every=2)


def test_two_steps_of_both_recipes_give_models_that_search(tmp_path: Path) -> None:
    lines: list[str] = []
    clip = ClipRecipe(fit=TWO_STEPS, sizes=TINY, corpus_videos=5, validation_videos=4)
    train_clip(clip, tmp_path / "clip", report=lines.append)
    assert "val_r1_mean_pool" in lines[-1]
    head = XPoolRecipe(
        encoder=str(tmp_path / "clip" / "model"),
        fit=TWO_STEPS,
        matcher=fs.XPoolConfig(dim=16),
        train_videos=6,
        validation_videos=4,
    )
    train_xpool(head, tmp_path / "xpool", report=lines.append)
    assert "val_r1_xpool" in lines[-1]
    write_split(standard(3).videos, tmp_path / "videos")
    with fs.Index.create(tmp_path / "index", model=str(tmp_path / "xpool" / "model")) as index:
        assert index.add(tmp_path / "videos").added == 3
        assert len(index.search("a red star")) == 3
    with fs.Index.open(tmp_path / "index", model=str(tmp_path / "clip" / "model")) as index:
        assert len(index.search("a red star")) == 3, "the two models share their features"


def test_frames_of_a_storyboard_are_those_of_its_file(tmp_path: Path) -> None:
    videos = storyboards("val", 4)
    for video, path in zip(videos, write_split(videos, tmp_path), strict=True):
        rendered, decoded = frames_of(video), fs.decode(path, fs.Uniform(num_frames=12))
        assert rendered.times_s.tolist() == pytest.approx(decoded.times_s.tolist(), abs=1e-6)
        difference = abs(rendered.pixels.astype(int) - decoded.pixels.astype(int)).mean()
        assert difference < 6, "compression, not other frames"


def test_the_shipped_models_are_those_of_the_recipes() -> None:
    for name, folder in MODELS.items():
        assert (folder / "recipe.toml").read_text() == (REPO / "recipes" / f"{name}.toml").read_text()
        assert (folder / "log.jsonl").read_text().count("\n") > 10


def test_text_conditioned_pooling_helps_where_videos_have_several_scenes() -> None:
    model = fs.load("storyboard-xpool", device="cpu")
    gallery = standard(120)
    text, video = model.encode_text(gallery.texts), encode_storyboards(model.encoder, gallery.videos)
    rows = [n for n, board in enumerate(gallery.videos) if len(board.scenes) > 1]
    relevance = torch.from_numpy(gallery.relevance)[rows]

    def recall(matcher: fs.Matcher) -> float:
        similarity = fs.similarity_matrix(matcher, text[rows], video)
        return fs.t2v(similarity, relevance).recall_at[1]

    assert recall(model.matcher) > recall(fs.MeanPool()) + 20
    assert recall(model.matcher) > 50
