"""Every row of docs/failures.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = range(1, 54)
TESTED = range(1, 37)  # and more of them, in no order of coming


def test_every_row_names_tests_of_its_number_that_exist() -> None:
    page = (ROOT / "docs" / "failures.md").read_text()
    named = {
        int(row[1]): set(re.findall(r"`(test_\w+)`", row[2]))
        for row in re.finditer(r"^\| (\d+) \|(.*)$", page, re.MULTILINE)
    }
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}
    assert list(named) == sorted(named)
    assert set(TESTED) <= set(named) <= set(ROWS)
    for row, tests in named.items():
        assert tests, f"row {row} names no test"
        assert tests <= defined, f"row {row} names tests that are not there: {tests - defined}"
        assert all(name.startswith(f"test_{row:02}_") for name in tests), f"row {row} names tests of other rows"
