"""The MCP server as an agent meets it: the real command, the SDK's own client, over stdio and over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from PIL import Image, ImageChops, ImageStat

from framesift.index import Index
from framesift.storyboard import standard, video_name, write_split
from framesift.video.pictures import picture_at

httpx2 = pytest.importorskip("httpx2", reason="the SDK's HTTP client")
mcp = pytest.importorskip("mcp", reason="the MCP SDK: pip install 'framesift[mcp]'")
streamable_http_client = pytest.importorskip("mcp.client.streamable_http").streamable_http_client

COMMAND = str(Path(sys.executable).with_name("framesift"))
TOOLS = {"search", "describe", "fetch_frame", "fetch_sheet", "list_videos", "index_info"}
TOKEN = "a-token-for-tests"
ODD_NAME = b"odd \xff\n name.mp4"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos, one of them with a name that is neither UTF-8 nor one line, a broken file, and an index of them."""
    folder = tmp_path_factory.mktemp("library")
    videos = folder / "videos"
    write_split(standard(6).videos, videos)
    os.rename(sorted(videos.glob("*.mp4"))[-1], os.path.join(os.fsencode(videos), ODD_NAME))
    (videos / "broken.mp4").write_bytes(b"no video at all")
    write_split(standard(7).videos[6:], folder / "private")
    with Index.create(folder / "shapes.index", model="storyboard-xpool", moments="whole") as index:
        report = index.add(videos)
    assert (report.added, len(report.failed)) == (6, 1)
    return folder


class Session:
    """A connected client that is called from ordinary tests."""

    def __init__(self, portal: BlockingPortal, client: Any) -> None:
        self.portal, self.client = portal, client

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.portal.call(self.client.call_tool, tool, arguments)

    def data(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = self.call(tool, **arguments)
        assert not answer.is_error, answer.content
        return answer.structured_content

    def error(self, tool: str, **arguments: Any) -> str:
        answer = self.call(tool, **arguments)
        assert answer.is_error, answer
        assert answer.structured_content is None
        assert "Traceback" not in answer.content[0].text
        return answer.content[0].text


@contextmanager
def connected(client: Any) -> Generator[Session]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client) as opened:
        yield Session(portal, opened)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(folder), "HF_HUB_OFFLINE": "1", **more}


@pytest.fixture(scope="module")
def agent(library: Path) -> Generator[Session]:
    """A client that speaks the protocol as most do now, to ``framesift mcp`` as its child process."""
    server = mcp.StdioServerParameters(
        command=COMMAND, args=["mcp", "-i", "shapes.index"], cwd=library, env=environment(library)
    )
    with connected(mcp.Client(server, mode="legacy", read_timeout_seconds=120)) as session:
        yield session


def images(answer: Any) -> list[Image.Image]:
    found = [block for block in answer.content if block.type == "image"]
    assert {block.mime_type for block in found} <= {"image/jpeg"}
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in found]


def test_the_tools_are_declared_with_schemas_and_as_harmless(agent: Session) -> None:
    tools = {tool.name: tool for tool in agent.portal.call(agent.client.list_tools).tools}
    assert set(tools) == TOOLS
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema["type"] == "object"
        assert tool.annotations.read_only_hint is True
    k = tools["search"].input_schema["properties"]["k"]
    assert (k["minimum"], k["maximum"]) == (1, 50)
    assert "shapes" in agent.client.instructions


def test_index_info_tells_what_is_there(agent: Session) -> None:
    (shapes,) = agent.data("index_info")["indexes"]
    assert shapes["name"] == "shapes"
    assert (shapes["videos"], shapes["failed"], shapes["moments"]) == (6, 1, 6)
    assert shapes["model"] == "storyboard-xpool"


