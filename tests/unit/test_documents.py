"""Code, tests and pages name only documents, files, headings, names and packages that are there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations"
PLACES = (ROOT, ROOT / "docs", ROOT / "docs" / "adr", OPERATIONS, OPERATIONS / "alerts")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
# Pages that lead through the code; the others name what is elsewhere, too: settings of servers, other libraries.
GUIDES = [ROOT / "docs" / name for name in ("guide.md", "glossary.md", "changing-workflows.md", "specification.md")]
ENDINGS = "py|md|sh|yml|yaml|toml|css|svg|dot|jsonl|json|conf"
# What a name in a page may stand for besides something in a file: what Temporal calls it, what a page is about to make.
ELSEWHERE = {"TemporalChangeVersion"}


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


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken_links(page: Path, text: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


@cache
def files_and_words() -> tuple[set[str], set[str]]:
    """The names of all files, and the words in what is written beside the pages, folders included."""
    written = [path for path in written_files() if path.suffix != ".md"]
    words = {word for path in written for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    folders = {part for path in written for part in path.relative_to(ROOT).parts}
    files = {path.name for path in [*written_files(), *(ROOT / "docs").rglob("*.*")]}
    return files, words | folders | {"docs", "adr"}


def missing_names(text: str, files: set[str], words: set[str]) -> Iterator[str]:
    """What stands in backticks and is neither a file nor made of words that occur in one."""
    for name in re.findall(r"`([A-Za-z_][\w./-]*)(?:\(\))?`", text):
        is_file = re.fullmatch(rf"[\w./-]+\.({ENDINGS})", name) is not None
        parts = [] if is_file else [part for part in re.split(r"[./-]", name) if part]
        if (is_file and Path(name).name not in files) or not set(parts) <= words | ELSEWHERE:
            yield name


def test_every_document_that_is_named_exists() -> None:
    named = {str(path): set(missing_documents(path.read_text())) for path in written_files()}
    assert len(named) > 100
    assert {path: names for path, names in named.items() if names} == {}


def test_a_document_that_is_not_there_is_noticed() -> None:
    assert list(missing_documents("as docs/failures.md and " + "NOSUCH" + ".md say")) == ["NOSUCH" + ".md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(broken_links(page, prose(page))) == []


def test_a_link_to_nothing_is_noticed() -> None:
    text = "[a](README.md#run-it), [b](README.md#run-away), [c](docs/nothing.svg), [d](https://example.org/x)"
    assert list(broken_links(ROOT / "README.md", text)) == ["README.md#run-away", "docs/nothing.svg"]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_name_in_a_guide_is_in_the_code(page: Path) -> None:
    assert list(missing_names(prose(page), *files_and_words())) == []


def test_a_name_of_nothing_is_noticed() -> None:
    text = "`Ledger.apply`, `Ledger.unapply`, `ledger.py`, `ldgr.py`, `activities/`"
    assert list(missing_names(text, {"ledger.py"}, {"Ledger", "apply", "activities"})) == ["Ledger.unapply", "ldgr.py"]


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    required = {re.split(r"[^\w-]", line)[0] for group in groups for line in group}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition("## From the system")[0], re.MULTILINE)
    reasoned = {re.split(r"[^\w-]", name)[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert required <= reasoned, f"docs/dependencies.md says nothing of {sorted(required - reasoned)}"
    assert reasoned <= required, f"pyproject.toml has no {sorted(reasoned - required)}"
