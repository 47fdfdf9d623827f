"""Look for a stack's secrets where they must not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def logs_in(*folders: Path) -> list[tuple[str, str]]:
    """The name and the content of each log in these folders, and of those below them."""
    return [
        (str(path), path.read_text(errors="replace"))
        for folder in folders
        for path in sorted(folder.rglob("*.log*"))
        if path.is_file()
    ]
