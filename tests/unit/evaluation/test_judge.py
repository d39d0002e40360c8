"""Anybody's matrix: every format, every mistake in its order, and the documents that are made of it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from framesift.data import Caption, Split
from framesift.errors import DatasetError, InputError, ShapeError
from framesift.evaluation import dual_softmax_column, evaluate_similarity
from framesift.evaluation.document import compare, document, read_document
from framesift.evaluation.judge import align, by_chance, read_list, read_matrix, which_split
from framesift.evaluation.results import write_result


def split(videos: int = 6, *, captions: int = 1, name: str = "made-up") -> Split:
    ids = tuple(f"clip{number}" for number in range(videos))
    sentences = tuple(
        Caption(text=f"caption {turn} of {video}", video=video) for video in ids for turn in range(captions)
    )
    protocol = "one-caption" if captions == 1 else "all-captions"
    return Split(benchmark=name, split="test", protocol=protocol, videos=ids, captions=sentences)


def matrix(texts: int = 6, videos: int = 6) -> torch.Tensor:
    return torch.randn(texts, videos, generator=torch.Generator().manual_seed(0))


def test_every_format_gives_the_same_matrix(tmp_path: Path) -> None:
    x = matrix(4, 5)
    np.save(tmp_path / "a.npy", x.numpy())
    np.save(tmp_path / "big.npy", x.numpy().astype(">f8"))
    np.savez(tmp_path / "a.npz", similarity=x.numpy())
    save_file({"similarity": x}, tmp_path / "a.safetensors")
    torch.save(x, tmp_path / "a.pt")
    torch.save({"similarity": x}, tmp_path / "b.pth")
    for name in ("a.npy", "big.npy", "a.npz", "a.safetensors", "a.pt", "b.pth"):
        torch.testing.assert_close(read_matrix(tmp_path / name).float(), x, rtol=0, atol=0)
    np.save(tmp_path / "whole.npy", np.eye(3, dtype=np.int64))
    assert read_matrix(tmp_path / "whole.npy").dtype == torch.float64


class Evil:
    """What a pickle may hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_no_object_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Evil(), tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    for name in ("a.pt", "a.npy"):
        with pytest.raises(InputError, match="no plain matrix"):
            read_matrix(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full((2, 2), np.nan), r"text 0 and video 0 is nan, and so are 3 others"),
        (np.array([[1.0, 2.0], [np.inf, 0.0]]), "text 1 and video 0 is inf"),
        (np.zeros((2, 2, 2)), r"expected numbers \[text, video\]"),
        (np.zeros((0, 3)), "at least one of each"),
        (np.array([["a"]]), "no plain matrix"),
        (np.zeros((2, 2), np.complex64), "no plain matrix"),
    ],
)
def test_bad_matrices_are_named(tmp_path: Path, value: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", value)
    with pytest.raises(InputError, match=message):
        read_matrix(tmp_path / "a.npy")


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "a.csv").write_text("1,2")
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    for name, message in {
        "cut.npy": "no plain matrix",
        "a.csv": r"\.safetensors",
        "two.npz": r"2 arrays \(a, b\)",
        "nowhere.npy": "No such file",
    }.items():
        with pytest.raises(InputError, match=message):
            read_matrix(tmp_path / name)


