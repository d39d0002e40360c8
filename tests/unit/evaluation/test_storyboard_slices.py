"""All systems on slices of Storyboard, against each model encoded and ranked by itself; with untrained heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from framesift import hub
from framesift.encoders.token_shift import TokenShiftClipEncoder
from framesift.errors import InputError
from framesift.evaluation.evaluate import evaluate_similarity
from framesift.evaluation.storyboard import frames_of
from framesift.evaluation.storyboard_slices import (
    Answered,
    Features,
    Run,
    Windows,
    answer,
    find_runs,
    load_runs,
    summarise_slice,
)
from framesift.evaluation.storyboard_slices.__main__ import main
from framesift.evaluation.storyboard_slices.answers import Depths
from framesift.evaluation.storyboard_slices.runs import references
from framesift.evaluation.storyboard_slices.windows import cut_video
from framesift.matchers import (
    MeanPool,
    MultiGrained,
    MultiGrainedConfig,
    SelectedTokens,
    TopK,
    XPool,
    XPoolConfig,
)
from framesift.matchers.base import Matcher
from framesift.model import RetrievalModel
from framesift.ranking import rerank_similarity
from framesift.rerankers import CrossTransformer, CrossTransformerConfig, CrossTVR, CrossTVRConfig, Reranker
from framesift.rerankers.qformer import QFormerConfig
from framesift.reranking import RerankEncoder
from framesift.storyboard import MomentSlice, Slice, diversity, standard, temporal_iou
from framesift.storyboard.catalog import SLICES
from framesift.temporal import Identity, Temporal, TemporalLSTM, TemporalTransformer
from framesift.temporal.lstm import TemporalLSTMConfig
from framesift.temporal.token_selection import TokenSelection, TokenSelectionConfig
from framesift.temporal.transformer import TemporalTransformerConfig

FRAMES, DIM = 2, 256
DEPTHS = Depths(cross=2)


def transformer(keep_frames: bool = False) -> TemporalTransformer:
    config = TemporalTransformerConfig(dim=DIM, num_layers=1, num_heads=4, keep_frames=keep_frames)
    return TemporalTransformer(config)


def cross_tvr(**changes: Any) -> CrossTVR:
    qformer = QFormerConfig(
        visual_width=192, hidden=16, num_layers=2, num_heads=2, ffn_width=16, num_queries=2, vocab_size=8
    )
    return CrossTVR(CrossTVRConfig(qformer=qformer, word_width=DIM, num_selected=2, weight=100.0, **changes))


def xpool() -> XPool:
    return XPool(XPoolConfig(dim=DIM))


def selection() -> TokenSelection:
    return TokenSelection(TokenSelectionConfig(dim=DIM, num_layers=1, num_heads=4))


def tight() -> CrossTransformer:
    return CrossTransformer(CrossTransformerConfig(dim=DIM, num_layers=1, num_heads=4))


def multi_grained() -> MultiGrained:
    return MultiGrained(MultiGrainedConfig(dim=DIM, max_frames=FRAMES))


Parts = tuple[Callable[[], Temporal], Callable[[], Matcher], Callable[[], Reranker] | None]
SYSTEMS: dict[str, Parts] = {
    "mean-pool": (Identity, MeanPool, None),
    "top-k": (Identity, TopK, None),
    "xpool": (Identity, xpool, None),
    "seqtransf": (transformer, MeanPool, None),
    "seqlstm": (lambda: TemporalLSTM(TemporalLSTMConfig(dim=DIM)), MeanPool, None),
    "tight": (Identity, MeanPool, tight),
    "xclip": (lambda: transformer(keep_frames=True), multi_grained, None),
    "ts2net": (selection, SelectedTokens, None),
    "crosstvr-xpool": (Identity, xpool, cross_tvr),
    "crosstvr-seqtransf": (
        transformer,
        MeanPool,
        lambda: cross_tvr(encoder=str(hub.find("storyboard-clip") / "encoder")),
    ),
    "crosstvr-ts2net": (selection, SelectedTokens, cross_tvr),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every system with untrained heads, X-Pool's of two seeds."""
    root = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    clip = hub.load("storyboard-clip", device="cpu").encoder
    shifted = TokenShiftClipEncoder.from_clip(clip, shift_layers=(1,))  # type: ignore[arg-type]
    shifted.save(root / "shifted")
    for system, (temporal, matcher, reranker) in SYSTEMS.items():
        for seed in range(2 if system == "xpool" else 1):
            encoder = shifted if system.endswith("ts2net") else clip
            model = RetrievalModel(
                encoder, temporal(), matcher(), reranker and reranker(), num_frames=FRAMES, name=system
            )
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if not name.startswith("encoder."):  # away from the identity that some heads begin as
                        parameter += 0.05 * torch.randn_like(parameter)
            source = str(root / "shifted") if encoder is shifted else "storyboard-clip"
            hub.save(model, root / system / f"seed-{seed}" / "model", encoder_from=source)
    return root


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Run]:
    return load_runs(find_runs(folder))


