"""Refuse data that another version of a server has made and the installed one cannot read, and say what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from embedded.errors import StackError

PAGE: Final = "docs/operations/upgrading-data.md"

# A node enables the feature flags that it knows when it makes its data. Later ones are enabled by hand.
_FLAG_OF_3_13: Final = "message_containers"
_FLAG_OF_4: Final = re.compile(r"rabbitmq_(\d+)\.(\d+)\.\d+")


def refuse_postgres_of_another_major(folder: Path, installed: str) -> None:
    """Raise StackError if the data in `folder` are of another major version than `installed`, such as "18"."""
    try:
        made_by = (folder / "PG_VERSION").read_text().strip()
    except OSError:  # there are no data yet, or the start says why they can't be read
        return
    if made_by != installed:
        raise StackError(
            f"{folder} was made by PostgreSQL {made_by}, and PostgreSQL {installed} can't read it: with the version of "
            "payment-saga that made it, copy both databases by pg_dump; then move that folder away, start again, and "
            f"put the copies in by pg_restore. {PAGE} has the commands"
        )


def refuse_rabbitmq_of_another_line(flags: Path, installed: tuple[int, int] | None) -> None:
    """Raise StackError if a RabbitMQ of `installed` (major and minor) can't start on the data with these feature flags.

    Nothing is refused if the installed version can't be told.
    """
    try:
        enabled = set(re.findall(r"[a-z][\w.]*", flags.read_text()))
    except OSError:
        return
    if installed is None:
        return
    newest = max(
        [(3, 13) if _FLAG_OF_3_13 in enabled else (0, 0)]
        + [(int(match[1]), int(match[2])) for match in map(_FLAG_OF_4.fullmatch, enabled) if match]
    )
    folder, version = flags.parent.parent, ".".join(map(str, installed))
    if newest > installed:
        raise _of_another_line(folder, f"RabbitMQ {newest[0]}.{newest[1]} or newer", version)
    if installed >= (4, 0) and newest < (3, 13):
        raise _of_another_line(folder, "a RabbitMQ before 3.13, or with feature flags that are not enabled", version)


def _of_another_line(folder: Path, made_by: str, installed: str) -> StackError:
    return StackError(
        f"{folder} was made by {made_by}, and RabbitMQ {installed} can't start on it: with the RabbitMQ that made it, "
        "let all sagas end (`saga audit --at-rest`); then move that folder away and start again: the services declare "
        f"their queues anew. {PAGE} says more"
    )
