"""docs/architecture.svg is what the imports say, and is a drawing that any reader of XML can read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

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
