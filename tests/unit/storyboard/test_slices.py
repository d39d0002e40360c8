import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from framesift.errors import InputError, ShapeError
from framesift.storyboard import (
    FPS,
    SLICES,
    SPLITS,
    MomentSlice,
    Slice,
    diversity,
    holds,
    moments,
    multi_caption,
    paragraphs,
    recall_at_iou,
    standard,
    temporal_iou,
    video_name,
    write_slice,
)

# A change of any rule of a slice must come with another VERSION, and then with other values here.
HASHES = {
    "standard": "b0f197bae689830a",
    "direction": "c45f0f3415465880",
    "order": "043ec167c3e7140e",
    "binding": "0d2c4f44e1d4cae2",
    "small-object": "c4d74223868f74dd",
    "count": "48b56a6e68bf45d7",
    "multi-caption": "d6f73ce5a797333c",
    "paragraph": "7bb99fa51358795f",
    "moments": "744fb00f459360d4",
}
draw = cache(lambda name, count: SLICES[name](count))


@pytest.mark.parametrize("name", SLICES)
def test_content_is_pinned(name: str) -> None:
    gallery = draw(name, 20 if name != "moments" else 3)
    assert gallery.name == name
    assert gallery.content_hash == HASHES[name]


@pytest.mark.parametrize("name", SLICES)
def test_every_caption_is_true_of_the_video_it_was_written_for(name: str) -> None:
    gallery: Slice = draw(name, 20 if name != "moments" else 3)
    assert len(gallery.owners) == len(gallery.captions)
    for row, (caption, owner) in enumerate(zip(gallery.captions, gallery.owners, strict=True)):
        expected = [holds(caption, video) for video in gallery.videos]
        assert expected[owner]
        np.testing.assert_array_equal(gallery.relevance[row], expected)


def test_slices_are_of_the_test_split_and_share_no_video() -> None:
    seeds = [video.seed for name in SLICES for video in draw(name, 20 if name != "moments" else 3).videos]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in SPLITS["test"] for seed in seeds)


def test_the_hash_is_of_captions_videos_and_relevance() -> None:
    gallery = draw("standard", 20)
    others = (
        diversity(gallery, 1),
        replace(gallery, captions=gallery.captions[::-1]),
        replace(gallery, videos=gallery.videos[::-1]),
        replace(gallery, relevance=~gallery.relevance),
        replace(gallery, owners=gallery.owners[::-1]),
    )
    assert len({gallery.content_hash, *(other.content_hash for other in others)}) == 6
    assert standard(20).content_hash == gallery.content_hash


def test_multi_caption_has_five_different_captions_a_video() -> None:
    gallery = multi_caption(30)
    assert gallery.owners == tuple(row for row in range(30) for _ in range(5))
    assert len(gallery.captions) == 150
    for row in range(30):
        assert len(set(gallery.texts[5 * row : 5 * row + 5])) == 5


def test_paragraphs_tell_all_scenes_and_are_unique() -> None:
    gallery = paragraphs(60)
    np.testing.assert_array_equal(gallery.relevance, np.eye(60, dtype=bool))
    for caption, video in zip(gallery.captions, gallery.videos, strict=True):
        assert len(caption.claims) == len(video.scenes) >= 2
        assert (caption.start_s, caption.end_s) == (0.0, video.duration_s)


def test_moments_are_true_of_one_scene_of_their_video() -> None:
    gallery = draw("moments", 3)
    assert isinstance(gallery, MomentSlice)
    assert gallery.spans.shape == (len(gallery.captions), 2)
    for caption, owner, span in zip(gallery.captions, gallery.owners, gallery.spans, strict=True):
        video = gallery.videos[owner]
        assert 10 <= len(video.scenes) <= 40
        (scene,) = (n for n, scene in enumerate(video.scenes) if caption.claims[0].holds(scene))
        assert tuple(span) == video.span_s(scene)
    scenes = sum(len(video.scenes) for video in gallery.videos)
    assert 0.9 * scenes < len(gallery.captions) <= scenes
    assert gallery.recall(list(gallery.spans[:, None])) == {0.3: 100, 0.5: 100, 0.7: 100}
    whole = [[(0.0, gallery.videos[owner].duration_s)] for owner in gallery.owners]
    assert gallery.recall(whole)[0.3] == 0


@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, -1), (1, 200_000)])
def test_impossible_moments_are_refused(count: int, start: int) -> None:
    with pytest.raises(InputError, match="moments"):
        moments(count, start=start)


