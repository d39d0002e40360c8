"""Files of the library: ranges, and that nothing but what was indexed is ever read."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from colour_model import ColourModel, write_clip
from framesift.index import Index
from framesift.index.build import BuildConfig
from framesift.index.schema import VideoRecord
from framesift.web import services
from framesift.web.app import create_app
from framesift.web.files import Allowed
from framesift.web.settings import Settings
from live_server import serving

NAMES = ("whole.mp4", "swapped.mp4", "inside.mp4", "changed.mp4", "gone.mp4")  # each for one test to spoil
HERE = BuildConfig(workers=0)  # decoding in this process: starting others takes longer than these tests


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("library")
    for name in NAMES:
        write_clip(library / "videos" / name, ["red"])
    return library


@pytest.fixture(scope="module")
def open_index(library: Path) -> Iterator[Index]:
    with Index.create(library / "my.index", model=ColourModel()) as index:  # type: ignore[arg-type]
        index.add(library / "videos", config=HERE)
        yield index


@pytest.fixture(scope="module")
def client(library: Path, open_index: Index) -> Iterator[httpx.Client]:
    settings = Settings(
        allow_folders=(library / "videos",), state=library / "state", cache=library / "cache", picture_s=20.0
    )
    with serving(create_app({"my": open_index}, settings=settings)) as client:
        yield client


def ids(client: httpx.Client) -> dict[str, str]:
    return {one["name"]: one["video_id"] for one in client.get("/api/videos").json()["videos"]}


def test_ranges_are_those_of_the_file(client: httpx.Client, library: Path) -> None:
    url = f"/api/videos/{ids(client)['whole.mp4']}/media"
    data = (library / "videos" / "whole.mp4").read_bytes()
    size = len(data)

    def ask(header: str) -> httpx.Response:
        return client.get(url, headers={"range": header})

    whole = client.get(url)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "video/mp4"
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    for header, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{10 * size}", 5, size),
        (f"bytes=-{10 * size}", 0, size),
    ):
        got = ask(header)
        assert (got.status_code, got.content) == (206, data[start:end]), header
        assert got.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    several = ask("bytes=0-3,8-11")
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert data[:4] in several.content
    assert data[8:12] in several.content
    for header in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}"):
        got = ask(header)
        assert got.status_code == 416
        assert got.headers["content-range"] == f"bytes */{size}"
    assert ask("bytes=9-3").status_code in (400, 416)
    assert ask("lines=1-2").status_code in (200, 400)
    many = ask("bytes=" + ",".join(f"{i}-{i}" for i in range(0, 400, 2)))
    assert len(many.content) <= size + 400 * 200  # not a multiple of the file
    etag = whole.headers["etag"]
    assert client.get(url, headers={"range": "bytes=0-1", "if-range": etag}).status_code == 206
    assert client.get(url, headers={"range": "bytes=0-1", "if-range": '"other"'}).status_code == 200


def every_picture_of(client: httpx.Client, video_id: str) -> list[httpx.Response]:
    base = f"/api/videos/{video_id}"
    return [
        client.get(f"{base}/media"),
        client.get(f"{base}/frame", params={"t": 0.1}),
        client.get(f"{base}/strip", params={"t": "0.1"}),
        client.get(f"{base}/sheet"),
        client.get(f"{base}/play"),
        client.get(f"{base}/cut", params={"start": 0, "end": 0.5}),
    ]


def test_a_file_swapped_for_a_link_is_refused(client: httpx.Client, library: Path) -> None:
    secret = library / "secret.mp4"
    shutil.copy2(
        library / "videos" / "swapped.mp4", secret
    )  # of the same size and time: only where it lies tells
    swapped = library / "videos" / "swapped.mp4"
    swapped.unlink()
    swapped.symlink_to(secret)
    for got in every_picture_of(client, ids(client)["swapped.mp4"]):
        assert got.status_code == 403
        assert got.json()["error"]["code"] == "link_not_allowed"
    assert client.get(f"/api/videos/{ids(client)['swapped.mp4']}/playable").json()["how"] == "none"


def test_a_link_that_stays_inside_is_followed(client: httpx.Client, library: Path, open_index: Index) -> None:
    link = library / "videos" / "link.mp4"
    link.symlink_to(library / "videos" / "inside.mp4")
    open_index.add(link, config=HERE)
    assert client.get(f"/api/videos/{ids(client)['link.mp4']}/media").status_code == 200


def test_a_link_that_led_out_when_it_was_indexed_is_refused(
    client: httpx.Client, library: Path, open_index: Index
) -> None:
    write_clip(library / "elsewhere" / "private.mp4", ["white"])
    link = library / "videos" / "out.mp4"
    link.symlink_to(library / "elsewhere" / "private.mp4")
    open_index.add(link, config=HERE)
    for got in every_picture_of(client, ids(client)["out.mp4"]):
        assert got.status_code == 403


def test_a_folder_swapped_for_a_link_is_refused(
    client: httpx.Client, library: Path, open_index: Index
) -> None:
    inner, outer = library / "videos" / "inner", library / "outer"
    write_clip(inner / "moved.mp4", ["blue"])
    open_index.add(inner, config=HERE)
    inner.rename(outer)  # the file is the same, and its size and time are
    inner.symlink_to(outer)
    for got in every_picture_of(client, ids(client)["moved.mp4"]):
        assert (got.status_code, got.json()["error"]["code"]) == (403, "link_not_allowed")
    one = {"video_id": ids(client)["moved.mp4"], "start_s": 0.0, "end_s": 0.5}
    for format in ("edl", "fcpxml", "otio"):
        exported = client.post("/api/export", json={"format": format, "results": [one]})
        assert exported.status_code == 403, format


def test_a_decoder_reads_the_file_that_was_checked(
    client: httpx.Client, library: Path, open_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library / "videos" / "raced.mp4"
    write_clip(path, ["green"])
    write_clip(library / "secret" / "raced.mp4", ["white"])
    open_index.add(path, config=HERE)
    opened = services.open_indexed

    def swap_afterwards(record: VideoRecord, allowed: Allowed) -> int:
        file = opened(record, allowed)
        path.unlink()
        path.symlink_to(library / "secret" / "raced.mp4")
        return file

    monkeypatch.setattr(services, "open_indexed", swap_afterwards)
    got = client.get(f"/api/videos/{ids(client)['raced.mp4']}/frame", params={"t": 0})
    assert got.status_code == 200
    red, green, blue = Image.open(io.BytesIO(got.content)).convert("RGB").getpixel((5, 5))
    assert green > red + 50
    assert green > blue + 50


def test_a_file_that_changed_or_went_is_not_shown(client: httpx.Client, library: Path) -> None:
    known = ids(client)
    write_clip(library / "videos" / "changed.mp4", ["yellow", "white"])
    (library / "videos" / "gone.mp4").unlink()
    for got in every_picture_of(client, known["changed.mp4"]):
        assert (got.status_code, got.json()["error"]["code"]) == (409, "file_changed")
    for got in every_picture_of(client, known["gone.mp4"]):
        assert (got.status_code, got.json()["error"]["code"]) == (410, "file_gone")
    os.mkfifo(library / "videos" / "gone.mp4")  # opening it would wait for ever
    for got in every_picture_of(client, known["gone.mp4"]):
        assert got.status_code == 409


@pytest.mark.parametrize(
    "video_id",
    ["..", "../../secret.mp4", "%2e%2e%2fsecret", "..%2f..%2fsecret.mp4", "/etc/passwd", "a%00b", "%ff"],
)
def test_an_identifier_is_no_path(client: httpx.Client, video_id: str) -> None:
    for end in ("media", "frame", "play"):
        got = client.get(f"/api/videos/{video_id}/{end}")
        assert got.status_code in (400, 404, 422), got.text


def test_folders_are_seen_inside_the_allowed_ones_only(client: httpx.Client, library: Path) -> None:
    (library / "videos" / "sub").mkdir()
    (library / "videos" / ".hidden").mkdir()
    (library / "videos" / "way-out").symlink_to(library)
    roots = client.get("/api/folders").json()
    assert [one["path"] for one in roots["folders"]] == [str(library / "videos")]
    inside = client.get("/api/folders", params={"path": str(library / "videos")}).json()
    assert [one["name"] for one in inside["folders"]] == ["sub"]
    assert inside["parent"] is None
    for path in (library, library / "videos" / "..", library / "videos" / "way-out", "/", "/etc"):
        assert client.get("/api/folders", params={"path": str(path)}).status_code == 403, path
    assert client.get("/api/folders", params={"path": "videos"}).status_code == 400
    assert client.get("/api/folders", params={"path": "/a\0b"}).status_code == 422


def png(width: int, height: int) -> bytes:
    """A PNG of nothing but its size: a few bytes that claim to be gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def send(client: httpx.Client, data: bytes, name: str = "x.png") -> httpx.Response:
    return client.post("/api/uploads", files={"file": (name, data)})


