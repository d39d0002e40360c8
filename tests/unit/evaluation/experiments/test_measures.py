"""What the experiments compute, against plain loops and by hand."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from framesift import hub
from framesift.config import from_dict, to_dict
from framesift.errors import ConfigError, InputError
from framesift.evaluation.experiments import EXPERIMENTS, Outcome, Series, Table, variants
from framesift.evaluation.experiments.bench import Bench, encode_for_all
from framesift.evaluation.experiments.benchmarks import open_benchmark
from framesift.evaluation.experiments.costs import kept_bytes
from framesift.evaluation.experiments.crosstvr_depth import DepthConfig, Remembered, measure_depth
from framesift.evaluation.experiments.crosstvr_encoders import ENCODER_SIZES, EncodersConfig
from framesift.evaluation.experiments.frame_count import FrameCountConfig
from framesift.evaluation.experiments.pareto import pareto_best
from framesift.evaluation.experiments.points import Points
from framesift.evaluation.experiments.xpool import DiversityConfig, best_k, paper_lines
from framesift.evaluation.storyboard import frames_of
from framesift.features import VideoFeatures, unit
from framesift.metrics import t2v
from framesift.model import RetrievalModel
from framesift.ranking import rerank_similarity
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.base import Fusion
from framesift.rerankers.qformer import QFormerConfig
from framesift.storyboard import standard

REPO_MODEL = "storyboard-xpool"


def reranked_model(**changes: Any) -> RetrievalModel:
    """The bundled X-Pool with an untrained, tiny CrossTVR behind it."""
    model = hub.load(REPO_MODEL, device="cpu")
    torch.manual_seed(0)
    qformer = QFormerConfig(
        visual_width=192, hidden=16, num_layers=2, num_heads=2, ffn_width=16, num_queries=2, vocab_size=8
    )
    config = CrossTVRConfig(qformer=qformer, word_width=256, num_selected=2, weight=100.0, **changes)
    model.reranker = CrossTVR(config)
    return model.eval()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    points = Points(tmp_path_factory.mktemp("bench") / "points.json", {})
    return Bench({"reranked": reranked_model()}, open_benchmark("storyboard", videos=6), points)


def test_best_k_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    text, frame = torch.randn(5, generator=generator), 3 * torch.randn(7, 5, generator=generator)
    cosine = [float(unit(text) @ unit(one)) for one in frame]
    order = sorted(range(7), key=lambda i: -cosine[i])
    expected = [
        float(unit(text) @ unit(torch.stack([unit(frame[i]) for i in order[:k]]).mean(dim=0)))
        for k in range(1, 8)
    ]
    torch.testing.assert_close(best_k(text, frame).float(), torch.tensor(expected))


def test_the_papers_ends_are_drawn_where_the_axis_reaches_them() -> None:
    mean_pool, xpool = paper_lines(tuple(range(10)), "rank")
    assert mean_pool.values == (2.0, *[None] * 7, 46.0, None)
    assert xpool.values[8] == 9.0
    assert xpool.reference
    assert paper_lines((0, 1, 2), "rank") == []


def test_what_nothing_beats() -> None:
    costs = {
        "cheap": (1.0, 5.0),
        "dear": (9.0, 9.0),
        "beaten": (9.0, 9.0),
        "twin": (1.0, 5.0),
        "light": (9.0, 1.0),
    }
    gains = {"cheap": 10.0, "dear": 50.0, "beaten": 49.0, "twin": 10.0, "light": 1.0}
    assert pareto_best(costs, gains) == ["cheap", "dear", "twin", "light"]
    assert pareto_best({"one": (3.0,)}, {"one": 0.0}) == ["one"]


def test_bytes_of_a_video() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    video = VideoFeatures(frame=torch.zeros(2, 3, 8), frame_mask=mask, video=torch.zeros(2, 8))
    assert kept_bytes(video) == 2 * (2 * 8 + 8)  # two real frames a video on average


def test_models_that_share_an_encoder_share_the_frames() -> None:
    models = {name: hub.load(name, device="cpu") for name in ("storyboard-clip", "storyboard-xpool")}
    clips = [frames_of(video, 2) for video in standard(3).videos]
    calls: list[int] = []
    for model in models.values():
        encode = model.encoder.encode_video

        def counted(videos: Any, encode: Any = encode, **options: Any) -> VideoFeatures:
            calls.append(len(videos))
            return encode(videos, **options)

        model.encoder.encode_video = counted  # type: ignore[method-assign]
    found = encode_for_all(models, clips)
    assert calls == [3]
    torch.testing.assert_close(found["storyboard-clip"].frame, found["storyboard-xpool"].frame)
    assert found["storyboard-clip"].frame.shape[:2] == (3, 2)


def test_every_depth_from_one_scoring_is_that_depth_scored(bench: Bench) -> None:
    outcome = measure_depth(bench, DepthConfig(first=2, last=5))
    model = bench.models["reranked"]
    assert model.reranker is not None
    coarse, (text, video) = bench.coarse("reranked"), bench.reranked("reranked")
    rows = {row[1]: row for row in outcome.tables[0].rows}
    for depth in (2, 3, 5):
        metrics = t2v(
            rerank_similarity(coarse, model.reranker, text, video, depth=depth), bench.benchmark.relevance
        )
        expected = [*(metrics.recall_at[k] for k in (1, 5, 10)), metrics.mean_rank]
        assert list(rows[depth][2:]) == pytest.approx(expected)
    plain = t2v(coarse, bench.benchmark.relevance)
    assert rows["first stage"][2] == plain.recall_at[1]
    assert outcome.x_values == (2, 3, 4, 5)
    assert len({row[5] for row in outcome.tables[0].rows}) > 1, "a random reranker changes something"


def test_remembered_scores_are_those_of_the_table() -> None:
    table = torch.randn(3, 4)
    remembered = Remembered(table, Fusion(weight=2.0))
    text, video = remembered.rows()
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    assert torch.equal(remembered(text[1:], video[1:], pairs), table[1:, 1:].flatten())
    assert remembered.fusion.weight == 2.0


def test_depth_needs_a_reranker(bench: Bench, tmp_path: Path) -> None:
    plain = Bench(
        {"plain": hub.load("storyboard-clip", device="cpu")}, bench.benchmark, Points(tmp_path / "p.json", {})
    )
    with pytest.raises(InputError, match="plain has no reranker"):
        measure_depth(plain, DepthConfig())


def test_variants_differ_from_their_base_in_one_thing() -> None:
    base = CrossTVRConfig(num_selected=4, score="log_odds")
    found = variants(base, image_encoder="another/encoder")
    assert list(found) == [
        "both",
        "spatial",
        "temporal",
        "unshared",
        "selected-1",
        "selected-2",
        "selected-8",
        "own-encoder",
    ]
    assert found.pop("both") == base
    for name, config in found.items():
        changed = [f.name for f in fields(base) if getattr(config, f.name) != getattr(base, f.name)]
        assert len(changed) == 1, (name, changed)
        assert from_dict(CrossTVRConfig, to_dict(config)) == config
    assert "own-encoder" not in variants(base)


def test_panels_of_an_outcome() -> None:
    outcome = Outcome(
        x_label="k",
        x_values=(1, 2),
        y_label="R@1, %",
        series=(
            Series(name="a", values=(1.23456789, None), low=(1.0, None), high=(2.0, None)),
            Series(name="a", values=(3.0, 4.0), panel="time, ms"),
            Series(name="paper", values=(None, 5.0), reference=True),
        ),
        tables=(Table(title="t", columns=("x",), rows=((1,),)),),
        shows="it",
    )
    plain = outcome.to_dict()
    assert [one["name"] for one in plain["series"]] == ["a", "paper"]
    assert plain["series"][0]["values"] == [1.23457, None]
    assert plain["y"] == {"label": "R@1, %", "better": "higher"}
    (other,) = plain["panels"]
    assert other["y"] == {"label": "time, ms", "better": "lower"}
    assert other["series"][0]["values"] == [3.0, 4.0]


def test_points_are_kept_until_the_settings_change(tmp_path: Path) -> None:
    path, said = tmp_path / "kept" / "points.json", list[str]()
    first = Points(path, {"seed": 1})
    assert first.at("a", lambda: {"x": (1, 2)}) == {"x": [1, 2]}
    again = Points(path, {"seed": 1}, report=said.append)
    assert again.at("a", lambda: pytest.fail("measured twice")) == {"x": [1, 2]}
    assert said == [f"going on after 1 points kept in {str(path)!r}"]
    assert Points(path, {"seed": 2}).at("a", lambda: 5) == 5
    path.write_text("torn{")
    torn = Points(path, {"seed": 2})
    assert torn.at("a", lambda: 6) == 6
    torn.forget()
    assert not path.exists()


@pytest.mark.parametrize(
    ("config", "values", "said"),
    [
        (DepthConfig, {"first": 5, "last": 4}, "depths 5 to 4"),
        (DiversityConfig, {"most": 0}, "most=0"),
        (DiversityConfig, {"sources": ("film",)}, "film"),
        (FrameCountConfig, {"counts": (4, 2)}, r"counts=\[4, 2\]"),
        (EncodersConfig, {"encoders": ("ViT-B/23",)}, "did you mean"),
        (EncodersConfig, {"batch_size": 1}, "batch_size"),
    ],
)
def test_unfit_settings_are_refused(config: type[Any], values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**values)


def test_every_experiment_says_what_it_is() -> None:
    for name, experiment in EXPERIMENTS.items():
        for said in (
            experiment.title,
            experiment.source,
            experiment.done,
            experiment.paper,
            experiment.differs,
        ):
            assert said, name
        assert from_dict(experiment.config, to_dict(experiment.config())) == experiment.config()
    assert EncodersConfig().encoders[0] in ENCODER_SIZES
