"""Keep one line a run, so that figures can be followed from commit to commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.report import Report

HISTORY: Final = Path(__file__).parent / "history.jsonl"
UNKNOWN: Final = "unknown"


def line(report: Report) -> dict[str, Any]:
    """The line of a run: date, commit, all medians, and every target with its verdict."""
    return {
        "date": report.began,
        "commit": report.commit,
        "kind": report.kind,
        "machine": report.machine,
        "settings": report.settings,
        "medians": report.medians,
        "targets": {row.what: _verdict(row.measured, row.met) for row in report.targets if row.measured is not None},
        "improper": len(report.improper),
    }


def _verdict(measured: float | None, met: bool | None) -> Mapping[str, Any]:
    return {"measured": None if measured is None else round(measured, 4), "met": met}


def append(report: Report, file: Path = HISTORY) -> None:
    """Add the line of this run at the end."""
    with file.open("ab") as history:
        history.write(msgspec.json.encode(line(report)) + b"\n")


async def commit(folder: Path) -> str:
    """The commit that is checked out there, with a plus if files differ from it; "unknown" outside a repository."""
    head = await _git(folder, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return UNKNOWN
    changed = await _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head + ("+" if changed else "")


async def _git(folder: Path, *arguments: str) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *("-C", str(folder), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    told, _ = await process.communicate()
    return None if process.returncode else told.decode().strip()
