"""Look for a stack's secrets where they must not be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from stack.local import Secrets
from stack.rights import RIGHTS


def secrets_of(data: Path) -> Mapping[str, str]:
    """Every secret of the stack on this folder of data, by what it is for."""
    secrets = Secrets.of(data)
    return {**asdict(secrets), **{f"broker user {name}": secrets.of_broker_user(name) for name in RIGHTS}}


def found_in(secrets: Mapping[str, str], texts: Iterable[tuple[str, str]]) -> list[str]:
    """Where a secret stands, as it is or as a URL has it: `the place: what the secret is for`."""
    return sorted(
        f"{place}: {what}"
        for place, text in texts
        for what, secret in secrets.items()
        if secret in text or quote(secret, safe="") in text
    )


def open_files(folder: Path) -> Iterator[tuple[str, str]]:
    """The path and the content of each file below this folder that other users may read; none above 1 MiB."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20 and _is_open(path):
            yield str(path), path.read_text(errors="replace")


def _is_open(path: Path) -> bool:
    """Whether others may read the file. Its mode bits alone say little below a folder that is closed to others."""
    closed_above = any(folder.stat().st_mode & 0o077 == 0 for folder in path.parents if folder != Path("/"))
    return bool(path.stat().st_mode & 0o077) and not closed_above


def logs_in(*folders: Path) -> list[tuple[str, str]]:
    """The name and the content of each log in these folders, and of those below them."""
    return [
        (str(path), path.read_text(errors="replace"))
        for folder in folders
        for path in sorted(folder.rglob("*.log*"))
        if path.is_file()
    ]
