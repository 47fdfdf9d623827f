"""Report a soak as a table for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.soak.measures import MIB
from tests.soak.run import SETTINGS, Outcome, Plan
from tests.soak.verdict import Judgement


def table(judgements: Sequence[Judgement]) -> str:
    """The medians of each third. Judged measures come first, and measures that were always 0 are left out."""
    shown = [each for each in judgements if each.state == "judged" or any((each.start, each.middle, each.end))]
    width = max((len(each.measure) for each in shown), default=0)
    lines = [f"{'':{width}} {'start':>12} {'middle':>12} {'end':>12}  verdict"]
    for each in sorted(shown, key=lambda each: (each.state, each.measure)):
        numbers = " ".join(f"{_number(each.measure, value):>12}" for value in (each.start, each.middle, each.end))
        verdict = (each.fault or "as it should") if each.state == "judged" else each.state
        lines.append(f"{each.measure:{width}} {numbers}  {verdict}")
    short = sum(each.state == "too short" for each in judgements)
    if short:
        lines.append(f"The run was too short to judge {short} measures")
    return "\n".join(lines)


def write(path: Path, plan: Plan, outcome: Outcome) -> None:
    """Write everything that was measured and found."""
    content: dict[str, Any] = {"plan": asdict(plan), "settings": SETTINGS, **asdict(outcome)}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _number(measure: str, value: float | None) -> str:
    if value is None:
        return "-"
    kind = measure.partition(" of ")[0]
    if kind in ("memory", "bytes", "index bytes"):
        return f"{value / MIB:,.1f} MiB"
    return f"{value:,.2f}" if kind in ("CPU", "bytes a row") else f"{value:,.0f}"
