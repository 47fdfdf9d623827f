"""Define the options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit
from uuid import UUID

import typer

from cli.hints import DEFAULT_DATA, working_folder
from embedded.errors import StackError
from stack.addresses import Ports

_DATA: Final = "Folder that holds all data of the stack. Default: SAGA_DATA, or .saga."


def _folder(given: str) -> Path:
    if not given.strip():
        raise typer.BadParameter("the folder has no name; an empty variable may be the cause")
    return Path(given)


def uuid_of(what: str) -> Callable[[str], UUID]:
    """A parser of UUIDs from the command line. Its error names what the UUID is the id of."""

    def read(given: str) -> UUID:
        try:
            return UUID(given.strip())
        except ValueError:
            raise typer.BadParameter(f"{given!r} is not the id of {what}, which is a full UUID") from None

    return read


Data = Annotated[Path | None, typer.Option("--data", parser=_folder, metavar="DIR", help=_DATA, show_default=False)]
PortOffset = Annotated[
    int | None,
    typer.Option(
        "--port-offset",
        metavar="N",
        help="Added to every port, so that stacks can run side by side. Default: 0, or that of the running stack.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs to read.")]


def folder(data: Path | None) -> Path:
    """The folder of data: the one that `--data` names, else SAGA_DATA, else the default.

    Raises StackError if it lies in the working folder, and that was deleted.
    """
    found = data if data is not None else Path(os.environ.get("SAGA_DATA") or DEFAULT_DATA)
    if not found.is_absolute() and working_folder() is None:
        raise StackError(f"The working folder was deleted, and {found} with it: change to another, such as with `cd`")
    return found


def require_offset(gateway: str, data: Path, port_offset: int | None) -> None:
    """Raise StackError if the stack on this data, with this gateway, has another port offset than the given one."""
    if port_offset is None:
        return
    known = (urlsplit(gateway).port or 0) - Ports().gateway
    if known != port_offset:
        raise StackError(
            f"The stack on {data} has the port offset {known}, not {port_offset}; name the other's folder with --data"
        )