@pytest.fixture(scope="module")
def measured(runs: list[Run]) -> dict[str, tuple[Slice, Features, dict[tuple[str, int], Answered]]]:
    """Answers of every model on a slice of each kind."""
    found = {}
    for gallery in (standard(5), SLICES["binding"](2), SLICES["multi-caption"](2)):
        features = features_of(runs, gallery)
        answers = {(run.system, run.seed): answer(run, gallery, features, depths=DEPTHS) for run in runs}
        found[gallery.name] = (gallery, features, answers)
    return found


def features_of(runs: list[Run], gallery: Slice) -> Features:
    return Features(runs, gallery.texts, lambda count: (frames_of(video, count) for video in gallery.videos))


def test_models_are_found_in_the_order_of_the_table(folder: Path, runs: list[Run]) -> None:
    assert [(run.system, run.seed) for run in runs] == [
        (system, seed) for system in SYSTEMS for seed in range(2 if system == "xpool" else 1)
    ]
    assert len({run.fingerprint for run in runs}) == len(runs)
    assert len({id(run.model.encoder) for run in runs}) == 2, "an encoder is kept once"
    assert [one.system for one in find_runs(folder, ["xpool", "mean-pool"])] == [
        "mean-pool",
        "xpool",
        "xpool",
    ]
    with pytest.raises(InputError, match=r"no model of 'xpol'.*xpool"):
        find_runs(folder, ["xpol"])
    with pytest.raises(InputError, match="expected directories SYSTEM/seed-N/model"):
        find_runs(folder / "xpool")
    with pytest.raises(InputError, match="is no folder"):
        find_runs(folder / "nothing")
    assert references("crosstvr-xpool") == ("mean-pool", "xpool")
    assert references("mean-pool") == ()


@pytest.mark.parametrize("system", SYSTEMS)
def test_shared_encodings_give_what_each_model_gives_alone(
    folder: Path, measured: dict[str, tuple[Slice, Features, dict[tuple[str, int], Answered]]], system: str
) -> None:
    model = hub.load(folder / system / "seed-0" / "model", device="cpu")
    moved = model.reranker is None  # or the reranker of this test might as well not be there
    for gallery, _, answers in measured.values():
        clips = [frames_of(video, FRAMES) for video in gallery.videos]
        text, video = model.encode_text(gallery.texts), model.encode_video(clips)
        similarity = model.similarity(text, video)
        both = {"t2v": similarity, "v2t": similarity}
        if model.reranker is not None:
            reader = RerankEncoder(model, model.reranker)
            words, tokens = reader.encode_text(gallery.texts, text), reader.encode_video(clips)
            if tokens.patch is not None:
                tokens = replace(tokens, patch=tokens.patch.half())  # the type in which they are kept
            depth = max(similarity.shape) if system == "tight" else DEPTHS.cross
            for way in ("t2v", "v2t"):
                both[way] = rerank_similarity(
                    similarity, model.reranker, words, tokens, direction=way, depth=depth
                )
            moved |= not torch.equal(both["t2v"].argsort(dim=1), similarity.argsort(dim=1))
        expected = evaluate_similarity(both["t2v"], relevance=gallery.relevance, v2t_similarity=both["v2t"])
        found = answers[system, 0]
        for way in ("t2v", "v2t"):
            assert found.ranks[way] == expected.answers[way].rank.tolist(), (gallery.name, way)
        if gallery.name == "binding":
            own = [float(both["t2v"][i, i] > both["t2v"][i, i ^ 1]) for i in range(4)]
            assert found.choices["t2v"] == own
            other = [float(both["v2t"][i, i] > both["v2t"][i ^ 1, i]) for i in range(4)]
            assert found.choices["v2t"] == other
    assert moved


