"""Every page by keyboard alone, on a narrow screen, in both themes; axe-core finds nothing; the token is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OpenPage = Callable[..., Any]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def pages(live: Any) -> dict[str, str]:
    video = live.get("/api/search", q=live.captions[0], k=1)["results"][0]["video_id"]
    return {
        "start": "/",
        "results": "/?q=a+red+star",
        "comparison": "/?q=a+red+star&index=reranked&compare=1",
        "steps": "/?q=a+circle+then+a+star",
        "video": f"/video/{video}?q=a+star",
        "library": "/library",
        "benchmark": "/benchmark",
    }


PAGES = ["start", "results", "comparison", "steps", "video", "library", "benchmark"]
SETTLED = {
    "start": "#start h2",
    "results": ".result",
    "comparison": ".side-by-side .result",
    "steps": ".result",
    "video": "#best button",
    "library": "table.videos tbody tr",
    "benchmark": "blockquote",
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: OpenPage, pages: dict[str, str], name: str, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python", reason="needs axe-core: pip install 'framesift[browser]'"
    )
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page = open_page(pages[name], scheme=scheme)
    page.wait_for_selector(SETTLED[name])
    if name == "results":  # with all that can be open on it
        page.click("#show-filters")
        page.locator(".result").first.get_by_label("Select").check()
        page.locator(".result").first.get_by_role("button", name="Like", exact=True).click()
        page.locator(".result").first.locator("button", has_text="Explain").click()
        page.wait_for_selector(".explanation dl, .explanation .error")
    page.evaluate(script)
    found = page.evaluate("rules => axe.run(document, { runOnly: rules })", RULES)
    told = [
        f"{violation['id']}: {violation['help']}: {node['html']} ({node['failureSummary']})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert told == []
    assert len(found["passes"]) > 15, "axe really ran"


@pytest.mark.parametrize("which", ["#show-keys", "#show-syntax", ".result .preview"])
def test_axe_finds_nothing_in_dialogs(open_page: OpenPage, which: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python", reason="needs axe-core: pip install 'framesift[browser]'"
    )
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page = open_page("/?q=a+red+star")
    page.wait_for_selector(".result")
    page.locator(which).first.click()
    page.wait_for_selector("dialog[open], [popover]:popover-open")
    page.evaluate(script)
    found = page.evaluate("rules => axe.run(document, { runOnly: rules })", RULES)
    assert [violation["id"] for violation in found["violations"]] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_screen_needs_no_scrolling_sideways(
    open_page: OpenPage, pages: dict[str, str], name: str
) -> None:
    page = open_page(pages[name], width=390)
    page.wait_for_selector(SETTLED[name])
    if name == "results":
        page.click("#show-filters")
        page.locator(".result").first.get_by_label("Select").check()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")]
            .filter((e) => e.checkVisibility() && !e.closest(".unseen, .scroll, [aria-hidden=true]"))
            .map((e) => [e.getBoundingClientRect(), e.outerHTML.slice(0, 120)])
            .filter(([box]) => box.width > 0 && (box.right > 391 || box.left < -1))
            .map(([, text]) => text)"""
    )
    assert outside == []


def test_a_search_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press(
        "Tab"
    )  # the query has the focus at the start; the first stop of a page is the skip link
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("a red star")
    page.keyboard.press("Enter")
    page.wait_for_selector(".result")
    page.keyboard.press("ArrowDown")  # out of the box to the first result
    focused = "document.activeElement.closest('.result')?.querySelector('.rank').textContent"
    assert page.evaluate(focused) == "1"
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate(focused) == "2"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "3"
    page.keyboard.press("ArrowRight")
    chosen = page.locator(".result").nth(2).locator(".frame.chosen")
    assert chosen.count() == 1
    page.wait_for_function(
        "text => document.getElementById('status').textContent === text",
        arg=chosen.get_attribute("aria-label"),
    )
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('dialog[open] video')?.readyState >= 2")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.play-dialog", state="detached")
    assert page.evaluate(focused) == "3", "the focus comes back"
    page.keyboard.press("x")
    page.wait_for_selector("#selection:not([hidden])")
    page.keyboard.press("l")
    page.wait_for_selector("#refine:not([hidden])")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.uncheck("#letters")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('.result article').focus()")
    page.keyboard.press("j")
    assert page.evaluate(focused) == "1", "keys of a single letter can be switched off"


def test_every_stop_of_the_tab_key_is_visible(open_page: OpenPage) -> None:
    page = open_page("/?q=a+red+star")
    page.wait_for_selector(".result")
    page.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const e = document.activeElement, b = e.getBoundingClientRect();
                const within = e.matches("#query") ? e.closest(".box") : e;
                const inner = e.matches(".frame") ? e.querySelector(".cell") : within;
                const style = getComputedStyle(inner);
                const marked = style.outlineStyle !== "none" || style.boxShadow !== "none";
                return { id: e.outerHTML.slice(0, 80), marked, inside: b.bottom > 0 && b.top < innerHeight };
            }"""
        )
        assert stop["marked"], stop
        assert stop["inside"], stop
        seen.add(stop["id"])
    assert len(seen) > 15
    assert any("skip" in stop for stop in seen)


def test_the_skip_link_leads_to_the_content(open_page: OpenPage) -> None:
    page = open_page("/library")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_the_button_is_used(open_page: OpenPage, scheme: str) -> None:
    page = open_page(scheme=scheme)

    def is_light() -> bool:
        return page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

    assert is_light() is (scheme == "light")
    page.click("#theme")
    assert is_light() is (scheme == "dark")
    page.goto(page.url.split("?")[0] + "library")
    assert is_light() is (scheme == "dark"), "the choice is kept"


def test_reduced_motion_is_respected(chromium: Any, live: Any) -> None:
    context = chromium.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(live.address)
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")]
            .filter((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0).length"""
    )
    context.close()
    assert moving == 0


def test_the_policy_of_the_page_forbids_scripts_of_others(live: Any) -> None:
    from urllib.request import urlopen

    for path in ("/", "/library", "/benchmark", "/video/x"):
        with urlopen(live.address + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            text = answer.read().decode()
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert " style=" not in text
        assert " onclick=" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_the_token_is_asked_for_and_kept(open_page: OpenPage, guarded: Any) -> None:
    page = open_page("/?q=a+star", at=guarded.address, allow="401")
    page.wait_for_selector("#token-dialog[open]")
    page.fill("#token", "wrong" * 8)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('token-error').textContent !== ''")
    page.fill("#token", guarded.token)
    page.keyboard.press("Enter")
    page.wait_for_selector(".result")
    assert page.locator("#token-dialog[open]").count() == 0
    page.reload()
    page.wait_for_selector(".result")
    page.wait_for_selector(".strip.loaded")
