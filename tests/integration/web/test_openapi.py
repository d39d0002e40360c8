"""The OpenAPI document: what it promises holds for whatever is sent, and docs/api.md names all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

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


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
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


def test_the_page_about_the_api_names_every_route(read_only: httpx.Client) -> None:
    page = (REPO / "docs" / "api.md").read_text()
    for path, methods in read_only.get("/api/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page, f"docs/api.md does not name {method.upper()} {path}"