def test_a_frame_is_encoded_once_by_each_encoder(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, calls = standard(2), []
    for encoder in {id(run.model.encoder): run.model.encoder for run in runs}.values():

        def counted(videos: Any, encode: Any = encoder.encode_video, **options: Any) -> Any:
            calls.append(len(videos))
            return encode(videos, **options)

        monkeypatch.setattr(encoder, "encode_video", counted)
    features_of(runs, gallery)
    assert calls == [2, 2]


def test_moments_are_the_best_of_the_cuts(runs: list[Run]) -> None:
    gallery = SLICES["moments"](2)
    assert isinstance(gallery, MomentSlice)
    cuts = [[(0.0, 1.5), (1.5, 3.0), (2.0, 6.0)], [(0.0, 2.5), (4.0, 6.0)]]
    chosen = [run for run in runs if run.system in ("mean-pool", "xclip", "crosstvr-xpool", "tight")]
    windows = Windows(gallery, chosen, cuts)
    assert len(windows) == 5
    flat = [(video, span) for video, own in enumerate(cuts) for span in own]
    clips = [
        frames_of(gallery.videos[video], FRAMES, start_s=start, end_s=end) for video, (start, end) in flat
    ]
    for run in chosen:
        found = windows.overlaps(run, depth=None if run.system == "tight" else 1)
        text, video = run.model.encode_text(gallery.texts), run.model.encode_video(clips)
        scores = run.model.similarity(text, video)
        if run.system == "tight":
            assert run.model.reranker is not None
            scores = rerank_similarity(scores, run.model.reranker, text, video, depth=len(flat))
        first, inside = [], []
        for row, owner in enumerate(gallery.owners):
            order = sorted(range(len(flat)), key=lambda i, row=row: -float(scores[row, i]))
            own = [i for i in order if flat[i][0] == owner]
            first.append([flat[order[0]][1]] if flat[order[0]][0] == owner else [])
            inside.append([flat[own[0]][1]])
        for where, predicted in (("gallery", first), ("video", inside)):
            for least, expected in gallery.recall(predicted).items():
                assert 100 * float((found[where] >= least).mean()) == pytest.approx(expected)
    best = [
        max(float(temporal_iou(span, true)) for video, span in flat if video == owner)
        for owner, true in zip(gallery.owners, gallery.spans, strict=True)
    ]
    assert windows.ceiling()["0.5"] == pytest.approx(100 * np.mean(np.array(best) >= 0.5))


def test_shots_cover_a_video_and_mostly_are_its_scenes() -> None:
    video = SLICES["moments"](1).videos[0]
    cuts = cut_video(video)
    assert cuts[0][0] == 0.0
    assert cuts[-1][1] == video.duration_s
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    ends = np.cumsum([scene.duration_s for scene in video.scenes])
    near = [np.abs(np.array([end for _, end in cuts]) - end).min() < 0.3 for end in ends]
    assert np.mean(near) > 0.7


def made(system: str, seed: int, ranks: list[int], choices: list[float]) -> Answered:
    return Answered(
        system=system,
        seed=seed,
        fingerprint=f"{system}{seed}",
        content_hash="",
        rerank_depth=None,
        ranks={"t2v": ranks, "v2t": ranks},
        tied={"t2v": 0, "v2t": 0},
        choices={"t2v": [float(one) for one in choices], "v2t": [float(one) for one in choices]},
    )


def test_summary_against_numbers_by_hand() -> None:
    gallery = SLICES["binding"](2)
    answered = {
        "mean-pool": [made("mean-pool", 0, [2, 2, 3, 4], [0, 1, 0, 0.5])],
        "xpool": [
            made("xpool", 0, [1, 1, 3, 4], [1, 1, 0, 0.5]),
            made("xpool", 1, [1, 2, 1, 4], [1, 1, 1, 1]),
        ],
        "crosstvr-xpool": [made("crosstvr-xpool", 1, [1, 1, 1, 1], [1, 1, 1, 1])],
        "crosstvr-own": [made("crosstvr-own", 7, [1, 1, 1, 1], [1, 1, 1, 1])],
    }
    done = summarise_slice(gallery, answered, notes=["small"])
    assert json.loads(json.dumps(done)) == done
    assert done["split"]["content_hash"] == gallery.content_hash
    assert done["split"]["notes"] == ["small"]
    xpool_row = done["systems"]["X-Pool"]
    assert xpool_row["mean"]["t2v_r1"] == 50.0
    assert xpool_row["sd"]["t2v_r1"] == 0.0
    assert xpool_row["mean"]["t2v_mdr"] == pytest.approx((2.0 + 1.5) / 2)
    assert xpool_row["mean"]["t2v_pair"] == pytest.approx((62.5 + 100) / 2)
    assert xpool_row["low"]["t2v_pair"] == 62.5, "of two pairs, the worse one twice: 1, 1, 0, 0.5 and ones"
    assert xpool_row["high"]["t2v_pair"] == 100.0
    assert "sd" in xpool_row
    assert "t2v_r1" not in done["systems"]["mean-pool"]["sd"], "a single seed has no spread"
    against = xpool_row["against"]["mean-pool"]
    assert against["t2v_r1"]["value"] == 50.0
    assert against["t2v_pair"]["value"] == pytest.approx(81.25 - 37.5)
    second = done["systems"]["CrossTVR over X-Pool"]["against"]
    assert second["X-Pool"]["t2v_r1"]["value"] == 50.0, "seed 1 with seed 1"
    assert list(done["systems"]["crosstvr-own"]["against"]) == ["mean-pool"]
    assert {
        "first": "X-Pool",
        "second": "CrossTVR over X-Pool",
        "metric": "t2v_r1",
        "value": 50.0,
    }.items() <= next(
        one for one in done["differences"] if one["first"] == "X-Pool" and one["metric"] == "t2v_r1"
    ).items()


def test_the_command_continues_and_the_result_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    chosen = "--slices=order,diversity --systems=xpool,mean-pool,crosstvr-xpool --videos-share=0.004"
    arguments = [f"--runs={folder}", f"--output={tmp_path}", *chosen.split(), f"--threads={threads}"]
    arguments += ["--foreign=0,2", "--foreign-reranked=2"]
    main(arguments)
    assert "order: X-Pool, seed 1: R@1" in capsys.readouterr().err
    path = tmp_path / "storyboard-slices.json"
    first = json.loads(path.read_text())
    names = ["order", "diversity-0", "diversity-0-gallery", "diversity-2", "diversity-2-gallery"]
    assert list(first["slices"]) == names
    assert [seed["seed"] for seed in first["slices"]["order"]["systems"]["X-Pool"]["seeds"]] == [0, 1]
    assert "CrossTVR over X-Pool" not in first["slices"]["diversity-0"]["systems"]
    assert "v2t" not in first["slices"]["diversity-2"]["systems"]["CrossTVR over X-Pool"]["seeds"][0]
    assert first["slices"]["diversity-2"]["split"]["content_hash"] == diversity(standard(4), 2).content_hash
    assert (tmp_path / "storyboard-slices.png").stat().st_size > 10_000
    kept = tmp_path / "storyboard-slices.partial"
    lost = sorted(kept.glob("order/xpool-seed-1-*.json"))
    assert len(lost) == 1
    lost[0].unlink()
    broken = next(kept.glob("order/mean-pool-*.json"))
    broken.write_text(broken.read_text()[:-9])
    main(arguments)
    said = capsys.readouterr().err
    assert said.count("\n") == 2, "what was lost and what was broken, nothing else"
    again = json.loads(path.read_text())
    for document in (first, again):
        for part in document["slices"].values():
            for system in part["systems"].values():
                for seed in system["seeds"]:
                    del seed["seconds"]
    assert again["slices"] == first["slices"]


def test_options_are_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in (
        ("--slices=ordre", "no slice 'ordre'"),
        ("--videos-share=0", "above 0 and at most 1"),
        ("--foreign=x", "'x' is no list of numbers"),
        ("--depth=0", "a whole number of at least 1"),
    ):
        with pytest.raises(SystemExit):
            main([f"--runs={folder}", option])
        assert said in capsys.readouterr().err