def test_bombs_and_fakes_are_refused_and_the_server_goes_on(client: httpx.Client, library: Path) -> None:
    for data in (
        png(60_000, 60_000),
        png(2**31 - 1, 2**31 - 1),
        png(100, 100)[:60],
        b"",
        b"GIF89a",
        b"#!/bin/sh\necho hello\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        b"\x00\x00\x00\x20ftypisom" + b"\xff" * 4000,
        b"RIFF\xff\xff\xff\xffWEBPVP8L" + b"\0" * 100,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ):
        got = send(client, data)
        assert got.status_code == 422, (data[:20], got.text)
        assert str(library) not in got.text
    assert not any((library / "cache" / "uploads").glob("*/*"))
    assert client.get("/api/health").status_code == 200


def test_a_picture_is_written_anew(client: httpx.Client, library: Path) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "where I live"
    Image.new("RGB", (3000, 1500), "red").save(file, "JPEG", exif=exif)
    upload = send(client, file.getvalue(), "a.jpg").json()
    (kept,) = (library / "cache" / "uploads").glob(f"*/{upload['id']}")
    with Image.open(kept) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 1024))
    assert b"where I live" not in kept.read_bytes()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\n", 400),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--b--",
            422,
        ),
        ("multipart/form-data; boundary=b", b"", 422),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 300_000, 400),
        (
            "multipart/form-data; boundary=b; charset=punycode",  # its decoder takes for ever
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n',
            415,
        ),
        (
            "multipart/form-data; boundary=b",
            b"".join(
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="%d"\r\n\r\nx\r\n' % i
                for i in range(50)
            )
            + b"--b--",
            400,
        ),
    ],
)
def test_a_form_that_is_none_is_a_fault_of_the_client(
    client: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    got = client.post("/api/uploads", content=body, headers={"content-type": content_type})
    assert got.status_code == status, got.text
    assert got.json()["error"]["message"]
