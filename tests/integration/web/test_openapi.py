"""The OpenAPI document: what it promises holds for whatever is sent, and docs/api.md names all of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from framesift.web.app import create_app
from live_server import serving

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def read_only(shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server on which generated requests cannot start jobs or change tags."""
    settings = shelf.settings(tmp_path_factory.mktemp("fuzzed"), read_only=True)
    with serving(create_app({"small": shelf.index}, settings=settings)) as client:
        client.get("/api/search", params={"q": "a star"})  # loads the model before requests have a time limit
        yield client


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 6  # of every operation


def test_no_request_breaks_the_server(read_only: httpx.Client, video_id: str) -> None:
    document = read_only.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=str(read_only.base_url))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 25
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    for operation in operations:
        for mode in modes:
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                _try(strategy, video_id)
            except (Unsatisfiable, SkipTest):
                assert mode is schemathesis.GenerationMode.NEGATIVE  # nothing could be wrong with it


def _try(strategy, video_id: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=strategy, known=booleans())
    def ask(case, known: bool) -> None:
        if known and "video_id" in (case.path_parameters or {}):
            case.path_parameters["video_id"] = video_id
        case.call_and_validate(checks=CHECKS, timeout=60)

    ask()


def test_every_answer_in_json_is_described(read_only: httpx.Client) -> None:
    for path, methods in read_only.get("/api/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            good = {status: said for status, said in operation["responses"].items() if status < "300"}
            assert good, (method, path)
            for said in good.values():
                for kind, body in said.get("content", {}).items():
                    if kind == "application/json" and path != "/api/export":  # whose file is the library's
                        assert "$ref" in body["schema"], (method, path)


def test_answers_are_what_the_document_says(read_only: httpx.Client, video_id: str) -> None:
    """Those that generated requests hardly ever get: they name nothing that exists."""
    schema = schemathesis.openapi.from_dict(read_only.get("/api/openapi.json").json())
    base = f"/api/videos/{video_id}"
    picture = read_only.get(f"{base}/frame").content
    sent = read_only.post("/api/uploads", files={"file": ("a.jpg", picture)})
    term = {"id": sent.json()["id"]}
    dup = {"query": "a star then a red circle", "k": 3, "like": [], "upload": term}
    asked: list[tuple[str, httpx.Response]] = [
        ("/api/uploads", sent),
        ("/api/health", read_only.get("/api/health")),
        ("/api/indexes", read_only.get("/api/indexes")),
        ("/api/search", read_only.get("/api/search", params={"q": "a star -night folder:videos"})),
        ("/api/search", read_only.post("/api/search", json=dup)),
        ("/api/videos", read_only.get("/api/videos")),
        ("/api/videos/{video_id}", read_only.get(base)),
        ("/api/videos/{video_id}/playable", read_only.get(f"{base}/playable")),
        ("/api/videos/{video_id}/timeline", read_only.get(f"{base}/timeline", params={"q": "a star"})),
        (
            "/api/videos/{video_id}/explain",
            read_only.get(f"{base}/explain", params={"q": "a star", "start": 0, "end": 1}),
        ),
        (
            "/api/videos/{video_id}/describe",
            read_only.post(f"{base}/describe", json={"captions": ["a star", "rain"]}),
        ),
        ("/api/folders", read_only.get("/api/folders")),
        ("/api/jobs", read_only.get("/api/jobs")),
        ("/api/benchmark", read_only.get("/api/benchmark")),
        ("/api/benchmark/{n}", read_only.get("/api/benchmark/0")),
    ]
    for path, got in asked:
        assert got.is_success, (path, got.text)
        got.request.read()
        schema[path][got.request.method].validate_response(got)
    wrong = httpx.Response(
        200, json={"jobs": [{}]}, request=httpx.Request("GET", "http://localhost/api/jobs")
    )
    wrong.elapsed = timedelta(0)
    with pytest.raises(Exception, match="required"):  # the check can fail
        schema["/api/jobs"]["GET"].validate_response(wrong)


def test_the_page_about_the_api_names_every_route(read_only: httpx.Client) -> None:
    page = (REPO / "docs" / "api.md").read_text()
    for path, methods in read_only.get("/api/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page, f"docs/api.md does not name {method.upper()} {path}"
