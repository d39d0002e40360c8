"""The bundled models' recipes, on tiny sizes: train, save, load, search; and what the shipped weights reach."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import framesift as fs
from framesift.config import load_toml
from framesift.encoders.scratch import ClipSizes
from framesift.errors import ConfigError, InputError
from framesift.evaluation.storyboard import encode_storyboards, frames_of
from framesift.hub import MODELS, load
from framesift.index.build import BuildConfig
from framesift.matchers import MATCHERS
from framesift.rerankers import RERANKERS, CrossTransformer, CrossTVR
from framesift.storyboard import standard, storyboards, write_split
from framesift.temporal import TEMPORALS, TemporalTransformerConfig
from framesift.training import storyboard_models
from framesift.training.fit import FitConfig
from framesift.training.published import RECIPES
from framesift.training.recipe import Part
from framesift.training.storyboard_heads import HeadRecipe, _build, _part, train_head
from framesift.training.storyboard_models import KINDS, ClipRecipe, train_clip
from framesift.training.text_tuning import TextTuningRecipe, tune_text

DIM, WIDTH = 16, 32
TINY = ClipSizes(
    dim=DIM,
    image_size_px=32,
    patch_size_px=8,  # 17 tokens a frame: token shift needs at least 7
    vision_width=WIDTH,
    vision_layers=2,
    vision_heads=2,
    text_width=32,
    text_layers=1,
    text_heads=2,
)
TWO_STEPS = FitConfig(
    steps=2, batch_size=3, lr=1e-3, warmup_steps=1, log_every=1, evaluate_every=2, checkpoint_s=0.0
)
FEW: dict[str, Any] = {"train_videos": 6, "train_pairs": 1, "validation_videos": 4, "validation_pairs": 1}
ONE_PAIR = {"direction": 1, "binding": 1}
CROSS_TVR = Part(
    name="cross_tvr",
    config={
        "word_width": DIM,
        "max_words": 64,
        "selection_samples": 10,
        "qformer": {
            "visual_width": WIDTH,
            "hidden": 16,
            "num_layers": 2,
            "num_heads": 2,
            "ffn_width": 32,
            "cross_every": 2,
            "num_queries": 2,
            "vocab_size": 8,
            "max_positions": 64,
            "dropout": 0.1,
        },
    },
)
TRANSFORMER = {"dim": DIM, "num_layers": 1, "num_heads": 2, "max_frames": 12}
HEADS: dict[str, dict[str, Any]] = {
    "xpool": {"matcher": Part(name="xpool", config={"dim": DIM, "dropout": 0.1})},
    "transformer": {"temporal": Part(name="transformer", config=TRANSFORMER)},
    "lstm": {"temporal": Part(name="lstm", config={"dim": DIM})},
    "tight": {
        "reranker": Part(
            name="cross_transformer", config={"dim": DIM, "num_layers": 1, "num_heads": 2, "max_frames": 31}
        )
    },
    "multi_grained": {
        "temporal": Part(name="transformer", config={**TRANSFORMER, "keep_frames": True}),
        "matcher": Part(
            name="multi_grained",
            config={"dim": DIM, "max_words": 48, "max_frames": 12, "needs_video": True},
        ),
    },
    "token_selection": {
        "shift_layers": (1,),
        "temporal": Part(
            name="token_selection", config={"dim": DIM, "num_layers": 1, "num_heads": 2, "samples": 10}
        ),
        "matcher": Part(name="selected_tokens"),
    },
}


class Interrupted(Exception):
    pass


class Bench:
    """A tiny encoder, taught in the two ways there are, and the caches that its heads share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        scratch = ClipRecipe(
            fit=TWO_STEPS, sizes=TINY, corpus_videos=5, validation_videos=4, pairs=0.4, centre=0.3
        )
        train_clip(scratch, folder / "clip", report=self.lines.append)
        text = TextTuningRecipe(
            encoder=str(folder / "clip" / "model"),
            fit=TWO_STEPS,
            pairs=ONE_PAIR,
            clips=str(folder / "clips"),
            temporal=TemporalTransformerConfig(**TRANSFORMER),
            **FEW,
        )
        tune_text(text, folder / "text", report=self.lines.append)
        self.encoder = folder / "text" / "model"

    def recipe(self, name: str, **changes: Any) -> HeadRecipe:
        options: dict[str, Any] = {
            "encoder": str(self.encoder),
            "name": name,
            "fit": TWO_STEPS,
            "pairs": ONE_PAIR,
            "clips": str(self.folder / "clips"),
            **FEW,
            **changes,
        }
        return HeadRecipe(**options)

    def train(self, name: str, **changes: Any) -> tuple[Path, dict[str, Any]]:
        """Train a head, once; its model and the last line of its log."""
        folder = self.folder / name
        if not folder.exists():
            train_head(self.recipe(name, **changes), folder, report=self.lines.append)
        return folder / "model", json.loads((folder / "log.jsonl").read_text().splitlines()[-1])

    def qformer(self) -> Path:
        """A Q-Former that learned on single frames."""
        return self.train("qformer", reranker=CROSS_TVR, single_frames=True)[0]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_split(standard(2).videos, folder)
    return folder


