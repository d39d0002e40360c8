"""The benchmark page: a caption, its video, the five ranked first, the ground truth marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OpenPage = Callable[..., Any]


def test_the_ground_truth_is_outlined_and_named(open_page: OpenPage, live: Any) -> None:
    page = open_page("/benchmark")
    page.wait_for_selector("blockquote")
    first = live.get("/api/benchmark", limit=1)["captions"][0]
    shown = live.get(f"/api/benchmark/{first['n']}")
    assert page.inner_text("blockquote") == shown["text"]
    top = page.locator("#benchmark section").first.locator(".shown")
    assert top.count() == len(shown["top"]) == 5
    for place, video in enumerate(shown["top"]):
        figure = top.nth(place)
        assert ("ground truth" in figure.inner_text()) == video["truth"]
        outlined = figure.evaluate("f => getComputedStyle(f).borderTopColor")
        assert (outlined == "rgb(21, 128, 61)") == video["truth"]
    truth = page.locator("#benchmark > .shown")
    assert f"Ranked {shown['truth']['rank']}" in truth.inner_text()
    assert truth.locator(".frame").count() == len(shown["truth"]["frame_times_s"])
    assert "attention" in truth.locator(".frame").first.get_attribute("aria-label")


def test_captions_are_turned_by_keys_and_stay_in_the_address(open_page: OpenPage) -> None:
    page = open_page("/benchmark")
    page.wait_for_selector("blockquote")
    first = page.inner_text("blockquote")
    page.keyboard.press("j")
    page.wait_for_function("text => document.querySelector('blockquote').textContent !== text", arg=first)
    second = page.inner_text("blockquote")
    assert "n=1" in page.url
    page.reload()
    page.wait_for_selector("blockquote")
    assert page.inner_text("blockquote") == second
    page.go_back()
    page.wait_for_function("text => document.querySelector('blockquote').textContent === text", arg=first)


def test_an_index_without_captions_says_so(open_page: OpenPage) -> None:
    page = open_page()
    page.route(
        "**/api/benchmark?*",
        lambda route: route.fulfill(json={"available": False, "captions": [], "total": 0}),
    )
    page.click("nav a[data-page=benchmark]")
    page.wait_for_selector("#benchmark .warning")
    assert "no captions" in page.inner_text("#benchmark")
