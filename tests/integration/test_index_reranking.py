"""Rerankers in search: candidates' frames are decoded from their files again, and what cannot be keeps its place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clip_maker import make_clip
from framesift.cli.main import app
from framesift.encoders import load_encoder
from framesift.errors import InputError, MissingFeatureError, NotRerankedWarning
from framesift.features import VideoFeatures
from framesift.hub import load, save
from framesift.index import BuildConfig, Index
from framesift.matchers import MeanPool, SelectedTokens
from framesift.model import RetrievalModel
from framesift.ranking import rerank_similarity
from framesift.rerankers import (
    CrossTransformer,
    CrossTransformerConfig,
    CrossTVR,
    CrossTVRConfig,
    Fusion,
    Reranker,
)
from framesift.rerankers.qformer import QFormerConfig
from framesift.rerankers.wordpiece import WordPiece
from framesift.similarity import similarity_matrix
from framesift.temporal import Identity, TokenSelection, TokenSelectionConfig
from framesift.video import Uniform, decode
from tiny_models import tiny_clip, tiny_token_shift_clip

DIM, WIDTH, FRAMES, CLIPS, DEPTH = 24, 48, 3, 6, 4
QUERY = "a red circle moves"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle", "move", "##s"]
QFORMER = QFormerConfig(
    visual_width=WIDTH,
    hidden=16,
    num_layers=2,
    num_heads=2,
    ffn_width=24,
    num_queries=3,
    vocab_size=len(VOCABULARY),
    max_positions=12,
)


def cross_tvr(**changes: object) -> CrossTVR:
    values = {"qformer": QFORMER, "max_words": 10, "num_selected": 3, **changes}
    return _shaken(CrossTVR(CrossTVRConfig(**values), tokenizer=WordPiece(VOCABULARY)))


def _shaken(reranker: Reranker) -> Reranker:
    """Far from its initial state, so that its order is not the matcher's."""
    with torch.no_grad():
        for parameter in reranker.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return reranker.eval()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("encoder"), dim=DIM)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(CLIPS):
        colours = random.integers(0, 256, (12, 1, 1, 3), np.uint8)
        make_clip(folder / f"{i}.mp4", list(np.broadcast_to(colours, (12, 48, 64, 3)).copy()))
    return folder


def model_of(encoder: Path, reranker: Reranker) -> RetrievalModel:
    tower = load_encoder(encoder, device="cpu")
    return RetrievalModel(tower, Identity(), MeanPool(), reranker, num_frames=FRAMES).eval()


def fill(path: Path, clips: Path, model: RetrievalModel) -> Index:
    index = Index.create(path, model=model, moments="whole")
    assert not index.add(clips, config=BuildConfig(workers=0)).failed
    return index


def names(index: Index, **options: object) -> list[str]:
    return [Path(hit.video).name for hit in index.search(QUERY, unit="video", **options)]


@pytest.fixture
def index(tmp_path: Path, encoder: Path, clips: Path) -> Iterator[Index]:
    torch.manual_seed(0)
    with fill(tmp_path / "index", clips, model_of(encoder, cross_tvr())) as index:
        yield index


def expected_order(
    model: RetrievalModel, reranker: Reranker, video: VideoFeatures, read: VideoFeatures
) -> list[int]:
    """The order that evaluation gives, from frames decoded here."""
    text = model.encode_text([QUERY], words=True)
    with torch.no_grad():
        words = reranker.text_features([QUERY], text)
        coarse = similarity_matrix(model.matcher, text, video)
        again = rerank_similarity(coarse, reranker, words, read, depth=DEPTH)
    return again[0].argsort(descending=True).tolist()


@pytest.mark.parametrize("tokens", ["first stage's", "own", "first stage's words"])
def test_search_reranks_as_evaluation_does(tokens: str, tmp_path: Path, encoder: Path, clips: Path) -> None:
    torch.manual_seed(1)
    other = tiny_clip(tmp_path / "other", seed=5)
    changes = {"own": {"encoder": str(other)}, "first stage's words": {"word_width": DIM}}
    reranker = cross_tvr(**changes.get(tokens, {}))
    model = model_of(encoder, reranker)
    paths = sorted(clips.iterdir())
    frames = [decode(path, Uniform(num_frames=FRAMES)) for path in paths]
    video = model.encode_video(frames)
    read = load_encoder(other if tokens == "own" else encoder, device="cpu").encode_video(
        frames, patches=True
    )
    expected = [
        paths[i].name
        for i in expected_order(
            model, reranker, video.to("cpu", torch.float16).to("cpu", torch.float32), read
        )
    ]
    with fill(tmp_path / "index", clips, model) as index:
        assert names(index, rerank_depth=DEPTH) == expected
        coarse = names(index, rerank_depth=0)
        assert coarse != expected
        assert coarse[DEPTH:] == expected[DEPTH:]