def index_of(model: Path, clips: Path, folder: Path) -> Path:
    """An index of real video files."""
    with fs.Index.create(folder, model=str(model)) as index:
        assert index.add(clips, config=BuildConfig(workers=1)).added == 2
    return folder


def check_search(folder: Path, model: Path, clips: Path) -> None:
    """All files of an index are found by a model."""
    with fs.Index.open(folder, model=str(model)) as index:
        found = index.search("a red star")
    assert {Path(hit.video) for hit in found} == set(clips.glob("*.mp4"))


@pytest.fixture(scope="module")
def index(bench: Bench, clips: Path) -> Path:
    """Of the encoder alone: heads that change no feature search it too."""
    return index_of(bench.encoder, clips, bench.folder / "index")


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.state_dict())


def test_the_encoder_learns_from_frames_and_then_its_text_tower_from_clips(
    bench: Bench, clips: Path, index: Path
) -> None:
    frames, text = load(bench.folder / "clip" / "model"), load(bench.encoder)
    first = json.loads((bench.folder / "clip" / "log.jsonl").read_text().splitlines()[-1])
    assert first["step"] == 2
    assert {"val_r1_mean_pool", "val_r1_softmax_pool"} <= set(first)
    before, after = weights(frames.encoder.model), weights(text.encoder.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"text_model", "text_projection"}
    check_search(index, bench.encoder, clips)


def test_an_encoder_goes_on_from_another_with_new_positions(bench: Bench, tmp_path: Path) -> None:
    recipe = ClipRecipe(fit=TWO_STEPS, start=str(bench.encoder), positions=20.0, validation_videos=4)
    train_clip(recipe, tmp_path, report=bench.lines.append)
    table = load(tmp_path / "model").encoder.model.vision_model.embeddings.position_embedding.weight
    assert table[1:].norm(dim=1).detach().tolist() == pytest.approx([20.0] * 16, abs=0.1)
    assert not (tmp_path / "untrained").exists()


@pytest.mark.parametrize("kind", HEADS)
def test_two_steps_of_a_head_give_a_model_that_searches(
    kind: str, bench: Bench, clips: Path, index: Path, tmp_path: Path
) -> None:
    directory, measured = bench.train(kind, **HEADS[kind])
    assert measured["step"] == 2
    assert {"r1", "direction", "order", "binding", "small-object", "count"} <= set(measured)
    model = fs.load(directory, device="cpu")
    assert model.name == kind
    assert not (directory / "encoder").exists(), "heads share the encoder"
    base = weights(load(bench.encoder).encoder.model)
    assert all(torch.equal(x, base[name]) for name, x in weights(model.encoder.model).items())
    if kind not in ("xpool", "tight"):  # the others change the features
        index = index_of(directory, clips, tmp_path / "index")
    check_search(index, directory, clips)


@pytest.mark.parametrize(
    ("kind", "learns"), [("lstm", "temporal"), ("xpool", "matcher"), ("tight", "reranker")]
)
def test_what_of_a_head_learns(kind: str, learns: str, bench: Bench) -> None:
    directory, _ = bench.train(kind, **HEADS[kind])
    start, trained = weights(_build(bench.recipe(kind, **HEADS[kind]))), weights(load(directory))
    assert start.keys() == trained.keys()
    changed = {name for name in start if not torch.equal(start[name].half(), trained[name].half())}
    assert {name.split(".")[0] for name in changed} - {"logit_scale"} == {learns}


