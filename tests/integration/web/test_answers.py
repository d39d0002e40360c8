"""What the API answers: searches, lists, pictures, files; the same things that the library says."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import httpx
import opentimelineio as otio
import pytest
from PIL import Image

from framesift.index import Index
from framesift.search.searcher import Searcher
from framesift.storyboard import standard

CAPTION = standard(6).texts[2]


def test_a_search_says_what_the_library_says(client: httpx.Client, shelf) -> None:
    got = client.get("/api/search", params={"q": CAPTION, "k": 3}).json()
    with Index.open(shelf.index) as index:
        wanted = Searcher(index).search(CAPTION, k=3)
    assert [one["score"] for one in got["results"]] == pytest.approx(
        [one.hit.score for one in wanted.results]
    )
    for one, result in zip(got["results"], wanted.results, strict=True):
        assert one["video_id"] == result.video_id
        assert one["video"] == Path(result.hit.video).name
        assert one["folder"] == str(shelf.videos)
        assert one["attention"] == pytest.approx(list(result.hit.attention), abs=1e-6)
        assert len(one["frame_times_s"]) == len(one["attention"])
    assert (got["moments"], got["can_rerank"], got["index"]) == (6, False, "small")


def test_both_ways_to_ask_give_one_answer(client: httpx.Client) -> None:
    by_line = client.get("/api/search", params={"q": CAPTION, "k": 2, "unit": "video"}).json()
    by_body = client.post("/api/search", json={"query": CAPTION, "k": 2, "unit": "video"}).json()
    assert by_line["results"] == by_body["results"]


def test_pages_follow_one_another(client: httpx.Client) -> None:
    whole = client.post("/api/search", json={"query": CAPTION, "k": 6, "group_duplicates": False}).json()
    pages, offset = [], 0
    while offset is not None:
        page = client.post(
            "/api/search", json={"query": CAPTION, "k": 2, "offset": offset, "group_duplicates": False}
        ).json()
        pages += page["results"]
        offset = page["next_offset"]
    assert [one["video_id"] for one in pages] == [one["video_id"] for one in whole["results"]]


def test_a_moment_is_like_itself(client: httpx.Client, video_id: str) -> None:
    like = [{"video_id": video_id, "start_s": 0.0, "end_s": 1.0}]
    got = client.post("/api/search", json={"like": like, "k": 1}).json()
    assert got["results"][0]["video_id"] == video_id


def test_an_uploaded_frame_finds_its_video(client: httpx.Client) -> None:
    video = client.get("/api/search", params={"q": CAPTION, "k": 1}).json()["results"][0]
    picture = client.get(f"/api/videos/{video['video_id']}/frame", params={"t": 1.0, "w": "320"}).content
    sent = client.post("/api/uploads", files={"file": ("../../a <b>.jpg", picture)})
    assert sent.status_code == 201
    upload = sent.json()
    assert (upload["kind"], upload["name"]) == ("image", "a <b>.jpg")
    got = client.post("/api/search", json={"upload": {"id": upload["id"]}, "k": 3}).json()
    assert video["video_id"] in [one["video_id"] for one in got["results"]]


def test_an_uploaded_clip_finds_its_video(client: httpx.Client, video_id: str) -> None:
    clip = client.get(f"/api/videos/{video_id}/media").content
    upload = client.post("/api/uploads", files={"file": ("clip.mp4", clip)}).json()
    assert upload["kind"] == "clip"
    assert upload["duration_s"] > 0
    got = client.post("/api/search", json={"upload": {"id": upload["id"]}, "k": 1}).json()
    assert got["results"][0]["video_id"] == video_id
    late = {"id": upload["id"], "start_s": 1000.0}
    refused = client.post("/api/search", json={"upload": late})
    assert refused.status_code == 400
    assert "clip.mp4" in refused.json()["error"]["message"]
    assert "cache" not in refused.text


def test_the_list_of_videos_is_filtered_and_cut(client: httpx.Client, shelf) -> None:
    whole = client.get("/api/videos").json()
    assert whole["total"] == 6
    page = client.get("/api/videos", params={"offset": 4, "limit": 4}).json()
    assert [one["name"] for one in page["videos"]] == [one["name"] for one in whole["videos"]][4:]
    assert client.get("/api/videos", params={"status": "failed"}).json()["total"] == 0
    assert client.get("/api/videos", params={"folder": str(shelf.videos)}).json()["total"] == 6
    assert client.get("/api/videos", params={"folder": str(shelf.root / "vid")}).json()["total"] == 0


def test_a_video_tells_its_moments(client: httpx.Client, video_id: str) -> None:
    video = client.get(f"/api/videos/{video_id}").json()
    assert video["moments"][0]["start_s"] == 0.0
    assert video["moments"][-1]["end_s"] == pytest.approx(video["duration_s"])
    assert video["subtitles"] == []


def test_pictures_are_what_was_asked_for(client: httpx.Client, video_id: str) -> None:
    base = f"/api/videos/{video_id}"
    frame = client.get(f"{base}/frame", params={"t": 1, "w": "160"})
    assert frame.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(frame.content)).size == (128, 128)  # never enlarged
    strip = client.get(f"{base}/strip", params={"t": "0,0.5,1,1.5", "w": "160"})
    assert Image.open(io.BytesIO(strip.content)).size == (4 * 128, 128)
    sheet = client.get(f"{base}/sheet", params={"frames": 4})
    assert Image.open(io.BytesIO(sheet.content)).width > 4 * 128
    again = client.get(f"{base}/frame", params={"t": 1, "w": "160"}, headers={"range": "bytes=0-9"})
    assert (again.status_code, again.content) == (206, frame.content[:10])


@pytest.mark.parametrize("t", ["", "x", "1,,2", "-1", "nan", "1e400", ",".join(["1"] * 65)])
def test_times_that_are_none_are_refused(client: httpx.Client, video_id: str, t: str) -> None:
    assert client.get(f"/api/videos/{video_id}/strip", params={"t": t}).status_code == 400


def test_a_clip_is_an_mp4_with_a_name_of_its_own(client: httpx.Client, video_id: str) -> None:
    base = f"/api/videos/{video_id}"
    assert client.get(f"{base}/playable").json()["how"] == "direct"
    played = client.get(f"{base}/play", params={"start": 0, "end": 1})
    assert played.content[4:8] == b"ftyp"
    cut = client.get(f"{base}/cut", params={"start": 0, "end": 1, "mode": "encode"})
    assert cut.content[4:8] == b"ftyp"
    disposition = cut.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.count('"') == 2  # the quotes in the video's name are gone
    assert "%C3%BC" in disposition  # the ü, as RFC 6266 has it
    assert client.get(f"{base}/cut", params={"start": 3, "end": 2}).status_code == 400


def test_why_and_where_a_query_fits(client: httpx.Client, video_id: str) -> None:
    base = f"/api/videos/{video_id}"
    line = client.get(f"{base}/timeline", params={"q": CAPTION}).json()
    assert line["moments"]
    assert line["frames"]
    why = client.get(f"{base}/explain", params={"q": CAPTION, "start": 0, "end": 1}).json()
    assert sum(why["frame_weight"]) == pytest.approx(1.0, abs=1e-3)
    assert why["word_frame"] is None  # X-Pool has none


def test_captions_are_ranked_for_a_video(client: httpx.Client, video_id: str) -> None:
    own = standard(6).texts[0]  # of the video with the odd name
    body = {"captions": [CAPTION, own, "a yellow cross"]}
    got = client.post(f"/api/videos/{video_id}/describe", json=body).json()["captions"]
    assert [one["rank"] for one in got] == [1, 2, 3]
    assert got[0]["text"] == own
    assert sum(got[0]["attention"]) == pytest.approx(1.0, abs=1e-3)
    part = client.post(f"/api/videos/{video_id}/describe", json={**body, "start_s": 0.2, "end_s": 1.0})
    assert len(part.json()["captions"]) == 3


@pytest.mark.parametrize("format", ["csv", "json"])
def test_results_become_a_table(client: httpx.Client, video_id: str, format: str) -> None:
    moment = {"video_id": video_id, "start_s": 0.0, "end_s": 1.5, "score": 0.5, "text": "=1+1"}
    got = client.post("/api/export", json={"format": format, "results": [moment], "query": "=2"})
    assert got.status_code == 200
    assert f'filename="framesift.{format}"' in got.headers["content-disposition"]
    assert "1.5" in got.text
    if format == "csv":
        assert "'=1+1" in got.text


@pytest.mark.parametrize(
    ("format", "kind", "sign"),
    [
        ("edl", "text/plain", "TITLE: a star"),
        ("fcpxml", "application/xml", "<asset-clip "),
        ("otio", "application/json", '"OTIO_SCHEMA"'),
    ],
)
def test_results_become_a_timeline(
    client: httpx.Client, video_id: str, format: str, kind: str, sign: str
) -> None:
    moment = {"video_id": video_id, "start_s": 0.25, "end_s": 1.25, "text": "a ü <b>"}
    body = {"format": format, "results": [moment, moment], "query": "a star"}
    got = client.post("/api/export", json=body)
    assert got.status_code == 200, got.text
    assert got.headers["content-type"].startswith(kind)
    assert f'filename="framesift.{format}"' in got.headers["content-disposition"]
    assert sign in got.text
    if format == "fcpxml":
        clips = ElementTree.fromstring(got.text).findall(".//asset-clip")
        assert [Fraction(clip.get("duration", "").removesuffix("s")) for clip in clips] == [1, 1]
    if format == "otio":
        timeline = otio.adapters.read_from_string(got.text, "otio_json")
        assert [clip.duration().to_seconds() for clip in timeline.find_clips()] == [1.0, 1.0]


def test_a_strip_too_wide_for_a_jpeg_is_refused(client: httpx.Client, video_id: str) -> None:
    times = ",".join(["1"] * 64)
    got = client.get(f"/api/videos/{video_id}/strip", params={"t": times, "w": "1280"})
    assert got.status_code == 400
    assert "JPEG" in got.json()["error"]["message"]


def test_captions_beside_the_videos_make_a_benchmark(client: httpx.Client) -> None:
    listed = client.get("/api/benchmark", params={"limit": 3}).json()
    assert listed["available"]
    assert len(listed["captions"]) == 3
    one = client.get(f"/api/benchmark/{listed['captions'][0]['n']}").json()
    assert len(one["top"]) == 5
    assert one["truth"]["rank"] >= 1
    assert sum(hit["truth"] for hit in one["top"]) == (one["truth"]["rank"] <= 5)
    assert client.get("/api/benchmark/100000").status_code == 404


def test_the_metrics_count_requests_by_route(client: httpx.Client, video_id: str) -> None:
    client.get(f"/api/videos/{video_id}")
    text = client.get("/metrics").text
    assert 'route="/api/videos/{video_id}"' in text
    assert video_id not in text
    assert 'framesift_videos{index="small",status="ok"} 6.0' in text


def test_an_unknown_thing_is_404_with_a_sentence(client: httpx.Client) -> None:
    for path in ("/api/videos/none", "/api/jobs/none", "/api/search?q=x&index=none", "/api/none"):
        got = client.get(path)
        assert got.status_code == 404
        assert got.json()["error"]["message"]
