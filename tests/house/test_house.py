"""The house itself: exports, errors, light help, documentation that is up to date."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import framesift
from framesift import errors
from framesift.cli.main import EXIT_CODES

REPO = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "lance", "pyarrow", "av", "numpy", "PIL")


def modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(framesift.__path__, "framesift.")]
    return [name for name in found if ".weights" not in name and not name.endswith("__main__")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_and_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "a module has a docstring"
    if name.startswith("framesift.cli") and not hasattr(module, "__all__"):
        return
    for exported in getattr(module, "__all__", []):
        value = getattr(module, exported)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{exported} has a docstring"


def test_public_names_are_sorted_and_there() -> None:
    assert list(framesift.__all__) == sorted(
        framesift.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n)
    )
    for name in framesift.__all__:
        assert getattr(framesift, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        framesift.nonsense  # noqa: B018


def test_importing_the_library_is_light() -> None:
    code = f"import framesift, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["search", "--help"], ["index", "--help"], ["models", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['framesift', *{arguments}]\n"
        "from framesift.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = run("-c", code)
    assert done.stdout.strip().endswith("[]"), done.stdout[-300:] + done.stderr
    assert "xample" in done.stdout or arguments == ["--help"]


def test_help_is_quick() -> None:
    """CPU seconds, best of three: the wall clock of a shared machine says little."""
    used: list[float] = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(
            "-c", "import sys; sys.argv = ['framesift', '--help']\nfrom framesift.cli.main import run; run()"
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(used) < 0.3, used


def error_classes() -> list[type[errors.FramesiftError]]:
    named = [getattr(errors, name) for name in errors.__all__]
    return [one for one in named if inspect.isclass(one) and not issubclass(one, Warning)]


def test_every_error_is_in_the_tree_and_has_an_exit_code() -> None:
    drawn = errors.__doc__ or ""
    codes = set(map(int, re.findall(r"(\d+) (?!interrupted)", EXIT_CODES)))
    for cls in error_classes():
        assert issubclass(cls, errors.FramesiftError)
        assert cls.__name__ in drawn
        assert cls.exit_code in codes, cls


def test_documents_are_up_to_date() -> None:
    done = run(str(REPO / "docs" / "generate.py"), "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from framesift.storyboard import storyboards, write_split

    monkeypatch.chdir(tmp_path)
    write_split(storyboards("test", 3), tmp_path / "videos")
    blocks = python_blocks(REPO / "README.md")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    pages = [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_number_of_results_says_how_it_was_made() -> None:
    import json

    files = sorted((REPO / "results").glob("*.json"))
    assert files
    for file in files:
        document = json.loads(file.read_text())
        parts = document.values() if "provenance" not in document else [document]
        assert any("provenance" in part or "commit" in part for part in parts if isinstance(part, dict)), (
            file.name
        )