def test_the_shifted_encoder_has_caches_of_its_own(bench: Bench) -> None:
    bench.train("xpool", **HEADS["xpool"])
    directory, _ = bench.train("token_selection", **HEADS["token_selection"])
    assert json.loads((directory / "framesift.json").read_text())["encoder"] == {
        "from": str(bench.encoder),
        "shift_layers": [1],
    }
    plain, shifted = (
        (bench.folder / name / "videos" / "tokens.npy").read_bytes() for name in ("clips", "clips-shifted")
    )
    assert len(plain) == len(shifted)
    assert plain != shifted


def test_a_qformer_on_single_frames_and_crosstvr_from_there(
    bench: Bench, clips: Path, tmp_path: Path
) -> None:
    qformer, stage = bench.qformer(), bench.train("transformer", **HEADS["transformer"])[0]
    before = json.loads((bench.folder / "qformer" / "log.jsonl").read_text().splitlines()[-1])
    assert "binding" in before
    assert "r1" not in before, "single frames are not searched by"
    directory, measured = bench.train(
        "crosstvr", reranker=CROSS_TVR, first_stage=str(stage), start=str(qformer)
    )
    assert {"r1", "r1_first_stage", "order"} <= set(measured)
    model, first = load(directory), load(stage)
    assert isinstance(model.reranker, CrossTVR)
    assert model.name == "crosstvr"
    for name, value in weights(first.temporal).items():
        assert torch.equal(value.half(), weights(model.temporal)[name].half()), "the first stage is frozen"
    started = weights(load(qformer).reranker or torch.nn.Module())
    trained = weights(model.reranker)
    assert started.keys() == trained.keys()
    moved = max(float((trained[name] - started[name]).abs().max()) for name in trained)
    assert 0 < moved < 0.05, "two steps from the start, not from other random weights"
    check_search(index_of(directory, clips, tmp_path / "index"), directory, clips)


def test_a_start_without_a_reranker_is_refused(bench: Bench, tmp_path: Path) -> None:
    recipe = bench.recipe("crosstvr", reranker=CROSS_TVR, start=str(bench.encoder))
    with pytest.raises(InputError, match="has no reranker to start from"):
        train_head(recipe, tmp_path, report=bench.lines.append)


def test_unknown_parts_and_pairs_are_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'xpol'.*did you mean 'xpool'"):
        train_head(bench.recipe("a", matcher=Part(name="xpol")), tmp_path / "a", report=bench.lines.append)
    with pytest.raises(InputError, match=r"'ordre'.*did you mean 'order'"):
        train_head(bench.recipe("b", pairs={"ordre": 1}), tmp_path / "b", report=bench.lines.append)


@pytest.mark.parametrize("kind", ["xpool", "tight"])
def test_a_head_that_is_interrupted_becomes_that_of_an_undisturbed_run(
    kind: str, bench: Bench, tmp_path: Path
) -> None:
    steps = FitConfig(
        steps=4, batch_size=3, lr=1e-3, warmup_steps=1, log_every=1, evaluate_every=4, checkpoint_s=0.0
    )
    recipe = bench.recipe(kind, fit=steps, **HEADS[kind])

    def pull_the_plug(line: str) -> None:
        if line.startswith("step") and line.split()[1].rstrip(":,") == "3":
            raise Interrupted

    train_head(recipe, tmp_path / "whole", report=bench.lines.append)
    with pytest.raises(Interrupted):
        train_head(recipe, tmp_path / "broken", report=pull_the_plug)
    assert not (tmp_path / "broken" / "model").exists()
    resumed: list[str] = []
    train_head(recipe, tmp_path / "broken", report=resumed.append)
    whole, broken = (
        (tmp_path / name / "model" / "head.safetensors").read_bytes() for name in ("whole", "broken")
    )
    assert broken == whole
    entries = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4]


def storyboard_recipes() -> list[Path]:
    return sorted(RECIPES.glob("storyboard-*.toml"))


