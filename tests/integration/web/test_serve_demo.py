"""``framesift serve --demo --open``: from the command line to the first answer in the browser's place."""

from __future__ import annotations

import os
import signal
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from framesift.cli import serving
from framesift.cli.main import app
from framesift.storyboard import standard

NUM_VIDEOS = 3


@pytest.fixture
def signals() -> Iterator[None]:
    """The command sets handlers of its own, as the process is its own otherwise."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_the_demo_is_served_and_the_browser_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the command sets otherwise, and this puts back
    monkeypatch.setattr(serving, "DEMO_VIDEOS", NUM_VIDEOS)
    told: list[dict[str, object]] = []

    def visit(url: str) -> None:
        """What a person does: look at the page, search, and press Ctrl-C."""
        try:
            with httpx.Client(base_url=url, timeout=60.0) as client:
                until = time.monotonic() + 60
                while True:
                    try:
                        page = client.get("/")
                        break
                    except httpx.ConnectError:  # the browser may be there before the server listens
                        assert time.monotonic() < until
                        time.sleep(0.05)
                found = client.get("/api/search", params={"q": standard(NUM_VIDEOS).texts[0], "k": 1})
                told.append({"page": page.status_code, **found.json()})
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    visitors: list[threading.Thread] = []

    def opened(url: str) -> bool:
        visitors.append(threading.Thread(target=visit, args=(url,)))
        visitors[0].start()
        return True

    monkeypatch.setattr(webbrowser, "open", opened)
    ended = CliRunner().invoke(app, ["serve", "--demo", "--open", "--port", "0"])
    visitors[0].join(60)
    assert ended.exit_code == 0, ended.output
    assert told[0]["page"] == 200
    assert (told[0]["index"], told[0]["moments"]) == ("demo", NUM_VIDEOS)
    assert told[0]["results"]
