"""Code, tests and pages name only documents that the repository has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (ROOT, ROOT / "docs", ROOT / "docs" / "adr")


def missing_documents(text: str) -> Iterator[str]:
    for name in re.findall(r"[\w./-]*\w\.md\b", text):
        if not any((place / name).is_file() for place in PLACES):
            yield name


def written_files() -> Iterator[Path]:
    """Code, pages and settings, without what was installed or made."""
    folders = [
        path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name != "build"
    ]
    for pattern in ("*.py", "*.md", "Makefile", "*.toml", "*.yml"):
        yield from ROOT.glob(pattern)
        for folder in folders:
            yield from folder.rglob(pattern)


def test_every_document_that_is_named_exists() -> None:
    named = {str(path): set(missing_documents(path.read_text())) for path in written_files()}
    assert len(named) > 100
    assert {path: names for path, names in named.items() if names} == {}


def test_a_document_that_is_not_there_is_noticed() -> None:
    assert list(missing_documents("as docs/failures.md and " + "NOSUCH" + ".md say")) == ["NOSUCH" + ".md"]