def read(path: Path) -> Any:
    kind = next(line for line in path.read_text().splitlines() if line.startswith("kind"))
    return load_toml(path, KINDS[kind.split('"')[1]][0])


def command(path: Path) -> list[str]:
    """The arguments of the command in the comment on top of a recipe."""
    comment = [line[1:] for line in path.read_text().splitlines() if line.startswith("#")]
    words = shlex.split("\n".join(comment[1:]).replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "framesift.training.storyboard_models"]
    return words[3:]


@pytest.mark.parametrize("path", storyboard_recipes(), ids=lambda path: path.stem)
def test_the_command_on_top_of_a_recipe_trains_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run as it stands, with a training that only notes what it gets."""
    got: list[tuple[Any, Path]] = []

    def note(recipe: Any, folder: Path, *, report: Callable[[str], None]) -> None:
        got.append((recipe, folder))
        (folder / "model").mkdir(parents=True)
        (folder / "log.jsonl").write_text("{}\n")

    noted = {kind: (cls, note) for kind, (cls, _) in KINDS.items()}
    monkeypatch.setattr(storyboard_models, "KINDS", noted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(RECIPES)
    storyboard_models.main(command(path))
    ((recipe, folder),) = got
    assert (folder / "model" / "recipe.toml").read_bytes() == path.read_bytes()
    assert (folder / "model" / "log.jsonl").exists()
    outputs = {str(Path(words[words.index("--output") + 1]) / "model") for words in all_commands()}
    for source in (getattr(recipe, "start", ""), getattr(recipe, "encoder", "")):
        assert not source.startswith("runs/") or source in outputs, f"no recipe makes {source}"


def all_commands() -> list[list[str]]:
    return [command(path) for path in storyboard_recipes()]


def test_an_unknown_kind_of_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('kind = "haed"\n')
    with pytest.raises(ConfigError, match="kind is 'haed'; expected one of frames, text, head"):
        storyboard_models.main([str(tmp_path / "recipe.toml"), "--output", str(tmp_path / "out")])


def heads() -> list[Path]:
    return [path for path in storyboard_recipes() if isinstance(read(path), HeadRecipe)]


@pytest.mark.parametrize("path", heads(), ids=lambda path: path.stem)
def test_the_parts_of_a_head_fit_the_bundled_encoder(path: Path) -> None:
    recipe: HeadRecipe = read(path)
    sizes = read(RECIPES / "storyboard-clip.toml").sizes
    assert recipe.name == path.stem
    assert recipe.encoder == "storyboard-clip"
    assert recipe.first_stage in {"", *(other.stem for other in heads() if read(other).reranker is None)}
    assert max(recipe.shift_layers, default=0) < sizes.vision_layers
    for registry, part in ((TEMPORALS, recipe.temporal), (MATCHERS, recipe.matcher)):
        built = _part(registry, part)
        assert getattr(built.config, "dim", sizes.dim) == sizes.dim
    if recipe.reranker is not None:
        reranker = _part(RERANKERS, recipe.reranker)
        if isinstance(reranker, CrossTVR):
            assert reranker.config.word_width == sizes.dim
            assert reranker.config.qformer.visual_width == sizes.vision_width
            assert reranker.config.max_words >= sizes.context_length
        else:
            assert isinstance(reranker, CrossTransformer)
            assert reranker.config.dim == sizes.dim


def test_frames_of_a_storyboard_are_those_of_its_file(tmp_path: Path) -> None:
    videos = storyboards("val", 4)
    for video, path in zip(videos, write_split(videos, tmp_path), strict=True):
        rendered, decoded = frames_of(video), fs.decode(path, fs.Uniform(num_frames=12))
        assert rendered.times_s.tolist() == pytest.approx(decoded.times_s.tolist(), abs=1e-6)
        difference = abs(rendered.pixels.astype(int) - decoded.pixels.astype(int)).mean()
        assert difference < 6, "compression, not other frames"


def test_the_shipped_models_are_those_of_the_recipes() -> None:
    recipes = {path.read_text() for path in storyboard_recipes()}
    for folder in MODELS.values():
        assert (folder / "recipe.toml").read_text() in recipes
        assert (folder / "log.jsonl").read_text().count("\n") >= 5


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
