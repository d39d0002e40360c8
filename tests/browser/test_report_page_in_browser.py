"""The report in a real Chromium, without a network: nothing overlaps, links, sorting and themes work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import report_documents as made
from framesift.evaluation.report import attention_examples, chosen_examples, read_logs, render_report
from framesift.hub import WEIGHTS

WIDTHS = (390, 768, 1280)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    examples = attention_examples(examples=chosen_examples(1))
    page = render_report(made.all_kinds(), logs=read_logs(WEIGHTS), examples=examples)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


class Visit:
    """A page that is open, and what it complained about or asked for."""

    def __init__(self, browser: Any, address: str, *, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_as_wide_as_the_window_and_quiet(chromium: Any, address: str, width: int) -> None:
    with Visit(chromium, address, width=width) as visit:
        visit.page.evaluate("for (const part of document.querySelectorAll('main details')) part.open = true")
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        assert visit.complaints == []
        assert [url for url in visit.requests if not url.startswith(("file:", "data:"))] == []
        assert visit.page.title() == "framesift results", "no script of a result file ran"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_a_chart_leaves_it_or_covers_another(chromium: Any, address: str, width: int) -> None:
    with Visit(chromium, address, width=width) as visit:
        problems = visit.page.evaluate(
            """() => [...document.querySelectorAll(".chart > svg")].flatMap((svg) => {
                const outer = svg.getBoundingClientRect();
                const texts = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
                const outside = texts.filter(([, b]) => b.left < outer.left - 1 || b.right > outer.right + 1
                    || b.top < outer.top - 1 || b.bottom > outer.bottom + 1).map(([t]) => "outside: " + t);
                const covered = texts.flatMap(([t, a], i) => texts.slice(i + 1)
                    .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1
                        && a.top < b.bottom - 1 && b.top < a.bottom - 1)
                    .map(([u]) => t + " covers " + u));
                return [...outside, ...covered];
            })"""
        )
        assert problems == []


@pytest.mark.parametrize("width", WIDTHS)
def test_what_systems_look_at_is_large_enough_and_named_while_it_scrolls(
    chromium: Any, address: str, width: int
) -> None:
    with Visit(chromium, address, width=width) as visit:
        frames = visit.page.locator(".frames td img")
        assert frames.count() == 2 * 12, "CrossTVR's attention and the patches that it keeps"
        assert min(image.bounding_box()["width"] for image in frames.all()) >= 50
        lines = visit.page.evaluate(
            """() => [...document.querySelectorAll(".heat td, .heat thead th")].map((cell) => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                return range.getClientRects().length;
            })"""
        )
        assert set(lines) == {1}, "no number of the grid of words and frames is broken"
        for kind in (".frames", ".heat"):
            table = visit.page.locator(kind).first
            table.evaluate("(table) => { table.parentElement.scrollLeft = 10000 }")
            edge = table.evaluate("(table) => table.parentElement.getBoundingClientRect().left")
            name = table.locator("tbody th").first.bounding_box()["x"]
            assert abs(name - edge) < 1.5


def test_links_of_the_contents_lead_there_and_mark_the_place(chromium: Any, address: str) -> None:
    with Visit(chromium, address) as visit:
        visit.page.click("nav a[href='#training']")
        visit.page.wait_for_timeout(300)
        top = visit.page.evaluate("document.getElementById('training').getBoundingClientRect().top")
        assert 0 <= top < 120
        visit.page.wait_for_selector("nav a[href='#training'][aria-current]")


def test_on_a_narrow_screen_the_contents_fold(chromium: Any, address: str) -> None:
    with Visit(chromium, address, width=390) as visit:
        assert not visit.page.is_visible("nav a[href='#training']")
        visit.page.click("nav summary")
        visit.page.click("nav a[href='#training']")
        assert not visit.page.is_visible("nav a[href='#training']")


def test_columns_sort_by_number_and_by_name(chromium: Any, address: str) -> None:
    with Visit(chromium, address) as visit:
        table = (
            visit.page.locator("figure.sortable table").filter(has_text="msrvtt-1ka test: all systems").first
        )

        def names() -> list[str]:
            return [text.strip() for text in table.locator("tbody th").all_inner_texts()]

        head = table.locator("thead button", has_text="R@1").first
        head.click()
        assert names() == ["X-Pool", "mean-pool"]
        head.press("Enter")
        assert names() == ["mean-pool", "X-Pool"]
        assert head.locator("..").get_attribute("aria-sort") == "ascending"
        table.locator("thead button", has_text="system").click()
        assert names() == ["mean-pool", "X-Pool"]
        assert head.locator("..").get_attribute("aria-sort") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_the_button_is_used(
    chromium: Any, address: str, scheme: str
) -> None:
    with Visit(chromium, address, scheme=scheme) as visit:

        def light() -> bool:
            colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
            return colour == "rgb(255, 255, 255)"

        assert light() is (scheme == "light")
        visit.page.click("#theme")
        assert light() is (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(chromium: Any, address: str, scheme: str) -> None:
    with Visit(chromium, address, scheme=scheme) as visit:
        weak = visit.page.evaluate(
            """() => {
                const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
                const read = (text) => text.match(/[\\d.]+/g).map(Number);
                const ground = (e) => {
                    for (; e; e = e.parentElement) {
                        const c = getComputedStyle(e).backgroundColor;
                        if (c.startsWith("rgb(")) return read(c);
                    }
                };
                const bad = new Set();
                for (const e of document.querySelectorAll("main *, nav *, header *")) {
                    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
                    const style = getComputedStyle(e);
                    const svg = e.namespaceURI.endsWith("svg");
                    if (svg && e.tagName === "title") continue;
                    const a = light(read(svg ? style.fill : style.color)), b = light(ground(e));
                    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                    if (ratio < 4.5) bad.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
                }
                return [...bad];
            }"""
        )
        assert weak == []


def test_printing_unfolds_everything(chromium: Any, address: str, tmp_path: Path) -> None:
    with Visit(chromium, address) as visit:
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert visit.page.locator("main details:not([open])").count() == 0
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert visit.page.locator("main details:not([open])").count() > 0
        visit.page.pdf(path=tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").stat().st_size > 10_000
