"""docs/failures.md has every row, and each row names all tests of its number, in the files where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = range(1, 59)


def named_tests(page: str) -> dict[int, set[str]]:
    """For each row the tests that it names, as `folder/file.py: test`."""
    rows = re.finditer(r"^\| (\d+) \|.*\| (.*) \|$", page, re.MULTILINE)
    return {int(row[1]): set(_in_groups(row[2].split("<br>"))) for row in rows}


def _in_groups(groups: Iterable[str]) -> Iterator[str]:
    for group in groups:
        file = group.partition(":")[0]
        yield from (f"{file}: {test}" for test in re.findall(r"`(test_\w+)`", group))


def written_tests() -> dict[int, set[str]]:
    """For each number the tests that bear it, as `folder/file.py: test`."""
    written: dict[int, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for test, number in re.findall(r"^(?:async )?def (test_(\d\d)_\w+)", path.read_text(), re.MULTILINE):
            written.setdefault(int(number), set()).add(f"{path.relative_to(ROOT / 'tests')}: {test}")
    return written


def test_every_row_names_all_tests_of_its_number() -> None:
    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    named = named_tests(page)
    assert list(named) == list(ROWS)
    assert named == written_tests()
