import io
import sys

import pytest

from framesift.cli.output import (
    ProgressLine,
    attention_bar,
    emit_json,
    format_bytes,
    format_hit,
    format_time,
    say,
)
from framesift.ranking import Hit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (2.54, "0:02.5"), (59.96, "1:00.0"), (61.0, "1:01.0"), (3661.25, "1:01:01.2")],
)
def test_times(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB")]
)
def test_sizes(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_attention_is_scaled_to_its_largest_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert attention_bar([0.0, 0.25, 0.5]) == "▁▅█"
    assert attention_bar([0.0, 0.0]) == "▁▁"
    assert attention_bar([]) == ""


def test_attention_on_an_ascii_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert attention_bar([0.0, 0.5]) == "_#"


def test_a_file_name_never_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    say("evil\x1b[2J\rname \udcff 视频.mp4")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    assert "视频.mp4" in out


def test_json_of_any_file_name(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    emit_json({"video": "a\udcff.mp4"})
    assert json.loads(capsys.readouterr().out) == {"video": "a\udcff.mp4"}


def test_progress_off_a_terminal_is_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 7.0, 8.0])
    monkeypatch.setattr("framesift.cli.output.time.monotonic", lambda: next(clock))
    with ProgressLine("indexing") as line:
        line.update(1, 10, eta_s=9.0)  # too soon
        line.update(5, 10, eta_s=120.0, note=", 1 unreadable")
        line.update(6, 10, eta_s=1.0)  # too soon again
    assert capsys.readouterr().err == "indexing: 5 of 10, 2 min left, 1 unreadable\n"


def test_a_hit_is_one_line_whatever_its_file_is_called() -> None:
    hit = Hit(
        rank=1,
        video="two\nlines.mp4",
        start_s=0.0,
        end_s=1.0,
        score=0.5,
        frame_times_s=(0.5,),
        attention=(1.0,),
    )
    assert format_hit(hit).endswith("two\\nlines.mp4")
