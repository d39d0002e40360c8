"""Names in headers and in JSON, whatever files are called."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from framesift.web.answers import Json, shown, shown_name
from framesift.web.sending import attachment


@pytest.mark.parametrize(
    "name",
    ["a.mp4", 'a"; filename="evil.exe', "a\r\nSet-Cookie: x=1", "日本 ü.mp4", "../../x", "%41", "\udcff"],
)
def test_a_name_stays_inside_its_header(name: str) -> None:
    header = attachment(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert "/" not in header
    whole = unquote(header.split("UTF-8''")[1])
    assert whole == "".join(c for c in shown(name) if c.isprintable() and c not in '/\\"')


def test_json_holds_names_that_are_no_utf8() -> None:
    name = b"/videos/\xff\xfe.mp4".decode("utf-8", "surrogateescape")
    document = json.loads(Json({"name": name, "list": [(name,)], "half": "\ud800"}).body)
    assert document == {"name": "/videos/��.mp4", "list": [["/videos/��.mp4"]], "half": "?"}
    assert shown_name(name) == "��.mp4"
    assert json.loads(Json({"x": float("nan")}).body) == {"x": None}