def test_the_papers_own_first_stage(tmp_path: Path, clips: Path) -> None:
    """CrossTVR over TS2-Net, with the tokens of its token-shift encoder."""
    torch.manual_seed(4)
    tower = load_encoder(tiny_token_shift_clip(tmp_path / "shifted", dim=DIM), device="cpu")
    selection = TokenSelection(TokenSelectionConfig(dim=DIM, num_layers=1, num_heads=2))
    reranker = cross_tvr()
    model = RetrievalModel(tower, selection, SelectedTokens(), reranker, num_frames=FRAMES).eval()
    paths = sorted(clips.iterdir())
    with fill(tmp_path / "index", clips, model) as index:
        frames = [decode(path, Uniform(num_frames=FRAMES)) for path in paths]
        read = tower.encode_video(frames, patches=True)
        order = expected_order(model, reranker, index.features(paths), read)
        assert names(index, rerank_depth=DEPTH) == [paths[i].name for i in order]
        coarse = names(index, rerank_depth=0)
        for path in paths:
            path.unlink()
        with pytest.warns(NotRerankedWarning):
            assert names(index) == coarse


def test_a_reranker_of_stored_features_reads_no_file(tmp_path: Path, encoder: Path, clips: Path) -> None:
    torch.manual_seed(2)
    reranker = _shaken(CrossTransformer(CrossTransformerConfig(dim=DIM, num_layers=1, num_heads=2)))
    model = model_of(encoder, reranker)
    paths = sorted(clips.iterdir())
    with fill(tmp_path / "index", clips, model) as index, warnings.catch_warnings():
        video = index.features(paths)
        expected = [paths[i].name for i in expected_order(model, reranker, video, video)]
        for path in paths:
            path.unlink()
        warnings.simplefilter("error")
        assert names(index, rerank_depth=DEPTH) == expected


def test_the_fusion_is_the_callers(index: Index) -> None:
    coarse = index.search(QUERY, rerank_depth=0)
    only_matcher = index.search(QUERY, fusion=Fusion(weight=0.0, coarse_scale=2.0))
    assert [hit.video for hit in only_matcher] == [hit.video for hit in coarse]
    assert only_matcher[0].score == pytest.approx(2 * coarse[0].score, rel=1e-5)


@pytest.mark.parametrize("damage", ["gone", "changed", "another video"])
def test_what_cannot_be_read_keeps_its_place(index: Index, clips: Path, damage: str) -> None:
    coarse, order = names(index, rerank_depth=0), names(index, rerank_depth=DEPTH)
    lost = clips / coarse[1]
    if damage == "gone":
        lost.unlink()
    elif damage == "changed":
        lost.touch()
    else:
        make_clip(lost, 4)
    reason = "No such file" if damage == "gone" else "changed since"
    with pytest.warns(NotRerankedWarning, match=f"{lost.name}.*{reason}"):
        found = names(index, rerank_depth=DEPTH)
    rest = [name for name in order[:DEPTH] if name != lost.name]
    assert found == [rest[0], lost.name, *rest[1:], *coarse[DEPTH:]]


def test_without_any_file_the_order_is_the_matchers(index: Index, clips: Path) -> None:
    for path in clips.iterdir():
        path.unlink()
    with pytest.warns(NotRerankedWarning, match="and 3 more; index them again"):
        assert names(index) == names(index, rerank_depth=0)


def test_moments_of_a_long_video_are_decoded_at_their_own_times(tmp_path: Path, encoder: Path) -> None:
    torch.manual_seed(3)
    model = model_of(encoder, cross_tvr())
    random = np.random.default_rng(1)
    colours = np.repeat(random.integers(0, 256, (4, 1, 1, 3), np.uint8), 50, axis=0)
    clip = make_clip(tmp_path / "long.mp4", list(np.broadcast_to(colours, (200, 48, 64, 3)).copy()))
    with Index.create(tmp_path / "index", model=model, moments="shots") as index:
        index.add(clip, config=BuildConfig(workers=0))
        assert len(index) > 1
        hits = index.search(QUERY, unit="moment")
        assert hits
        assert all(hit.start_s <= time < hit.end_s for hit in hits for time in hit.frame_times_s)


def test_a_saved_model_reranks_and_a_missing_vocabulary_is_said(
    tmp_path: Path, encoder: Path, clips: Path
) -> None:
    torch.manual_seed(0)
    model = model_of(encoder, cross_tvr())
    save(model, tmp_path / "model")
    with fill(tmp_path / "index", clips, load(tmp_path / "model", device="cpu")) as index:
        reranked = names(index)
        assert index.model.reranker is not None
        index.model.reranker.tokenizer = None  # type: ignore[assignment]
        with pytest.raises(MissingFeatureError, match="vocabulary"):
            names(index)
        assert names(index, rerank_depth=0) != reranked


def test_the_command_line_shows_either_order(tmp_path: Path, encoder: Path, clips: Path) -> None:
    torch.manual_seed(0)
    save(model_of(encoder, cross_tvr()), tmp_path / "model")
    path = tmp_path / "index"
    with fill(path, clips, load(tmp_path / "model", device="cpu")) as index:
        expected = [names(index), names(index, rerank_depth=0)]
    shared = [
        "search",
        QUERY,
        "--index",
        str(path),
        "--model",
        str(tmp_path / "model"),
        "--json",
        "--unit",
        "video",
    ]
    for order, option in zip(expected, [[], ["--no-rerank"]], strict=True):
        done = CliRunner().invoke(app, [*shared, *option])
        assert done.exit_code == 0, done.output
        assert [Path(hit["video"]).name for hit in json.loads(done.stdout)["hits"]] == order
    assert expected[0] != expected[1]


def test_a_negative_depth_is_refused(index: Index) -> None:
    with pytest.raises(InputError, match="rerank_depth is -1"):
        index.search(QUERY, rerank_depth=-1)
