"""The page's files: text goes in as text, nothing comes from elsewhere, every module is there that another imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import framesift

WEB = Path(framesift.__file__).parent / "web"
SCRIPTS = sorted((WEB / "static" / "js").glob("*.js"))
FILES = [
    *SCRIPTS,
    *sorted((WEB / "static" / "css").glob("*.css")),
    *sorted((WEB / "templates").glob("*.j2")),
]
RUNS_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|javascript:"
)
NAMESPACES = ("http://www.w3.org/2000/svg",)


def test_there_are_files() -> None:
    assert len(SCRIPTS) > 20


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_takes_text_for_markup(path: Path) -> None:
    assert RUNS_MARKUP.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text(encoding="utf-8"))
    assert [address for address in addresses if address not in NAMESPACES] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".j2"], ids=lambda path: path.name)
def test_documents_hold_no_script_or_style_of_their_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", text)


def test_imports_lead_to_modules() -> None:
    names = {path.name for path in SCRIPTS}
    for path in SCRIPTS:
        for imported in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8")):
            assert imported in names, f"{path.name} imports {imported}"


def test_what_a_module_imports_the_other_exports() -> None:
    text = {path.name: path.read_text(encoding="utf-8") for path in SCRIPTS}
    for name, source in text.items():
        for wanted, module in re.findall(r'import \{([^}]+)\} from "\./([\w.]+)"', source):
            for one in (part.strip() for part in wanted.split(",")):
                exported = rf"export (?:async )?(?:function|const|class) {one}\b"
                assert re.search(exported, text[module]), f"{name}: {module} has no {one}"
                assert len(re.findall(rf"\b{one}\b", source)) > 1, f"{name} does not use {one}"
