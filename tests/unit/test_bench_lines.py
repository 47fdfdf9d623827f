"""The table of lines names every module once, and counts its code."""

from __future__ import annotations

from bench.lines import (
    CHOREOGRAPHY,
    MIRROR,
    NEEDED_BY,
    ORCHESTRATION,
    ROOT,
    SHARED,
    lines_needed,
    lines_of_code,
    modules,
)


def test_every_module_in_the_table_exists() -> None:
    assert [module for module in NEEDED_BY if not (ROOT / module).is_file()] == []


def test_the_lines_of_every_module_are_counted_once() -> None:
    counted = lines_needed()
    assert list(counted) == [SHARED, CHOREOGRAPHY, MIRROR, ORCHESTRATION]
    assert sorted(module for each in counted.values() for module in each) == sorted({*modules(), *NEEDED_BY})
    assert all(lines > 0 for modules in counted.values() for lines in modules.values())


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    source = '''"""A module.

With a story.
"""

import os  # this line counts

# this one doesn't


class Thing:
    """A thing."""

    text = """one
    value over

    four lines"""

    def act(self) -> str:
        """What it does."""
        return os.sep + (
            self.text
        )
'''
    assert lines_of_code(source) == 1 + 1 + 4 + 1 + 3
