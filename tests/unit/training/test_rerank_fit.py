"""The second stage: batches and their negatives, exact resumption, a weak first stage that is lifted to R@1 = 100."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import framesift as fs
from framesift.encoders.patches import ClipPatches
from framesift.errors import InputError, ShapeError
from framesift.evaluation.storyboard import frames_of
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool
from framesift.metrics import t2v, v2t
from framesift.model import RetrievalModel
from framesift.ranking import rerank_similarity
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormerConfig
from framesift.storyboard import standard
from framesift.temporal import Identity
from framesift.training.fit import FitConfig
from framesift.training.rerank_fit import RerankData, draw_batch, fit_reranker
from framesift.training.token_cache import TokenCache

PAIRS, FRAMES = 6, 4
SIZES = QFormerConfig(
    visual_width=192,
    hidden=64,
    num_layers=2,
    num_heads=4,
    ffn_width=128,
    num_queries=4,
    vocab_size=4,
    max_positions=32,
    dropout=0.0,
)
CONFIG = FitConfig(
    steps=80, batch_size=PAIRS, lr=2e-3, warmup_steps=5, weight_decay=0.0, log_every=40, checkpoint_s=1e9
)


class Interrupted(Exception):
    pass


def weak_model(**changes: Any) -> RetrievalModel:
    """The bundled dual encoder with a small CrossTVR that reads its words and its patches."""
    bundled = fs.load("storyboard-clip", device="cpu")
    torch.manual_seed(0)
    config = CrossTVRConfig(
        qformer=replace(SIZES, **changes), word_width=256, num_selected=3, selection_samples=20
    )
    reranker = CrossTVR(config)
    with torch.no_grad():
        for parameter in reranker.parameters():
            if parameter.ndim == 2:
                parameter *= 4  # BERT's initial values are made for 768 dimensions
    return RetrievalModel(bundled.encoder, Identity(), MeanPool(), reranker)


def storyboard_data(model: RetrievalModel, folder: Path) -> RerankData:
    """A few pairs of Storyboard, with their tokens in a cache.

    The first stage is weak: it sees the mean of all videos in each of them.
    """
    gallery = standard(PAIRS, split="val")
    clips = {str(i): frames_of(video, FRAMES) for i, video in enumerate(gallery.videos)}
    tower = ClipPatches(model.encoder.model.vision_model, model.encoder.preprocessing)  # type: ignore[attr-defined]
    cache = TokenCache(
        folder,
        list(clips),
        lambda names: tower.encode_video([clips[name] for name in names]),
        fingerprint=tower.fingerprint(),
        shape=(FRAMES, 37, tower.width),
        max_bytes=10**8,
    )
    frame = model.encode_video(list(clips.values())).frame.mean(dim=0, keepdim=True).expand(PAIRS, -1, -1)
    mask = torch.ones(PAIRS, FRAMES, dtype=torch.bool)
    return RerankData(
        texts=gallery.texts,
        owner=torch.arange(PAIRS),
        text=model.encode_text(gallery.texts, words=True),
        video=VideoFeatures(frame=frame, frame_mask=mask),
        tokens=cache.features,
        relevance=torch.from_numpy(gallery.relevance),
    )


def small_data(*, captions: Sequence[int] = (1, 3, 2, 1), stop_at: int | None = None) -> RerankData:
    """Random features; ``captions`` of every video."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    owner = torch.arange(len(captions)).repeat_interleave(torch.tensor(captions))
    owner = owner[torch.randperm(len(owner), generator=generator)]
    count, videos = len(owner), len(captions)
    word = draw(count, 5, 256)
    mask = torch.ones(videos, 2, dtype=torch.bool)
    patch = draw(videos, 2, 4, SIZES.visual_width)
    calls: list[int] = []

    def tokens(rows: Sequence[int]) -> VideoFeatures:
        calls.append(1)
        if len(calls) == stop_at:
            raise Interrupted
        return VideoFeatures(
            frame=patch[list(rows), :, 0], frame_mask=mask[list(rows)], patch=patch[list(rows)]
        )

    return RerankData(
        texts=[f"text {i}" for i in range(count)],
        owner=owner,
        text=TextFeatures(sentence=word[:, 0], word=word, word_mask=torch.ones(count, 5, dtype=torch.bool)),
        video=VideoFeatures(frame=draw(videos, 2, 256), frame_mask=mask),
        tokens=tokens,
    )


