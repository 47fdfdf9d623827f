"""docs/architecture.svg is what the imports say, and what decides in the services imports nothing but Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


def test_the_drawing_of_the_packages_is_up_to_date() -> None:
    drawn = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "draw_architecture.py")], capture_output=True, text=True, check=True
    )
    kept = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert kept == drawn.stdout, "run `make architecture`"


def test_the_drawing_shows_every_package_and_who_imports_whom() -> None:
    drawing = ElementTree.fromstring((ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8"))
    texts = {each.text for each in drawing.iter() if each.tag.endswith(("text", "title"))}
    packages = {each.parent.name for each in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= texts
    assert "api imports workflows" in texts
    assert "workflows imports api" not in texts


def imported(module: str) -> Iterator[str]:
    """The modules that this one imports, and those that they import, as far as they are of `models`."""
    waiting, seen = [module], set[str]()
    while waiting:
        each = waiting.pop()
        for node in ast.walk(ast.parse((ROOT / f"{each.replace('.', '/')}.py").read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in set(names) - seen:
                seen.add(name)
                yield name
                waiting += [name] if name.startswith("models.") else []


@pytest.mark.parametrize("module", ["models.lifecycle", "models.order", "models.payment"])
def test_what_decides_imports_the_standard_library_and_models_alone(module: str) -> None:
    packages = {name.partition(".")[0] for name in imported(module)}
    assert packages - sys.stdlib_module_names == {"models"}