def test_lists_are_read(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\ufeffa\r\nb\r\n\r\n", encoding="utf-8")
    (tmp_path / "rows.json").write_text("[2, 0]")
    assert read_list(tmp_path / "ids.txt") == ["a", "b"]
    assert read_list(tmp_path / "rows.json") == [2, 0]
    for name, content in {
        "a.json": "{}",
        "b.json": "[1.5]",
        "c.json": "[",
        "d.txt": "\n",
        "e.json": "[]",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=r"expected|no JSON"):
            read_list(tmp_path / name)
    (tmp_path / "f.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_list(tmp_path / "f.txt")


def test_a_matrix_in_the_benchmarks_order_is_left_alone_and_a_transposed_one_is_turned() -> None:
    part, x = split(3, captions=2), matrix(6, 3)
    aligned = align(x, part)
    assert aligned.notes == ()
    assert aligned.split is part
    turned = align(x.T, part)
    assert torch.equal(turned.similarity, x)
    assert "was transposed" in turned.notes[0]
    with pytest.raises(ShapeError, match="made-up test: expected 6 texts x 3 videos, got 6 x 6"):
        align(matrix(), part)


def test_another_order_is_told_and_put_right() -> None:
    part, x = split(20), matrix(20, 20)
    columns, rows = (np.random.default_rng(seed).permutation(20) for seed in (1, 2))
    shuffled = x[rows.tolist()][:, columns.tolist()]
    videos = [f"{part.videos[column]}.mp4" for column in columns]
    aligned = align(shuffled, part, videos=videos, texts=[f" {part.texts[row].upper()}\t" for row in rows])
    assert torch.equal(aligned.similarity, x)
    assert aligned.split.content_hash == part.content_hash
    first = int(np.flatnonzero(columns != np.arange(20))[0])
    assert f"your column {first} is the benchmark's column {columns[first]}" in aligned.notes[0]
    first = int(np.flatnonzero(rows != np.arange(20))[0])
    assert f"your row {first} is the benchmark's row {rows[first]}" in aligned.notes[1]
    by_row = align(shuffled, part, videos=columns.tolist(), texts=rows.tolist())
    assert torch.equal(by_row.similarity, x)
    assert align(x, part, videos=list(part.videos), texts=part.texts).notes == ()


def test_a_part_of_the_benchmark_is_another_split_and_says_so() -> None:
    part, x = split(10, captions=2), matrix(20, 10)
    kept = [7, 1, 4]
    whole_rows = align(x[:, kept], part, videos=kept)
    asked = [row for row, caption in enumerate(part.captions) if caption.video in {"clip1", "clip4", "clip7"}]
    expected = x[asked][:, sorted(kept)]
    assert torch.equal(whole_rows.similarity, expected)
    assert whole_rows.split.content_hash != part.content_hash
    assert (len(whole_rows.split.captions), len(whole_rows.split.videos)) == (6, 3)
    assert any("3 of the 10 videos" in note for note in whole_rows.notes)
    trimmed = align(x[asked][:, kept], part, videos=kept)
    assert torch.equal(trimmed.similarity, expected)
    texts = align(x[5:9], part, texts=part.texts[5:9])
    assert torch.equal(texts.similarity, x[5:9])
    assert len(texts.split.videos) == 10, "the gallery stays whole"
    both = align(x[2:9][:, kept], part, videos=kept, texts=list(range(2, 9)))
    assert [caption.video for caption in both.split.captions] == ["clip1"] * 2 + ["clip4"]
    assert any("left out" in note for note in both.notes)


def test_what_is_not_of_the_benchmark_is_refused() -> None:
    part, x = split(), matrix()
    other = Split(
        benchmark="msrvtt-other",
        split="test",
        protocol="one-caption",
        videos=("v1", "v2"),
        captions=(Caption(text="x", video="v1"),),
    )
    with pytest.raises(DatasetError, match="2 of the 2 videos of msrvtt-other test are among them"):
        align(x[:, :2], part, videos=["v1", "v2"], others=lambda: [part, other])
    with pytest.raises(
        DatasetError, match=r"1 of 6 listed videos are not in made-up test.*did you mean 'clip"
    ):
        align(x, part, videos=[*part.videos[:5], "clip99"])
    with pytest.raises(DatasetError, match="'clip0' is listed twice"):
        align(x, part, videos=[*part.videos[:5], "clip0"])
    with pytest.raises(DatasetError, match="is no query of made-up test"):
        align(x, part, texts=["a dog", *part.texts[1:]])
    with pytest.raises(DatasetError, match="more often"):
        align(x, part, texts=[part.texts[1], *part.texts[1:]])
    with pytest.raises(DatasetError, match="text 6 is listed, but"):
        align(x, part, texts=[0, 1, 2, 3, 4, 6])
    with pytest.raises(ShapeError, match="as listed: expected 6 texts x 5 videos"):
        align(x, part, videos=list(part.videos[:5]), texts=part.texts)
    assert which_split(["nothing"], [part]) == ""


def test_a_shuffled_matrix_is_suspected() -> None:
    x = matrix(100, 100)
    assert "no better than chance" in by_chance(evaluate_similarity(x).t2v.mean_rank, 100)
    assert by_chance(evaluate_similarity(x + 9 * torch.eye(100)).t2v.mean_rank, 100) == ""


def test_a_document_survives_its_file_and_compares(tmp_path: Path) -> None:
    part = split(12, captions=3)
    relevance = part.relevance()
    good = evaluate_similarity(
        matrix(36, 12) + torch.from_numpy(relevance) * 2.0,
        relevance=relevance,
        beside=[dual_softmax_column(temperature=1.0)],
    )
    bad = evaluate_similarity(matrix(36, 12), relevance=relevance)
    paths: list[Path] = []
    for name, done in {"good": good, "bad": bad}.items():
        paths.append(tmp_path / f"{name}.json")
        write_result(
            paths[-1], document(done, system=name, split=part.to_dict(), notes=["a note"]), seconds=1.0
        )
    first, second = (read_document(path) for path in paths)
    assert first["t2v"]["recall_at"] == good.to_dict()["t2v"]["recall_at"]
    low, high = first["t2v"]["intervals"]["r1"]
    assert low <= first["t2v"]["recall_at"]["1"] <= high
    assert set(first["v2t"]["intervals"]) == {"r1", "r5", "r10", "r50", "median_rank", "mean_rank"}
    (column,) = first["beside"].values()
    assert "intervals" in column["t2v"]
    assert first["warnings"] == ["a note"]
    assert len(first["ranks"]["t2v"].split()) == 36
    assert len(first["ranks"]["v2t"].split()) == 12
    found = compare(second, first)
    assert found["t2v"]["R@1"].value == pytest.approx(good.t2v.recall_at[1] - bad.t2v.recall_at[1])
    assert found["t2v"]["R@1"].n == 36
    assert found["v2t"]["MnR"].value == pytest.approx(good.v2t.mean_rank - bad.v2t.mean_rank)
    assert found["t2v"]["R@1"].p is not None
    assert found["t2v"]["R@1"].p < 0.05


def test_results_of_different_splits_are_refused_and_both_are_named() -> None:
    done = evaluate_similarity(matrix())
    a, b = split(6), split(6, captions=1, name="other")
    first = document(done, system="A", split=a.to_dict())
    changed = document(done, system="B", split=a.subset([1, 0, 2, 3, 4, 5]).to_dict())
    with pytest.raises(DatasetError, match=a.content_hash) as refused:
        compare(first, changed)
    assert changed["split"]["content_hash"] in str(refused.value)
    assert compare(first, document(done, system="B", split=b.to_dict()))["t2v"]["R@1"].value == 0, (
        "names are no content"
    )
    unnamed = document(done, system="B", split={"benchmark": "x", "content_hash": None})
    with pytest.raises(DatasetError, match="no 'content_hash'"):
        compare(unnamed, unnamed)
    without = {key: value for key, value in first.items() if key != "ranks"}
    with pytest.raises(InputError, match="does not hold the rank"):
        compare(first, without)
    with pytest.raises(InputError, match="whole numbers"):
        compare(first, {**first, "ranks": {"t2v": "1 x", "v2t": "1"}})


def test_ties_are_counted_and_every_rule_has_its_intervals() -> None:
    x = torch.zeros(4, 4)
    x[0, 0] = 1
    for rule in ("pessimistic", "mean", "optimistic", "clip4clip", "xpool"):
        made = document(evaluate_similarity(x, ties=rule), system="s", split=split(4).to_dict())
        assert made["t2v"]["tied_queries"] == 3
        assert made["ranks"]["t2v"] == "1 4 4 4", "comparisons always count ties against us"
        low, high = made["t2v"]["intervals"]["mean_rank"]
        assert low <= made["t2v"]["mean_rank"] <= high


def test_files_that_are_no_results(tmp_path: Path) -> None:
    for content, message in {"[1]": "no result", "{": "no JSON"}.items():
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_document(tmp_path / "a.json")
    with pytest.raises(InputError, match="No such file"):
        read_document(tmp_path / "nowhere.json")
    json.dumps(inspect.unwrap(document)(evaluate_similarity(matrix()), system="s", split={}), allow_nan=False)


def test_the_published_matrix_gives_its_published_numbers(real_data: Path) -> None:
    folder = real_data / "precomputed"
    if not folder.is_dir():
        pytest.skip(f"no published matrix at {folder}")
    expected = json.loads((folder / "expected.json").read_text())
    x = read_matrix(folder / expected["matrix"])
    rules = {"opt": "optimistic", "mean": "mean", "pess": "pessimistic"}
    for short, rule in rules.items():
        done = evaluate_similarity(x, ties=rule)  # type: ignore[arg-type]
        for way in ("t2v", "v2t"):
            found = getattr(done, way)
            want = expected[way][short]
            recall = {f"R@{k}": value for k, value in found.recall_at.items()}
            assert recall == pytest.approx({name: want[name] for name in recall})
            assert (found.median_rank, found.mean_rank) == pytest.approx((want["MedR"], want["MeanR"]))
    upstream = expected["upstream_compute_metrics"]["v2t"]
    counted = evaluate_similarity(x, ties="clip4clip").v2t
    assert (counted.num_queries, round(counted.recall_at[1], 3)) == (upstream["n_entries"], upstream["R1"])
