"""``framesift evaluate``."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputError, suggest
from .arithmetic import (
    BACKEND_OPTION,
    FORCE_OPTION,
    PRECISION_OPTION,
    BackendName,
    Precision,
    set_arithmetic,
)
from .output import JSON_OPTION, ProgressLine, emit_json, say, talk

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..data import Split
    from ..evaluation import Column, Difference
    from ..evaluation.benchmark import Task

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = """Examples: `framesift evaluate storyboard-xpool --benchmark storyboard` measures a bundled model, offline.
`framesift evaluate MODEL --benchmark msrvtt-1ka --root DIR --output mine.json` measures a model on a benchmark.
`framesift evaluate --similarity matrix.npy --benchmark msrvtt-1ka --root DIR` judges anybody's matrix.
`framesift evaluate --compare mine.json other.json` tells whether two results differ by more than chance."""

FAILED = 3  # exit code: done, but some videos could not be read
QB_NORM_TRAIN = "train"


class TieRule(StrEnum):
    """Where a relevant video stands among equal scores."""

    pessimistic = "pessimistic"
    mean = "mean"
    optimistic = "optimistic"
    clip4clip = "clip4clip"
    xpool = "xpool"


def evaluate(
    what: list[str] | None = typer.Argument(
        None, help="A model; or result files, with --compare (two) or --seeds.", metavar="[MODEL | FILE...]"
    ),
    benchmark: str | None = typer.Option(
        None,
        "--benchmark",
        "-b",
        help="Name of a benchmark; storyboard, or storyboard/SLICE.",
        metavar="NAME",
    ),
    data: Path | None = typer.Option(
        None, help="Your own captions: a CSV, TSV or JSONL file.", metavar="FILE"
    ),
    root: Path | None = typer.Option(None, help="Folder of the benchmark's annotation files and videos."),
    split: str = typer.Option("test", help="train, val or test; of your own data also all."),
    videos: int | None = typer.Option(None, "--count", min=2, help="Storyboard: so many videos (or pairs)."),
    similarity: Path | None = typer.Option(
        None, help="Judge this matrix [text, video]: .npy, .npz, .safetensors or .pt.", metavar="FILE"
    ),
    against: Path | None = typer.Option(None, help="Compare it with this matrix.", metavar="FILE"),
    video_ids: Path | None = typer.Option(
        None, "--videos", help="The video id of every column: one a line, or a JSON list.", metavar="FILE"
    ),
    texts: Path | None = typer.Option(
        None,
        help="The sentence of every row, or a JSON list of rows of the benchmark from 0.",
        metavar="FILE",
    ),
    permuted: Path | None = typer.Option(
        None, help="The matrix made again with its texts in another order: proves that texts are independent."
    ),
    permutation: Path | None = typer.Option(
        None, help="That order, .npy or JSON: row i of --permuted is row permutation[i] of --similarity."
    ),
    trained_on: Path | None = typer.Option(
        None, help="Ids of the training videos; those that are tested are counted.", metavar="FILE"
    ),
    ties: TieRule = typer.Option(TieRule.pessimistic, help="Where an answer stands among equal scores."),
    dsl: list[float] | None = typer.Option(
        None, help="Dual softmax at this temperature, in a column beside the result.", metavar="TEMPERATURE"
    ),
    qb_norm: str | None = typer.Option(
        None,
        help="QB-Norm beside the result, with this bank: a matrix [query, video]; for a model, train takes the"
        " training captions.",
        metavar="BANK",
    ),
    beta: float = typer.Option(20.0, help="QB-Norm: factor of the similarities.", min=0.0),
    no_rerank: bool = typer.Option(False, "--no-rerank", help="Leave the matcher's order."),
    probe: bool = typer.Option(
        False, "--probe", help="Measure again with frames reversed, shuffled, and all the middle one."
    ),
    compare: bool = typer.Option(False, "--compare", help="Compare two result files."),
    seeds: bool = typer.Option(False, "--seeds", help="Summarise result files that differ in their seed."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Write the result here, with the rank of every query.", metavar="FILE"
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    backend: BackendName | None = BACKEND_OPTION,
    precision: Precision | None = PRECISION_OPTION,
    force_precision: bool = FORCE_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure a model or anybody's similarity matrix, with intervals, and compare results.

    Scores that depend on other queries are refused; what needs them (dual softmax, QB-Norm) stands beside the result.
    """
    given = what or []
    set_arithmetic(backend, precision, force_precision)
    if compare or seeds:
        _check_alone(compare, seeds, given)
        (_compare if compare else _seeds)([Path(one) for one in given], as_json=as_json)
        return
    started = time.monotonic()
    if similarity is not None:
        if given:
            raise InputError(f"--similarity judges a finished matrix; leave out the model {given[0]!r}")
        result = _judge(
            similarity,
            benchmark=benchmark,
            data=data,
            root=root,
            split=split,
            against=against,
            lists=(video_ids, texts),
            proof=(permuted, permutation),
            columns=_columns(dsl, qb_norm, beta),
            ties=ties.value,
        )
    elif len(given) == 1:
        only_matrices = {
            "--against": against,
            "--videos": video_ids,
            "--texts": texts,
            "--permuted": permuted,
            "--permutation": permutation,
        }
        for option, value in only_matrices.items():
            if value is not None:
                raise InputError(f"{option} goes with --similarity, not with a model")
        result = _measure(
            given[0],
            benchmark=benchmark,
            data=data,
            root=root,
            split=split,
            count=videos,
            dsl=dsl,
            qb_norm=qb_norm,
            beta=beta,
            ties=ties.value,
            rerank=not no_rerank,
            probe=probe,
            device=device,
            quiet=as_json,
        )
    else:
        raise InputError(
            f"got {len(given)} models; expected one, or --similarity FILE, or --compare A B, or --seeds A B C"
        )
    if trained_on is not None:
        _say_overlap(result, trained_on, benchmark=benchmark, data=data, root=root, split=split)
    if output is not None:
        from ..evaluation.results import write_result

        write_result(output, result, seconds=time.monotonic() - started)
    if as_json:
        emit_json(result)
    else:
        _show(result)
    if result.get("failed_videos"):
        raise typer.Exit(FAILED)


