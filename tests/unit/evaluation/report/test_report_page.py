"""The page as text: escaping, what is shown of every kind, what is never put together, and what is marked as best."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import report_documents as made
from framesift.errors import InputError
from framesift.evaluation.document import document
from framesift.evaluation.evaluate import evaluate_similarity
from framesift.evaluation.report import read_logs, render_report, write_report
from framesift.evaluation.results import read_results

VOID = {"meta", "link", "img", "line", "rect", "circle", "path", "polyline", "polygon", "br"}


class Outline(HTMLParser):
    """Tables by caption, headings, ids, links, scripts and what would be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self._caption, self._rows, self._text = "", list[list[str]](), ""
        self.feed(page)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.targets.append(str(given["href"]))
        for key in ("src", "href", "xlink:href"):
            if tag != "a" and key in given:
                self.fetched.append(str(given[key]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td", "caption"):
            self._text = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open.pop() == tag
        if tag == "caption":
            self._caption = self._text.strip()
        if tag in ("th", "td"):
            self._rows[-1].append(" ".join(self._text.split()))
        if tag == "table":
            self.tables[self._caption] = self._rows


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(made.all_kinds())


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_text_of_results_is_never_markup(page: str, outline: Outline) -> None:
    assert made.SCRIPT not in page
    assert "&lt;script&gt;document.title" in page
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags


def test_nothing_is_fetched(outline: Outline) -> None:
    assert outline.fetched == ["data:,"]


def test_every_link_leads_to_a_place_that_is_there_once(outline: Outline) -> None:
    assert len(outline.ids) == len(set(outline.ids))
    assert {target.removeprefix("#") for target in outline.targets} <= set(outline.ids)


def test_headings_leave_out_no_level(outline: Outline) -> None:
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = [after - before for before, after in zip(outline.headings, outline.headings[1:], strict=False)]
    assert max(steps) <= 1


def test_different_hashes_are_in_different_tables_and_the_page_says_why(page: str) -> None:
    body = Outline(page)
    assert "msrvtt-1ka test was measured on 2 different sets of queries" in page
    joint = [rows for rows in body.tables.values() if any("X-CLIP" in row[:1] for row in rows)]
    for rows in joint:
        assert not any(row and row[0] in ("X-Pool", "mean-pool") for row in rows)


def test_results_of_the_same_queries_share_a_table(page: str) -> None:
    rows = _table(
        {"a": made.evaluation("X-Pool", 46.0, (43, 49)), "b": made.evaluation("mean", 40.0, (37, 42.9))}
    )
    assert [row[0] for row in rows[2:]] == ["X-Pool", "mean"]


def _table(
    results: dict[str, dict[str, Any]], caption: str = "msrvtt-1ka test: all systems"
) -> list[list[str]]:
    return Outline(render_report(results)).tables[caption]


@pytest.mark.parametrize(("interval", "marked"), [((37.0, 42.9), True), ((37.0, 43.1), False)])
def test_the_best_is_marked_only_where_intervals_lie_apart(
    interval: tuple[float, float], marked: bool
) -> None:
    rows = _table(
        {"a": made.evaluation("X-Pool", 46.0, (43, 49)), "b": made.evaluation("mean", 40.0, interval)}
    )
    assert ("best" in rows[2][1]) is marked
    assert "best" not in rows[3][1]
    assert "best" not in "".join(rows[2][2:]), "values without an interval have no winner"


@pytest.mark.parametrize(("low", "marked"), [(0.5, True), (-0.5, False)])
def test_a_paired_difference_decides_before_intervals_do(low: float, marked: bool) -> None:
    one = made.evaluation("X-Pool", 46.0, (43, 49))
    one["systems"] |= made.evaluation("mean", 44.0, (41, 47))["systems"]
    one["differences"] = [
        {"a": "mean", "b": "X-Pool", "metric": "t2v_r1", "value": 2.0, "low": low, "high": 3.5}
    ]
    assert ("best" in _table({"a": one})[2][1]) is marked


def test_paired_differences_are_computed_from_the_ranks_of_two_files() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(200, 200))
    results = {}
    for name, strength in (("weak", 1.0), ("strong", 4.0)):
        done = evaluate_similarity(_tensor(noise + strength * np.eye(200)))
        split = made.split("ffff000011112222", videos=200, captions=200)
        results[name] = json.loads(json.dumps(document(done, system=name, split=split)))
    tables = Outline(render_report(results)).tables
    (row,) = [
        r for r in tables["msrvtt-1ka test: paired differences on the same queries"] if r[2:3] == ["t2v r1"]
    ]
    assert row[:2] == ["weak", "strong"]
    ours = {name: results[name]["t2v"]["recall_at"]["1"] for name in results}
    assert row[3].startswith(f"{ours['strong'] - ours['weak']:.1f}")
    assert row[5] == "yes"


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(values)


def test_normalizations_have_columns_of_their_own_and_are_never_best(outline: Outline) -> None:
    rows = outline.tables["msrvtt-1ka test: all systems"]
    assert any("with other queries: dual softmax" in head for head in rows[0])


def test_means_over_seeds_and_their_deviation() -> None:
    tables = Outline(render_report({"s": made.slices()})).tables
    overview = tables["All systems on all slices: R@1, text to video, %"]
    assert overview[0] == ["system", "standard", "direction", *(f"diversity-{n}" for n in range(4))]
    assert overview[1][1] == "21.0±1.0 18.5–23.5"
    assert overview[2][1] == "41.0 best±1.0 38.5–43.5"
    pairs = tables["All systems on all slices: pair accuracy, text to video, %"]
    assert [row[1] for row in pairs] == ["direction", "50.0±1.0", "51.0±1.0"]
    assert tables["standard: all systems"][2][2] == "41.0±1.0", (
        "where the file gives no mean, it is that of the seeds"
    )


def test_measures_of_other_names_are_shown_too() -> None:
    given = made.slices()
    given["slices"]["direction"]["systems"]["X-Pool"]["mean"]["moment_video_0.5"] = 61.25
    tables = Outline(render_report({"s": given})).tables
    assert tables["direction: further measures"][1:] == [["mean-pool", "–"], ["X-Pool", "61.2"]]


def test_a_reproduction_is_beside_the_paper(outline: Outline) -> None:
    rows = outline.tables["X-Pool on MSR-VTT 1K-A (9k)"]
    assert [row[0] for row in rows[2:]] == [
        "as published",
        "ours, checkpoint selected on test (as their code did)",
        "ours, checkpoint selected on validation",
    ]
    assert [row[1] for row in rows[2:]] == ["46.9", "46.5−0.4", "45.4−1.5"]


def test_normalized_numbers_of_a_reproduction_have_columns_of_their_own() -> None:
    document = made.full_reproduction()
    rows = Outline(render_report({"r": document})).tables[document["title"]]
    label = "with other queries: dual softmax (T 100), before reranking, text to video"
    assert rows[0] == ["", "text to video", "video to text", label]
    assert rows[1][-2:] == ["R@1", "R@5"], "what the paper printed, and no other"
    assert [row[-2] for row in rows[2:]] == ["52.8", "52.0−0.8 ±0.4", "51.0−1.8 ±0.4"]
    assert rows[3][1] == "49.1−0.5 ±0.4", "the plain column is as it was"


def test_of_a_normalization_that_nobody_printed_the_usual_numbers_are_shown() -> None:
    document = made.full_reproduction()
    held = document["normalized"]["dual softmax (T 100), before reranking"]
    del held["paper"], document["columns"]["selected_on_val"], document["column_names"]
    rows = Outline(render_report({"r": document})).tables[document["title"]]
    assert rows[1][-6:] == ["R@1", "R@5", "R@10"] * 2
    names = [row[0] for row in rows[2:]]
    assert names[-1] == "ours, checkpoint selected on validation", "a row that is normalized only"
    assert rows[-1][1] == "–"


def test_every_optional_part_of_a_reproduction_is_shown() -> None:
    shown = render_report({"r": made.full_reproduction()})
    for text in (
        "Of the published row (CrossTVR, CrossTVR (Base)): tables 1 and 9 differ by 0.1.",
        "Adam instead of BertAdam, no augmentation",
        "not the published settings: optim.steps=50 for 0",
        "of every video, 0 to 31 s are seen",
        "feedbeef00112233",
        "lr head",
    ):
        assert text in shown
    bare = {"kind": "reproduction", "columns": {"paper": {"t2v_r1": 46.9}}, "normalized": {}}
    assert "46.9" in render_report({"r": bare})
    Outline(render_report({"r": {"kind": "reproduction"}}))


@pytest.mark.parametrize(("chart", "drawn"), [("line", "polyline"), ("bar", "column"), ("dot", "mark")])
def test_an_experiment_has_a_chart_for_each_panel(chart: str, drawn: str) -> None:
    shown = render_report({"e": made.panelled(chart)})
    first, second = re.findall(r'<figcaption class="title">([^<]*)', shown)
    assert (first, second) == (
        f"Two y axes, as {chart}s: recall, text to video, %",
        f"Two y axes, as {chart}s: time, ms",
    )
    drawings = re.findall(r"<svg viewBox=\"0 0 440 .*?</svg>", shown, re.DOTALL)
    assert len(drawings) == 2
    assert all(drawn in svg for svg in drawings)
    assert "time, ms (lower is better)" in shown
    assert "panels" not in shown, "and is not dumped once more"


def test_an_experiment_has_a_chart_and_the_same_numbers_as_a_table(page: str, outline: Outline) -> None:
    assert page.count('class="band s0"') >= 1
    assert "line s1 reference" in page
    rows = outline.tables["How many frames (R@1, % (higher is better))"]
    assert rows[0] == ["frames", "X-Pool", "paper, as published"]
    assert rows[1] == ["1", "20.018–22", "–"]
    assert outline.tables["Cost"][2] == ["12", "6.25"]


def test_a_benchmark_shows_its_ratios(outline: Outline) -> None:
    assert outline.tables["Ratios measured in one run"][1] == ["published over fast", "39.1", "37.8", "56.9"]
    assert outline.tables["cpu (s)"][2] == ["fast", "0.61", "0.6", "0.62"]


def test_an_unknown_kind_is_shown_whole(page: str) -> None:
    shown = render_report({"new": {"kind": "telepathy", "a_s": 1.5, "deep": {"x": {"y": {"z": "found me"}}}}})
    for text in ("new", "telepathy", "a (s)", "1.5", "found me"):
        assert text in shown
    assert page.count("never heard of") >= 1


def test_warnings_and_provenance_are_told(outline: Outline, page: str) -> None:
    assert "xpool-msrvtt: measured with uncommitted changes on top of 0123456789" in page
    assert "slices: standard: 3 of 1003 videos are missing" in page
    rows = outline.tables["How every result was made"]
    (row,) = [row for row in rows if row[0] == "xpool-msrvtt"]
    assert "0123456789" in row
    assert "xpool-msrvtt-9k" in row
    assert "2 h 30 min 0 s" in row or "2 h 30 min" in row


def test_lists_of_failed_videos_are_counted_and_named() -> None:
    shown = render_report(
        {"t": {"kind": "training", "failed": {f"v{n}.mp4": "torn" for n in range(7)}, "missing": ["w"]}}
    )
    assert "7 failed: v0.mp4, v1.mp4, v2.mp4, v3.mp4, v4.mp4 and 2 more" in shown
    assert "1 missing: w" in shown


def test_what_is_unfinished_is_left_out() -> None:
    assert "sweep" not in render_report({"sweep.partial": {"points": {}}})


def test_no_results_is_said() -> None:
    assert "There are no result files yet." in render_report({})


def test_logs_become_curves(tmp_path: Path) -> None:
    folder = tmp_path / "run-1"
    folder.mkdir()
    lines = [
        json.dumps({"step": n, "loss": 5 / n, "lr": 1e-4, "val_r1": 2.0 * n, "seconds": n})
        for n in range(1, 6)
    ]
    (folder / "log.jsonl").write_text("\n".join([*lines, '{"step": 6, "lo']))
    (log,) = read_logs(tmp_path)
    assert (log.name, len(log.rows), log.unfinished) == ("run-1", 5, True)
    shown = render_report({}, logs=[log])
    rows = Outline(shown).tables["run-1: loss (loss (lower is better))"]
    assert rows[1:3] == [["1", "5.0"], ["2", "2.5"]]
    assert "The last line of the log is cut off" in shown


def test_a_torn_line_inside_a_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"line 2 of the training log .*nonsense"):
        read_logs(tmp_path)


def test_long_logs_are_thinned_but_keep_their_end(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in range(5001))
    )
    rows = Outline(render_report({}, logs=read_logs(tmp_path))).tables[
        f"{tmp_path.name}: loss (loss (lower is better))"
    ]
    assert len(rows) < 300
    assert rows[-1][0] == "5000"


def test_the_shipped_results_are_all_shown() -> None:
    results = read_results(Path(__file__).resolve().parents[4] / "results")
    shown = render_report(results)
    for name in results:
        assert name in shown
    Outline(shown)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "page.html", "page \ud800")
    assert (tmp_path / "new" / "page.html").read_text() == "page ?"
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path, "page")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
