"""The commands of a page, as an operator copies them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

OPERATIONS: Final = Path(__file__).parents[2] / "docs" / "operations"


def commands(page: str, section: str) -> list[str]:
    """The commands in the blocks of a section of a page in docs/operations, in their order."""
    text = (OPERATIONS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [line for block in re.findall(r"^```sh\n(.*?)^```", found, re.M | re.S) for line in block.splitlines()]
