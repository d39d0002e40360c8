"""The search page against a live server: what is typed, seen, played, filtered, judged, taken away."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

# A page as of ``open_page``, and the server as of ``live``; both are in conftest.py.
OpenPage = Callable[..., Any]


def names(page: Any) -> list[str]:
    return page.locator(".result h3").all_inner_texts()


def moments(page: Any) -> list[str]:
    return page.locator(".result").evaluate_all("all => all.map((one) => one.dataset.moment)")


def values(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def search(page: Any, text: str) -> None:
    page.fill("#query", text)
    page.keyboard.press("Enter")
    settled(page)


def settled(page: Any) -> None:
    page.wait_for_selector(
        "#answer:not([hidden]):not([aria-busy]) .result, #answer:not([aria-busy]) .warning"
    )


def test_what_is_typed_is_found_and_shown_with_its_reasons(open_page: OpenPage, live: Any) -> None:
    page = open_page()
    text = live.captions[2]
    search(page, text)
    answer = live.get("/api/search", q=text, k=10)
    assert names(page) == [result["video"] for result in answer["results"]]
    first = answer["results"][0]
    card = page.locator(".result").first
    frames = card.locator(".strip .frame")
    assert frames.count() == len(first["frame_times_s"])
    largest = max(first["attention"])
    for place, weight in enumerate(first["attention"]):
        assert f"attention {round(100 * weight)} %" in frames.nth(place).get_attribute("aria-label")
        bar = frames.nth(place).locator(".bar > span").bounding_box()["height"]
        whole = frames.nth(place).locator(".bar").bounding_box()["height"]
        assert bar == pytest.approx(whole * weight / largest, abs=2)
    assert f"{first['score']:.2f}" in card.locator(".scores").inner_text()
    page.wait_for_selector(".strip.loaded")


def test_the_address_holds_the_search_and_back_and_forward_work(open_page: OpenPage, live: Any) -> None:
    page = open_page()
    search(page, live.captions[0])
    first = names(page)
    search(page, live.captions[5])
    second = names(page)
    assert values(page)["q"] == [live.captions[5]]
    page.go_back()
    page.wait_for_function("text => document.getElementById('query').value === text", arg=live.captions[0])
    assert names(page) == first
    page.go_forward()
    page.wait_for_function("text => document.getElementById('query').value === text", arg=live.captions[5])
    assert names(page) == second
    page.reload()
    settled(page)
    assert names(page) == second
    page.goto(live.address)
    page.locator("#start a", has_text=live.captions[5]).wait_for()  # among the recent queries


def test_a_moment_plays_from_where_it_begins(open_page: OpenPage, live: Any) -> None:
    page = open_page(f"/?q={quote(live.captions[1])}")
    settled(page)
    starts = [float(moment.split("-")[0]) for moment in moments(page)]
    begins = next(start_s for start_s in starts if start_s > 0.5)  # one that is not at the start of its file
    card = page.locator(".result").nth(starts.index(begins))
    card.locator("button", has_text="Play").click()
    page.wait_for_function("() => document.querySelector('dialog[open] video')?.readyState >= 2")
    early = page.evaluate("document.querySelector('dialog[open] video').currentTime")
    assert early >= begins - 0.1
    page.wait_for_function(
        "(early) => document.querySelector('dialog[open] video').currentTime > early + 0.2", arg=early
    )
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_pointing_and_arrow_keys_scrub(open_page: OpenPage, live: Any) -> None:
    page = open_page(f"/?q={quote(live.captions[0])}")
    settled(page)
    card = page.locator(".result", has=page.locator(".frame >> nth=2")).first
    told = card.locator(".preview .time")
    card.locator(".frame").nth(2).hover()
    assert told.inner_text().strip() == card.locator(".frame .at").nth(2).text_content()
    card.locator(".frame").nth(2).focus()
    page.keyboard.press("ArrowLeft")
    assert told.inner_text().strip() == card.locator(".frame .at").nth(1).text_content()
    assert page.evaluate("document.activeElement.matches('.frame.chosen')")
    # the picture follows what is told, of this card, which need not be the first
    hits = live.get("/api/search", q=live.captions[0], k=10)["results"]
    place = page.locator(".result").evaluate_all(
        "(cards, card) => cards.indexOf(card)", card.element_handle()
    )
    card.locator(f'.preview img[src*="t={hits[place]["frame_times_s"][1]:.3f}"]').wait_for(state="attached")


def test_filters_edit_the_query_and_the_query_fills_the_filters(open_page: OpenPage, live: Any) -> None:
    page = open_page()
    search(page, live.captions[0])
    page.click("#show-filters")
    folder = str(live.root / "videos" / "work")
    page.select_option("#filter-folder", folder)
    settled(page)
    page.wait_for_function("() => document.getElementById('summary').textContent.includes('filtered')")
    assert f"folder:{folder}" in page.input_value("#query")
    assert values(page)["q"] == [f"{live.captions[0]} folder:{folder}"]
    in_work = {path.name for path in (live.root / "videos" / "work").iterdir()}
    assert names(page)
    assert set(names(page)) <= in_work
    page.fill("#filter-longer", "9000")
    page.locator("#filter-longer").press("Tab")
    page.locator("#notes .warning", has_text="No video is left").wait_for()
    page.click("#clear-filters")
    page.wait_for_selector(".result")
    assert page.input_value("#query") == live.captions[0]
    page.go_back()
    page.wait_for_function("() => document.getElementById('filter-longer').value === '9000'")
    assert page.input_value("#filter-folder") == folder


def test_a_then_b_shows_a_strip_for_each_step(open_page: OpenPage, live: Any) -> None:
    page = open_page()
    query = "a circle then a star"
    search(page, query)
    answer = live.get("/api/search", q=query, k=10)
    assert answer["results"], "the library has videos of several scenes"
    card = page.locator(".result").first
    assert card.locator(".step").count() == len(answer["results"][0]["parts"]) == 2
    assert card.locator(".step").nth(0).inner_text().startswith("First")
    assert card.locator(".step").nth(1).inner_text().startswith("Then")


def test_more_like_this_searches_by_the_moment(open_page: OpenPage, live: Any) -> None:
    page = open_page(f"/?q={quote(live.captions[3])}")
    settled(page)
    video_id = page.locator(".result").first.get_attribute("data-moment").split("@")[1]
    name = names(page)[0]
    page.locator(".result").first.locator("button", has_text="More like this").click()
    page.wait_for_selector("#examples .chip")
    settled(page)
    assert values(page)["like"][0].endswith(f"@{video_id}")
    assert name in names(page)[:3], "nothing is more like a moment than itself and its copies"
    page.locator("#examples button").click()
    page.wait_for_selector("#start:not([hidden])")


def test_an_image_is_a_query(open_page: OpenPage, live: Any, tmp_path: Path) -> None:
    result = live.get("/api/search", q=live.captions[4], k=1)["results"][0]
    from urllib.request import urlopen

    picture = tmp_path / "frame.jpg"
    middle = result["frame_times_s"][len(result["frame_times_s"]) // 2]
    with urlopen(f"{live.address}/api/videos/{result['video_id']}/frame?t={middle}&w=320") as got:
        picture.write_bytes(got.read())
    page = open_page()
    page.set_input_files("#file", picture)
    page.wait_for_selector("#examples .chip")
    settled(page)
    assert "Image: frame.jpg" in page.inner_text("#examples")
    assert result["video"] in names(page)[:3]
    page.wait_for_function("() => document.querySelector('#examples img').naturalWidth > 0")


def test_a_file_that_is_neither_image_nor_video_is_refused(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    other = tmp_path / "notes.txt"
    other.write_text("no picture")
    page.set_input_files("#file", other)
    assert "notes.txt is neither an image nor a video" in page.inner_text("#messages .message")


def test_feedback_refines(open_page: OpenPage, live: Any) -> None:
    page = open_page(f"/?q={quote('a star')}")
    settled(page)
    assert page.locator("#refine").is_hidden()
    cards = page.locator(".result")
    cards.nth(1).get_by_role("button", name="Like", exact=True).click()
    cards.nth(0).get_by_role("button", name="Dislike", exact=True).click()
    assert "1 liked, 1 disliked" in page.inner_text("#refine")
    before = names(page)
    with page.expect_response(lambda response: response.url.endswith("/api/search")) as answered:
        page.click("#refine button.primary")
    body = json.loads(answered.value.request.post_data)
    assert len(body["liked"]) == len(body["disliked"]) == 1
    settled(page)
    assert len(values(page)["liked"]) == 1
    liked = page.get_by_role("button", name="Like", exact=True, pressed=True)
    assert liked.count() >= 1, "what was liked is still shown as liked"
    page.go_back()
    page.wait_for_function("() => !location.search.includes('liked')")
    assert names(page) == before


def test_nothing_fits_is_said(open_page: OpenPage) -> None:
    page = open_page()
    page.route(
        "**/api/search",
        lambda route: route.fulfill(json={**route.fetch().json(), "nothing_fits": True}),
    )
    search(page, "a tax return in the rain")
    assert "Nothing in this index stands out" in page.inner_text("#notes .warning")
    assert names(page), "the nearest are shown all the same"


def test_a_query_that_cannot_be_read_says_why(open_page: OpenPage) -> None:
    page = open_page(allow="the server responded with a status of 4")
    page.fill("#query", "-night")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('query-error').textContent !== ''")
    assert "add what to look for" in page.inner_text("#query-error")
    assert page.get_attribute("#query", "aria-invalid") == "true"


def test_more_results_come_below(open_page: OpenPage, live: Any) -> None:
    page = open_page()
    search(page, "a star")
    first = page.locator(".result").count()
    page.click("#more")
    page.wait_for_function("n => document.querySelectorAll('.result').length > n", arg=first)
    ranks = [int(text) for text in page.locator(".result .rank").all_inner_texts()]
    assert ranks == list(range(1, len(ranks) + 1))
    page.reload()
    settled(page)
    assert page.locator(".result").count() == len(ranks), "the address tells how many were shown"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_selected_results_are_exported(open_page: OpenPage, tmp_path: Path, kind: str) -> None:
    page = open_page("/?q=a+star")
    settled(page)
    for place in (0, 2):
        page.locator(".result").nth(place).get_by_label("Select").check()
    assert "2 moments selected" in page.inner_text("#selection")
    with page.expect_download() as started:
        page.locator("#selection button", has_text=kind.upper()).first.click()
    started.value.save_as(tmp_path / "out")
    text = (tmp_path / "out").read_text(encoding="utf-8")
    wanted = [names(page)[place] for place in (0, 2)]
    assert started.value.suggested_filename.endswith(f".{kind}")
    assert all(name in text for name in wanted)
    if kind == "csv":
        assert len(list(csv.DictReader(text.splitlines()))) == 2
    else:
        json.loads(text)


def test_a_clip_of_a_moment_is_cut(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/?q=a+star")
    settled(page)
    page.locator(".result").first.get_by_label("Select").check()
    with page.expect_download() as started:
        page.locator("#selection button", has_text="Clips").click()
    started.value.save_as(tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"


def test_with_and_without_reranking_side_by_side(open_page: OpenPage) -> None:
    page = open_page("/?q=a+star&index=reranked")
    settled(page)
    page.get_by_label("Compare").check()
    page.wait_for_selector("#lists.side-by-side")
    assert page.locator("#lists h2").all_inner_texts() == ["With reranking", "Without reranking"]
    left = page.locator("#lists .results").first
    both = moments(page)
    half = left.locator(".result").count()
    places = {moment: place for place, moment in enumerate(both[half:], start=1)}
    for place, moment in enumerate(both[:half], start=1):
        moved = left.locator(".moved").nth(place - 1).inner_text()
        before = places.get(moment)
        assert moved == (
            "same place" if before == place else f"was below {len(places)}" if before is None else
            f"▲ {before - place}, was {before}" if before > place else f"▼ {place - before}, was {before}"
        )  # fmt: skip
    assert values(page)["compare"] == ["1"]


def test_a_model_without_reranker_offers_no_comparison(open_page: OpenPage) -> None:
    page = open_page("/?q=a+star")
    settled(page)
    assert page.locator("#compare").is_hidden()


def test_words_by_frames_are_shown_for_x_clip(open_page: OpenPage, live: Any) -> None:
    page = open_page("/?q=a+red+star&index=words")
    settled(page)
    card = page.locator(".result").first
    card.locator("button", has_text="Explain").click()
    card.locator(".explanation table").wait_for()
    start_s, end_s, video_id = re.fullmatch(
        r"([\d.]+)-([\d.]+)@(.+)", card.get_attribute("data-moment")
    ).groups()
    explained = live.get(
        f"/api/videos/{video_id}/explain", q="a red star", index="words", start=start_s, end=end_s
    )
    frames = len(explained["frame_times_s"])
    assert card.locator(".explanation thead th").count() == frames
    rows = [text.strip() for text in card.locator(".explanation tbody th").all_inner_texts()]
    assert {"red", "star"} <= set(rows)
    assert card.locator(".explanation tbody td").count() == frames * len(rows)


def test_a_subtitle_that_matched_is_shown_as_text(open_page: OpenPage) -> None:
    page = open_page("/?q=lighthouse")
    settled(page)
    said = page.locator(".said", has_text="lighthouse").first
    said.wait_for()
    assert "Subtitles: place 1" in said.inner_text()


def test_names_that_hold_markup_are_text(open_page: OpenPage, live: Any) -> None:
    page = open_page(f"/?q={quote(live.captions[1])}&fold=0")
    settled(page)
    assert any("<img src=x" in name for name in names(page))
    assert page.locator("img[src=x]").count() == 0


def test_the_choice_of_an_index_stays(open_page: OpenPage) -> None:
    page = open_page("/?q=a+star")
    settled(page)
    page.select_option("#index", "words")
    settled(page)
    assert values(page)["index"] == ["words"]
    assert "index=words" in page.get_attribute("nav a[data-page=library]", "href")


def test_the_syntax_is_explained_beside_the_box(open_page: OpenPage) -> None:
    page = open_page()
    page.click("#show-syntax")
    assert page.locator("#syntax").is_visible()
    box = page.locator("#syntax").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    page.keyboard.press("Escape")
    assert page.locator("#syntax").is_hidden()
