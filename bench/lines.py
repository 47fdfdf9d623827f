"""How much code each coordinator needs: which module belongs to which, and how many lines of code it has."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("activities", "choreography", "workflows")

SHARED: Final = "both"
CHOREOGRAPHY: Final = "choreography"
MIRROR: Final = "choreography's mirror"
ORCHESTRATION: Final = "orchestration"

# Whom alone a module serves; both need all others. They publish the events of orchestrated sagas, too, and run steps as
# activities, which the mirror's timers ask for. The mirror is choreography's: an orchestrated saga tells its own story.
NEEDED_BY: Final[Mapping[str, str]] = {
    "choreography/acknowledgements.py": CHOREOGRAPHY,
    "choreography/consumer.py": CHOREOGRAPHY,
    "choreography/dead_letters.py": CHOREOGRAPHY,
    "choreography/disposition.py": CHOREOGRAPHY,
    "choreography/headers.py": CHOREOGRAPHY,
    "choreography/late_orders.py": MIRROR,
    "choreography/reactions.py": CHOREOGRAPHY,
    "choreography/setting_aside.py": CHOREOGRAPHY,
    "choreography/subscription.py": CHOREOGRAPHY,
    "choreography/suspects.py": CHOREOGRAPHY,
    "workflows/mirror_arrivals.py": MIRROR,
    "workflows/mirror_feed.py": MIRROR,
    "workflows/mirror_patience.py": MIRROR,
    "workflows/mirror_telling.py": MIRROR,
    "workflows/pace.py": MIRROR,
    "workflows/mirror_steps.py": MIRROR,
    "workflows/mirror_watch.py": MIRROR,
    "workflows/mirror_record.py": MIRROR,
    "workflows/mirrors.py": MIRROR,
    "workflows/saga_mirror.py": MIRROR,
    "workflows/order_saga.py": ORCHESTRATION,
    "workflows/saga_input.py": ORCHESTRATION,
    "workflows/remote_order_saga.py": ORCHESTRATION,
    "workflows/saga_start.py": ORCHESTRATION,
    "workflows/saga_steps.py": ORCHESTRATION,
    "workflows/step_runs.py": ORCHESTRATION,
    "api/gateway/orchestration.py": ORCHESTRATION,
    "api/gateway/saga_starts.py": ORCHESTRATION,
    "api/services/sagas.py": ORCHESTRATION,
}


def modules() -> Iterator[str]:
    """Every module of the packages that hold the steps and sequence them, as NEEDED_BY names it."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if lines_of_code(path.read_text(encoding="utf-8")):
                yield path.relative_to(ROOT).as_posix()


def lines_needed() -> dict[str, dict[str, int]]:
    """The lines of code of each module, grouped by which coordinator needs the module."""
    counted: dict[str, dict[str, int]] = {SHARED: {}, CHOREOGRAPHY: {}, MIRROR: {}, ORCHESTRATION: {}}
    for module in dict.fromkeys((*modules(), *NEEDED_BY)):
        counted[NEEDED_BY.get(module, SHARED)][module] = lines_of_code((ROOT / module).read_text(encoding="utf-8"))
    return counted


def lines_of_code(source: str) -> int:
    """The number of lines that have code: no blank lines, comments or docstrings."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - _docstrings(source))


def _docstrings(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found