def test_a_tag_is_served_until_it_moves(library: Path) -> None:
    with Index.open(library / "shapes.index") as index:
        index.publish("shown")
    command = [COMMAND, "mcp", "-i", "shapes.index", "--tag", "show"]
    refused = subprocess.run(
        command,
        cwd=library,
        env=environment(library),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 5
    assert b"has no tag 'show' (there are shown); did you mean 'shown'?" in refused.stderr
    server = mcp.StdioServerParameters(
        command=COMMAND, args=[*command[1:-1], "shown"], cwd=library, env=environment(library)
    )
    first = standard(6)
    with connected(mcp.Client(server, mode="legacy", read_timeout_seconds=120)) as session:
        assert session.data("index_info")["indexes"][0]["videos"] == 6
        with Index.open(library / "shapes.index") as index:
            uri = next(record.uri for record in index.videos() if record.status == "ok")
            index.tag(uri, add=["new"])
            query = f"{first.texts[0]} tag:new"
            assert session.data("search", query=query, k=3)["results"] == []
            index.publish("shown")
        assert len(session.data("search", query=query, k=3)["results"]) == 1
        with Index.open(library / "shapes.index") as index:
            index.tag(uri, remove=["new"])
            index.withdraw("shown")


def test_search_finds_what_the_index_finds(agent: Session, library: Path) -> None:
    query = standard(6).texts[0]
    found = agent.data("search", query=query, k=3)
    with Index.open(library / "shapes.index") as index:
        hits = index.search(query, k=3)
    assert [hit["score"] for hit in found["results"]] == pytest.approx([hit.score for hit in hits], abs=1e-5)
    for hit, expected in zip(found["results"], hits, strict=True):
        assert hit["start_s"] <= hit["best_frame_s"] <= hit["end_s"]
        assert hit["focus"] == {"start_s": expected.focus_s[0], "end_s": expected.focus_s[1]}
    again = agent.data("search", query=query, k=2, offset=1)
    assert [hit["video"] for hit in again["results"]] == [hit["video"] for hit in found["results"][1:]]


def test_queries_have_the_syntax_of_the_command_line(agent: Session, library: Path) -> None:
    steps = agent.data("search", query="a red circle then a star", k=1)["results"][0]["steps"]
    assert [step["start_s"] for step in steps] == sorted(step["start_s"] for step in steps)
    assert len(steps) == 2
    name = video_name(standard(6).videos[0])
    (only,) = agent.data("search", query=f"a star name:{name}")["results"]
    assert only["video"] == str(library / "videos" / name)
    none = agent.call("search", query="a star name:nothing*")
    assert none.structured_content["searched"] == 0
    assert "none of its videos passes" in none.content[0].text
    assert "never closed" in agent.error("search", query='"a star')


def test_search_shows_the_frames_that_fit_best(agent: Session) -> None:
    answer = agent.call("search", query="a red circle", k=3, pictures=2, width_px=64)
    assert [max(image.size) for image in images(answer)] == [64, 64]
    text = answer.content[0].text
    for hit in answer.structured_content["results"]:
        assert f"{hit['rank']}. {hit['video']} from" in text
    assert "Image 2: result 2 at" in text


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean of the channels, in grey levels."""
    assert one.size == other.size
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def test_a_frame_is_that_of_the_file(agent: Session, library: Path) -> None:
    (hit,) = agent.data("search", query="a star", k=1)["results"]
    answer = agent.call("fetch_frame", video=hit["video"], time_s=1.5)
    (shown,) = images(answer)
    at = {time_s: picture_at(videos_of(library)[hit["video"]], time_s) for time_s in (0.0, 1.5)}
    assert difference(shown, at[1.5]) < difference(shown, at[0.0]) / 2
    assert answer.structured_content["width_px"] == shown.width
    late = agent.call("fetch_frame", video=hit["video"], time_s=1e6)
    assert "last frame" in late.content[0].text
    assert images(late)


def videos_of(library: Path) -> dict[str, str]:
    with Index.open(library / "shapes.index") as index:
        records = index.videos()
    return {r.uri.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n"): r.uri for r in records}


def test_a_sheet_is_one_image_of_many_frames(agent: Session) -> None:
    (hit,) = agent.data("search", query="a star", k=1)["results"]
    answer = agent.call("fetch_sheet", video=hit["video"], start_s=1, end_s=3, frames=8, width_px=600)
    assert answer.structured_content["times_s"] == pytest.approx([1.125 + 0.25 * n for n in range(8)])
    (sheet,) = images(answer)
    assert sheet.width > sheet.height
    assert sheet.width < 640
    assert "no length" in agent.error("fetch_sheet", video=hit["video"], start_s=500)
    assert "no length" in agent.error("fetch_sheet", video=hit["video"], start_s=3, end_s=2)


def test_captions_are_ranked_by_what_the_video_shows(agent: Session, library: Path) -> None:
    shapes = standard(6)
    captions = list(shapes.texts)
    video = str(library / "videos" / video_name(shapes.videos[0]))
    ranked = agent.data("describe", video=video, captions=captions)["captions"]
    assert [one["rank"] for one in ranked] == list(range(1, 7))
    assert [one["score"] for one in ranked] == sorted((one["score"] for one in ranked), reverse=True)
    assert captions[0] in [one["caption"] for one in ranked[:2]]
    part = agent.data("describe", video=video, captions=captions, start_s=1, end_s=2, k=1)
    assert (part["start_s"], part["end_s"], len(part["captions"])) == (1, 2, 1)
    assert "empty" in agent.error("describe", video=video, captions=["a star", " "])
    assert "at least 1 item" in agent.error("describe", video=video, captions=[])


def test_a_video_with_an_odd_name_is_shown_in_one_line_and_can_be_asked_for(agent: Session) -> None:
    (odd,) = agent.data("list_videos", name="odd*")["videos"]
    assert odd["video"].endswith(r"odd \udcff\n name.mp4")
    for name in (odd["video"], odd["video_id"]):
        assert images(agent.call("fetch_frame", video=name, time_s=0))


def test_videos_are_listed_by_pages(agent: Session) -> None:
    everything = agent.data("list_videos")
    assert everything["total"] == 7
    pages = [agent.data("list_videos", limit=3, offset=offset)["videos"] for offset in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [one for page in pages for one in page] == everything["videos"]
    (broken,) = agent.data("list_videos", status="failed")["videos"]
    assert broken["error"]
    assert agent.data("list_videos", status="ok", name="BROKEN")["total"] == 0


def test_only_indexed_videos_are_read(agent: Session, library: Path) -> None:
    (private,) = (library / "private").glob("*.mp4")
    indexed = next(path for path in sorted((library / "videos").glob("storyboard*.mp4")))
    names = [
        "/etc/passwd",
        str(private),
        f"{library}/videos/../private/{private.name}",
        f"{indexed}/../{indexed.name}",
        f"{indexed}\0.mp4",
        f"file://{indexed}",
        indexed.name,
        ".",
        "x" * 4096,
    ]
    for name in names:
        assert "holds no video" in agent.error("fetch_frame", video=name, time_s=0), name
    assert "at most 4096" in agent.error("fetch_frame", video="x" * 4097, time_s=0)
    assert "could not be read" in agent.error(
        "fetch_frame", video=str(library / "videos" / "broken.mp4"), time_s=0
    )
    kept = indexed.with_suffix(".kept")
    indexed.rename(kept)
    try:
        assert "No such file" in agent.error("fetch_frame", video=str(indexed), time_s=0)
        indexed.symlink_to(private)
        assert "has changed" in agent.error("fetch_frame", video=str(indexed), time_s=0)
        assert "has changed" in agent.error("fetch_sheet", video=str(indexed))
    finally:
        indexed.unlink(missing_ok=True)
        kept.rename(indexed)
    assert images(agent.call("fetch_frame", video=str(indexed), time_s=0))


def test_errors_say_what_to_do(agent: Session) -> None:
    assert "query is empty" in agent.error("search", query="  ")
    assert "one of shapes; did you mean 'shapes'" in agent.error("search", query="a star", index="shape")
    assert "less than or equal to 50" in agent.error("search", query="a star", k=1000)
    assert "at most 2000" in agent.error("search", query="a star " * 1000)
    assert "query" in agent.error("search")
    assert "width_px" in agent.error("fetch_frame", video="x", time_s=0, width_px=100_000)
    assert "time_s" in agent.error("fetch_frame", video="x", time_s=-1)
    assert "nonsense" in agent.error("nonsense")
    assert agent.data("search", query="a star \U0001f600 \0 \u2028")["results"], "the session goes on"


def test_many_calls_at_once_each_get_their_own_answer(agent: Session) -> None:
    queries = [f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("star", "circle")]
    alone = [agent.data("search", query=query, k=6) for query in queries]

    async def together() -> list[Any]:
        answers: list[Any] = [None] * (4 * len(queries))

        async def one(number: int) -> None:
            query = queries[number % len(queries)]
            answers[number] = await agent.client.call_tool("search", {"query": query, "k": 6, "pictures": 1})

        async with anyio.create_task_group() as tasks:
            for number in range(len(answers)):
                tasks.start_soon(one, number)
        return answers

    for number, answer in enumerate(agent.portal.call(together)):
        found = answer.structured_content["results"]
        assert [hit["video"] for hit in found] == [
            hit["video"] for hit in alone[number % len(queries)]["results"]
        ]
        assert len(images(answer)) == 1


def test_a_cancelled_call_leaves_the_server_working(agent: Session) -> None:
    (hit,) = agent.data("search", query="a star", k=1)["results"]

    async def given_up() -> None:
        for _ in range(20):
            with anyio.move_on_after(0.002):
                await agent.client.call_tool("fetch_sheet", {"video": hit["video"], "frames": 32})

    agent.portal.call(given_up)
    assert images(agent.call("fetch_frame", video=hit["video"], time_s=0))


def test_nothing_but_the_protocol_is_on_stdout(library: Path) -> None:
    lines = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "no/such/method"},
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "tools/call",
            "params": {"name": "search", "arguments": {"query": ""}},
        },
    ]
    lone = lines[-1] | {"id": 4, "params": {"name": "search", "arguments": {"query": "half a pair \ud83d"}}}
    sent = "this is no JSON\n\n[1, 2\n".join(json.dumps(line) + "\n" for line in [*lines, lone])
    done = subprocess.run(
        [COMMAND, "mcp", "--index", "shapes.index"],
        cwd=library,
        env={**os.environ, **environment(library, PYTHONWARNINGS="always")},
        input=sent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    by_id = {answer["id"]: answer for answer in answers if "id" in answer}
    assert by_id[1]["result"]["serverInfo"]["name"] == "framesift"
    assert "error" in by_id[2]
    assert "shapes: serving on the standard streams" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_had_is_told_in_every_call(library: Path) -> None:
    server = mcp.StdioServerParameters(
        command=COMMAND,
        args=["mcp", "-i", "shapes.index", "-m", "storyboard-xpol"],
        cwd=library,
        env=environment(library),
    )
    with connected(mcp.Client(server, read_timeout_seconds=120)) as session:
        for _ in range(2):
            assert "did you mean 'storyboard-xpool'" in session.error("search", query="a star")


@contextmanager
def http_server(folder: Path, *arguments: str, **more: str) -> Generator[str]:
    """The URL of a real server; it must end within seconds of SIGINT, without a traceback."""
    process = subprocess.Popen(
        [COMMAND, "mcp", "-i", "shapes.index", "--http", "--port", "0", *arguments],
        cwd=folder,
        env={**os.environ, **environment(folder, **more)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        url = re.search(r"http://\S+", line)
        assert url, line + process.stderr.read()
        yield url[0]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        assert "Traceback" not in errors
        assert TOKEN not in line + errors
    finally:
        process.kill()
        process.wait()


def test_http_is_for_local_clients_with_the_token(library: Path) -> None:
    with http_server(library, FRAMESIFT_TOKEN=TOKEN) as url:
        right = {"Authorization": f"Bearer {TOKEN}"}
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        }

        def status(**headers: str | bytes) -> int:
            accepted = {"Accept": "application/json, text/event-stream"}
            return httpx2.post(url, json=hello, headers={**accepted, **headers}).status_code

        assert status() == 401
        assert status(Authorization=f"Bearer {TOKEN}x") == 401
        assert status(Authorization=f"Basic {TOKEN}") == 401
        assert status(Authorization="Bearer é".encode()) == 401
        assert status(**right, Host="evil.example") == 421
        assert status(**right, Host="127.0.0.1:1") == 421
        assert status(**right, Origin="http://evil.example") == 403
        assert status(**right) == 200
        assert httpx2.get(url.replace("/mcp", "/"), headers=right).status_code == 404
        big = httpx2.post(
            url, content=b"[" * (5 << 20), headers={**right, "Content-Type": "application/json"}
        )
        assert big.status_code == 413

        @asynccontextmanager
        async def client() -> AsyncGenerator[Any]:
            async with httpx2.AsyncClient(headers=right, timeout=120) as http:
                transport = streamable_http_client(url, http_client=http)
                async with mcp.Client(transport, read_timeout_seconds=120) as opened:
                    yield opened

        with connected(client()) as session:
            (hit,) = session.data("search", query="a star", k=1)["results"]
            assert images(session.call("fetch_frame", video=hit["video"], time_s=1))
            assert "query is empty" in session.error("search", query=" ")


def run(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "mcp", *arguments],
        cwd=folder,
        env={**os.environ, **environment(folder, **more)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_cannot_be_served_is_one_line_and_an_exit_code(library: Path) -> None:
    missing = run("-i", "nowhere.index", folder=library)
    assert missing.returncode == 5
    assert "no index at" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = run("-i", "shapes.index", "--http", "--port", port, folder=library)
    assert refused.returncode == 2
    assert "cannot listen" in refused.stderr
    short = run("-i", "shapes.index", "--http", folder=library, FRAMESIFT_TOKEN="abc")
    assert short.returncode == 2
    assert "abc" not in short.stderr
    for done in (missing, refused, short):
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_without_the_extra_it_says_what_to_install(library: Path) -> None:
    code = (
        "import sys; sys.modules['mcp'] = None; sys.argv = ['framesift', 'mcp']\n"
        "from framesift.cli.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "framesift[mcp]" in done.stderr