def test_a_slice_is_written_as_files(tmp_path: Path) -> None:
    gallery = SLICES["count"](1)
    paths = write_slice(gallery, tmp_path / "count", size_px=64)
    assert [path.name for path in paths] == [video_name(video) for video in gallery.videos]
    document = json.loads((tmp_path / "count" / "captions.json").read_text())
    assert document["content_hash"] == gallery.content_hash
    assert [caption["text"] for caption in document["captions"]] == gallery.texts
    assert [caption["video"] for caption in document["captions"]] == [path.name for path in paths]
    assert [caption["relevant"] for caption in document["captions"]] == [[path.name] for path in paths]
    assert document["captions"][0]["claims"][0]["number"] == 2
    seconds = [document["videos"][path.name]["duration_s"] for path in paths]
    assert seconds == [video.num_frames / FPS for video in gallery.videos]
    before = paths[0].stat().st_mtime_ns
    assert write_slice(gallery, tmp_path / "count", size_px=64) == paths
    assert paths[0].stat().st_mtime_ns == before
    with pytest.raises(InputError, match="new folder"):
        write_slice(SLICES["binding"](1), tmp_path / "count")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_slice(gallery, tmp_path / "file")


def test_temporal_iou_by_hand() -> None:
    assert temporal_iou((0, 4), (2, 6)) == pytest.approx(2 / 6)
    assert temporal_iou((0, 4), (0, 4)) == 1
    assert temporal_iou((0, 1), (1, 2)) == 0
    assert temporal_iou((0, 1), (5, 9)) == 0
    assert temporal_iou((3, 3), (3, 3)) == 0, "a moment without a length overlaps nothing"
    np.testing.assert_allclose(temporal_iou([[0, 2], [2, 4]], [1, 3]), [1 / 3, 1 / 3])
    with pytest.raises(ShapeError, match="start and end"):
        temporal_iou([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match="4 to 1 s"):
        temporal_iou([4, 1], [1, 2])
    with pytest.raises(InputError, match="nan"):
        temporal_iou([float("nan"), 1], [1, 2])


def test_recall_at_iou_by_hand() -> None:
    truth = [[(0, 10)], [(0, 10), (50, 60)], [(20, 30)]]
    predicted = [[(0, 5), (0, 10)], [(50, 60)], []]
    assert recall_at_iou(predicted, truth, thresholds=(0.5, 0.6)) == pytest.approx(
        {0.5: 200 / 3, 0.6: 100 / 3}
    )
    assert recall_at_iou(predicted, truth, k=2, thresholds=(0.6,)) == pytest.approx({0.6: 200 / 3})
    for wrong in (([], []), ([[(0, 1)]], truth), ([[]], [[]])):
        with pytest.raises(InputError):
            recall_at_iou(*wrong)
    with pytest.raises(InputError, match="k must"):
        recall_at_iou(predicted, truth, k=0)


def test_recall_equals_the_published_evaluation_of_qvhighlights(real_data: Path) -> None:
    """Sample predictions and their metrics as published with QVHighlights, at ten thresholds."""
    folder = real_data / "annotations" / "qvhighlights"
    if not (folder / "sample_val_preds.jsonl.gz").exists():
        pytest.skip(f"no predictions of QVHighlights in {folder}")

    def lines(name: str) -> dict[int, dict[str, list[list[float]]]]:
        with gzip.open(folder / name, "rt") as file:
            return {row["qid"]: row for row in map(json.loads, file)}

    predicted, truth = lines("sample_val_preds.jsonl.gz"), lines("highlight_val_release.jsonl.gz")
    metrics = json.loads((folder / "sample_val_preds_metrics_raw.json").read_text())
    expected = {float(key): value for key, value in metrics["full"]["MR-R1"].items()}
    found = recall_at_iou(
        [np.array(predicted[query]["pred_relevant_windows"])[:, :2] for query in truth],
        [truth[query]["relevant_windows"] for query in truth],
        thresholds=tuple(expected),
    )
    assert len(expected) == 10
    assert found[0.5] == pytest.approx(53.94, abs=0.005)
    assert found == pytest.approx(expected, abs=0.0051)


def test_the_documented_numbers_are_those_of_the_slices() -> None:
    page = (Path(__file__).parents[3] / "docs" / "storyboard.md").read_text()
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    documented = {row[0].strip(" `"): (row[1].strip(), row[3].strip()) for row in rows}
    assert set(documented) == {*SLICES, "diversity-n"}
    for name in ("direction", "order", "binding", "small-object", "count", "paragraph", "moments"):
        gallery = SLICES[name]()
        texts, videos = len(gallery.captions), len(gallery.videos)
        several = int((gallery.relevance.sum(axis=1) > 1).sum())
        sizes = {f"{videos // 2} pairs", f"{texts} × {videos}", f"{texts} texts × {videos} videos"}
        assert documented[name][0] in sizes
        assert documented[name][1] == str(several)