def test_a_batch_has_different_videos_a_text_of_each_and_no_true_negative() -> None:
    model, data = weak_model(), small_data()
    relevance = torch.zeros(len(data.owner), len(data.video), dtype=torch.bool)
    relevance[data.captions[0], 2] = True
    relevance[torch.arange(len(data.owner)), data.owner] = True
    data = replace(data, relevance=relevance)
    seen: set[int] = set()
    for seed in range(30):
        batch = draw_batch(model, data, size=3, seed=seed)
        again = draw_batch(model, data, size=3, seed=seed)
        assert torch.equal(batch.pairs, again.pairs)
        assert torch.equal(batch.texts, again.texts)
        assert len(batch.videos.unique()) == 3
        assert torch.equal(data.owner[batch.texts], batch.videos)
        text, video = batch.texts[batch.pairs[:, 0]], batch.videos[batch.pairs[:, 1]]
        assert torch.equal(relevance[text, video], batch.match)
        seen.update(batch.texts.tolist())
    assert seen == set(range(len(data.owner))), "every caption is drawn"


def test_negatives_come_from_where_the_first_stage_errs() -> None:
    model, data = weak_model(), small_data(captions=[1] * 8)
    frame = data.video.frame.clone()
    frame[0] = frame[1] = data.text.sentence[data.captions[0][0]]  # video 1 looks like video 0
    data = replace(data, video=VideoFeatures(frame=frame, frame_mask=data.video.frame_mask))
    for seed in range(10):
        batch = draw_batch(model, data, size=8, seed=seed)
        row = batch.videos.tolist().index(0)
        assert batch.videos[batch.pairs[8 + row, 1]] == 1


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=12, batch_size=3, checkpoint_s=0.0, log_every=1)

    def run(folder: Path, **options: Any) -> tuple[RetrievalModel, list[dict[str, Any]]]:
        model = weak_model(dropout=0.2)
        return model, fit_reranker(model, small_data(**options), config=config, folder=folder)

    whole, log = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", stop_at=8)
    resumed, again = run(tmp_path / "broken")
    for (name, expected), found in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found), name
    assert [entry["loss"] for entry in log] == [entry["loss"] for entry in again]
    assert len(log) == 12


def test_only_the_reranker_learns_unless_the_encoder_is_given(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=3, batch_size=3, warmup_steps=0)
    model, data = weak_model(), small_data()
    before = {name: x.clone() for name, x in model.named_parameters()}
    fit_reranker(model, data, config=config, folder=tmp_path / "frozen")
    changed = {name.split(".")[0] for name, x in model.named_parameters() if not torch.equal(x, before[name])}
    assert changed == {"reranker"}
    tuned = torch.nn.Linear(SIZES.visual_width, SIZES.visual_width)
    weight = tuned.weight.clone()

    def tokens(rows: Sequence[int]) -> VideoFeatures:
        video = data.tokens(rows)
        assert video.patch is not None
        return replace(video, patch=tuned(video.patch))

    fit_reranker(
        weak_model(),
        replace(data, tokens=tokens),
        config=config,
        folder=tmp_path / "tuned",
        image_encoder=tuned,
    )
    assert not torch.equal(tuned.weight, weight)


def test_it_lifts_a_weak_first_stage_on_storyboard_to_100(tmp_path: Path) -> None:
    model = weak_model()
    data = storyboard_data(model, tmp_path / "tokens")
    coarse = model.similarity(data.text, data.video)
    assert t2v(coarse).recall_at[1] < 50
    log = fit_reranker(model, data, config=CONFIG, folder=tmp_path / "run")
    assert log[-1]["loss"] < log[0]["loss"]
    assert model.reranker is not None
    video = data.tokens(range(PAIRS))
    for direction, metric in (("t2v", t2v), ("v2t", v2t)):
        reranked = rerank_similarity(
            coarse, model.reranker, data.text, video, depth=PAIRS, direction=direction
        )
        assert metric(reranked).recall_at[1] == 100


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    data, model = small_data(), weak_model()
    with pytest.raises(ShapeError, match="RerankData"):
        replace(data, texts=["one"])
    with pytest.raises(ShapeError, match="relevance"):
        replace(data, relevance=torch.ones(7, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="at least once"):
        replace(data, owner=torch.zeros_like(data.owner))
    model.reranker = None
    with pytest.raises(InputError, match="CrossTVR"):
        fit_reranker(model, data, config=CONFIG, folder=tmp_path)