def _check_alone(compare: bool, seeds: bool, given: list[str]) -> None:
    if compare and seeds:
        raise InputError("--compare and --seeds are two questions; ask one at a time")
    if compare and len(given) != 2:
        raise InputError(f"--compare takes two result files, got {len(given)}")
    if not given:
        raise InputError("--seeds takes one result file for each seed, got none")


def _load_split(benchmark: str | None, data: Path | None, root: Path | None, split: str) -> Split:
    from ..data.catalog import load_split
    from ..data.own import read_own

    if (benchmark is None) == (data is None):
        raise InputError(
            "say what to measure on: either --benchmark NAME, or --data FILE with your own captions"
        )
    if data is not None:
        return read_own(data, split=split, root=root)
    if root is None:
        raise InputError(
            f"--root DIR is needed: the folder with the annotation files (and videos) of {benchmark}"
        )
    return load_split(str(benchmark), split, root)


def _measure(
    name: str,
    *,
    benchmark: str | None,
    data: Path | None,
    root: Path | None,
    split: str,
    count: int | None,
    dsl: list[float] | None,
    qb_norm: str | None,
    beta: float,
    ties: Any,
    rerank: bool,
    probe: bool,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    from ..evaluation.benchmark import evaluate_model
    from ..hub import load

    task, bank = _task(benchmark, data, root, split, count, wants_bank=qb_norm == QB_NORM_TRAIN)
    model = load(name, device=device)
    columns = _columns(dsl, qb_norm, beta)
    started = time.monotonic()
    with ProgressLine("encoding", quiet=quiet) as line:

        def progress(done: int, total: int) -> None:
            spent = time.monotonic() - started
            line.update(done, total, eta_s=spent / done * (total - done))

        return evaluate_model(
            model,
            task,
            ties=ties,
            columns=columns if dsl or qb_norm else None,
            bank=bank,
            rerank=rerank,
            probe=probe,
            progress=progress,
        )


def _task(
    benchmark: str | None,
    data: Path | None,
    root: Path | None,
    split: str,
    count: int | None,
    *,
    wants_bank: bool,
) -> tuple[Task, list[str]]:
    """What to measure on, and the training captions if they are wanted, one a video."""
    from ..evaluation.benchmark import STORYBOARD, split_task, storyboard_task

    if benchmark is not None and benchmark.partition("/")[0] == STORYBOARD:
        from ..storyboard import SLICES, standard

        name = benchmark.partition("/")[2] or "standard"
        if name not in SLICES:
            raise InputError(
                f"no slice {name!r} of Storyboard{suggest(name, SLICES)} (known: {', '.join(SLICES)})"
            )
        return storyboard_task(name, count), (standard(split="train").texts if wants_bank else [])
    from ..data.locate import locate

    chosen = _load_split(benchmark, data, root, split)
    bank: list[str] = []
    if wants_bank:
        train = _load_split(benchmark, data, root, "train")
        first = {caption.video: caption.text for caption in reversed(train.captions)}
        bank = list(first.values())
    return split_task(chosen, locate(chosen, root)), bank


def _columns(dsl: list[float] | None, qb_norm: str | None, beta: float) -> Any:
    """Function of the training captions' similarities -> the normalizations that were asked for."""

    def columns(train: np.ndarray) -> list[Column]:
        import torch

        from ..evaluation import dual_softmax_column, qb_norm_column
        from ..evaluation.judge import read_matrix

        made = [dual_softmax_column(temperature=temperature) for temperature in dsl or ()]
        if qb_norm == QB_NORM_TRAIN:
            if not train.size:
                raise InputError(
                    "--qb-norm train needs a model; for a matrix, give the bank's matrix [query, video]"
                )
            source = f"captions of the training split, {len(train):,} of them"
            made.append(qb_norm_column(torch.from_numpy(train), source=source, beta=beta))
        elif qb_norm is not None:
            bank = read_matrix(qb_norm)
            source = f"{Path(qb_norm).name}, {len(bank):,} queries, as given"
            made.append(qb_norm_column(bank, source=source, beta=beta))
        return made

    return columns


def _judge(
    path: Path,
    *,
    benchmark: str | None,
    data: Path | None,
    root: Path | None,
    split: str,
    against: Path | None,
    lists: tuple[Path | None, Path | None],
    proof: tuple[Path | None, Path | None],
    columns: Any,
    ties: Any,
) -> dict[str, Any]:
    import numpy as np

    from ..evaluation import compare_permuted, evaluate_similarity
    from ..evaluation.document import compare, compare_ranks, document
    from ..evaluation.judge import read_list, read_matrix

    matrix = read_matrix(path)
    leaks = None
    permuted, permutation = proof
    if permuted is not None or permutation is not None:
        if permuted is None or permutation is None:
            raise InputError(
                "--permuted and --permutation go together: the matrix made again, and its order of texts"
            )
        order = np.asarray(read_list(permutation)) if permutation.suffix == ".json" else _order(permutation)
        leaks = compare_permuted(matrix, read_matrix(permuted), order)
        leaks.refuse()
    ids, sentences = (None if one is None else read_list(one) for one in lists)

    def judged(held: Tensor, name: str) -> dict[str, Any]:
        x, about, relevance, texts, notes = _place(held, benchmark, data, root, split, ids, sentences)
        beside = columns(np.zeros((0, 0)))
        done = evaluate_similarity(x, relevance=relevance, ties=ties, beside=beside)
        notes += _doubts(x, done, texts)
        made = document(done, system=name, split=about, notes=notes)
        made["leak_check"] = None if leaks is None or held is not matrix else leaks.to_dict()
        return made

    result = judged(matrix, path.name)
    if against is not None:
        other = judged(read_matrix(against), against.name)
        # Without annotation files there is no hash, but both were judged by the same diagonal.
        unnamed = result["split"]["content_hash"] is None and other["split"]["content_hash"] is None
        found = (compare_ranks if unnamed else compare)(other, result)
        result["differences"] = _differences(found, first=against.name, second=path.name)
    return result


def _order(path: Path) -> np.ndarray:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {str(path)!r} as .npy or .json: {error}") from None


def _place(
    matrix: Tensor,
    benchmark: str | None,
    data: Path | None,
    root: Path | None,
    split: str,
    ids: Any,
    sentences: Any,
) -> tuple[Tensor, dict[str, Any], Any, list[str] | None, list[str]]:
    """The matrix in the benchmark's order, what it is of, its relevance, its sentences, and notes."""
    from ..evaluation.judge import align

    if data is None and root is None and benchmark is not None:
        from ..data.catalog import benchmark_named

        name, entry = benchmark_named(benchmark)
        counts = entry.expected.get(split)
        if entry.protocol == "all-captions" or ids is not None or sentences is not None or counts is None:
            raise InputError(
                f"--root DIR is needed: which texts belong to which videos, {name}'s annotation files say"
            )
        from ..evaluation.judge import upright

        matrix, turned = upright(
            matrix,
            texts=counts.captions or len(matrix),
            videos=counts.videos or len(matrix),
            name=f"{name} {split}",
        )
        notes = [
            *turned,
            "without the annotation files (--root), text i was taken to belong to video i, and the result has no hash",
        ]
        about: dict[str, Any] = {
            "benchmark": name,
            "split": split,
            "protocol": entry.protocol,
            "videos": matrix.shape[1],
            "captions": matrix.shape[0],
            "content_hash": None,
            "notes": [],
        }
        return matrix, about, None, None, notes
    part = _load_split(benchmark, data, root, split)
    aligned = align(
        matrix, part, videos=ids, texts=sentences, others=lambda: _other_splits(part, root) if root else []
    )
    chosen = aligned.split
    return aligned.similarity, dict(chosen.to_dict()), chosen.relevance(), chosen.texts, list(aligned.notes)


def _other_splits(known: Split, root: Path) -> list[Split]:
    """Every split that the folder has, to name the one that a foreign list is of."""
    from ..data.catalog import BENCHMARKS, load_split
    from ..errors import FramesiftError

    found: list[Split] = []
    for name, entry in BENCHMARKS.items():
        for split in entry.readers:
            try:
                found.append(load_split(name, split, root))
            except FramesiftError:  # it is not here
                continue
    return [one for one in found if (one.benchmark, one.split) != (known.benchmark, known.split)]


def _doubts(matrix: Tensor, done: Any, texts: list[str] | None) -> list[str]:
    from ..evaluation import suspicious
    from ..evaluation.judge import by_chance

    found = list(suspicious(matrix, texts=texts))
    chance = by_chance(done.t2v.mean_rank, matrix.shape[1])
    return [*found, chance] if chance else found


def _say_overlap(
    result: dict[str, Any],
    trained_on: Path,
    *,
    benchmark: str | None,
    data: Path | None,
    root: Path | None,
    split: str,
) -> None:
    from ..evaluation.judge import read_list

    tested = _load_split(benchmark, data, root, split)
    trained = {str(one) for one in read_list(trained_on)}
    trained |= {Path(one).stem for one in trained}
    shared = [video for video in tested.videos if video in trained]
    result["trained_and_tested"] = {"videos": len(shared), "of": len(tested.videos), "first": shared[:3]}
    if shared:
        result["warnings"].append(
            f"{len(shared):,} of the {len(tested.videos):,} tested videos were trained on (first: {shared[0]!r}): this"
            " is no result of that benchmark"
        )


def _differences(found: Any, *, first: str, second: str) -> list[dict[str, Any]]:
    return [
        {"a": first, "b": second, "metric": f"{way}_{_metric_key(metric)}", **difference.to_dict()}
        for way, rows in found.items()
        for metric, difference in rows.items()
    ]


def _metric_key(name: str) -> str:
    return name.replace("R@", "r").lower()


def _compare(paths: list[Path], *, as_json: bool) -> None:
    from ..evaluation.document import compare, read_document

    first, second = (read_document(path) for path in paths)
    found = compare(first, second)
    names = [f"{path.name} ({held.get('system')})" for path, held in zip(paths, (first, second), strict=True)]
    if as_json:
        emit_json(
            {"split": first["split"], "differences": _differences(found, first=names[0], second=names[1])}
        )
        return
    say(f"{names[1]} minus {names[0]}, on {_split_line(first['split'])}")
    _show_differences(found)


def _show_differences(found: dict[Any, dict[str, Difference]]) -> None:
    say(f"{'':10} {'difference':>10}  {'95 % interval':>18}  {'p':>8}")
    for way, rows in found.items():
        for metric, difference in rows.items():
            p = "" if difference.p is None else "< 0.0001" if difference.p < 1e-4 else f"{difference.p:.4f}"
            interval = f"{difference.low:+.2f} to {difference.high:+.2f}"
            say(f"{way} {metric:<6} {difference.value:+10.2f}  {interval:>18}  {p:>8}")


def _seeds(paths: list[Path], *, as_json: bool) -> None:
    from ..evaluation import summarise_seeds
    from ..evaluation.document import read_document

    results = [read_document(path) for path in paths]
    summary = summarise_seeds(results)
    if as_json:
        plain = {way: {name: one.to_dict() for name, one in rows.items()} for way, rows in summary.items()}
        emit_json({"split": results[0]["split"], "runs": [str(path) for path in paths], **plain})
        return
    say(f"{len(paths)} runs on {_split_line(results[0]['split'])}")
    for way, rows in summary.items():
        for metric, one in rows.items():
            say(f"{way} {metric:<6} {one}")


def _split_line(split: dict[str, Any]) -> str:
    name = f"{split.get('benchmark')} {split.get('split')}"
    sizes = f"{split.get('captions'):,} texts x {split.get('videos'):,} videos"
    return f"{name}: {sizes}, {split.get('protocol')}, content hash {split.get('content_hash') or 'none'}"


def _show(result: dict[str, Any]) -> None:
    say(f"{result['system']} on {_split_line(result['split'])}")
    say(f"{'':4} {'R@1':>20} {'R@5':>20} {'R@10':>20} {'MdR':>14} {'MnR':>16}")
    _show_rows(result)
    for label, other in result.get("beside", {}).items():
        say(f"beside, not the result: {label}, from {other['source']}")
        _show_rows(other)
    for way in ("t2v", "v2t"):
        if result[way]["tied_queries"]:
            say(
                f"{way}: {result[way]['tied_queries']} queries have ties at the top; rule: {result[way]['ties']}"
            )
    checked = result.get("leak_check")
    if checked is None:
        say("leaks: not checked; a matrix alone cannot show that there is none (--permuted, --permutation)")
    else:
        pairs = sum(check["pairs"] for check in checked["checks"])
        say(f"leaks: none; {pairs:,} scores in other company, none moved")
    for order, probed in result.get("temporal_probe", {}).items():
        change = probed["difference"]
        told = (
            ""
            if change is None
            else f"  {change['value']:+.1f} ({change['low']:+.1f} to {change['high']:+.1f})"
        )
        say(f"frames {order:<9} t2v R@1 {probed['t2v_r1']:5.1f}{told}")
    rows = result.get("differences")
    if rows:
        say(f"{rows[0]['b']} minus {rows[0]['a']}:")
        for row in rows:
            p = (
                ""
                if row["p"] is None
                else f"  p {'< 0.0001' if row['p'] < 1e-4 else format(row['p'], '.4f')}"
            )
            say(f"  {row['metric']:<8} {row['value']:+8.2f} ({row['low']:+.2f} to {row['high']:+.2f}){p}")
    for note in [*result["split"].get("notes", []), *result["warnings"]]:
        talk(f"note: {note}")
    for failed in result.get("failed_videos", [])[:3]:
        talk(f"note: could not be read: {failed}")


def _show_rows(result: dict[str, Any]) -> None:
    for way in ("t2v", "v2t"):
        row = result[way]
        ends = row["intervals"]
        recall = " ".join(_cell(row["recall_at"][k], ends[f"r{k}"], 20) for k in ("1", "5", "10"))
        median = _cell(row["median_rank"], ends["median_rank"], 14, digits=0)
        say(f"{way:4} {recall} {median} {_cell(row['mean_rank'], ends['mean_rank'], 16)}")


def _cell(value: float, ends: list[float], width: int, *, digits: int = 1) -> str:
    own = f"{value:.{digits}f}" if digits or value == int(value) else f"{value:.1f}"
    return f"{f'{own} ({ends[0]:.{digits}f}-{ends[1]:.{digits}f})':>{width}}"
