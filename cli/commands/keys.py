"""Make API keys, and find the one that a command is to show."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from api.gateway.keys import Role, mint
from cli.commands import echo_json, one_line_errors
from cli.commands.options import AsJson, uuid_of
from cli.printed_tables import text
from cli.terminal import hint
from embedded.errors import StackError

app = typer.Typer(help="Make API keys for the gateway.", no_args_is_help=True, rich_markup_mode=None)

KEY: Final = "SAGA_API_KEY"
KEY_FILE: Final = "SAGA_API_KEY_FILE"
_LONGEST: Final = 1024  # bytes of a file that holds a key
_SHOWN_ONCE: Final = (
    "The key is shown this once: give it to whoever is to use it. Add the record to SAGA_API_KEYS of every gateway, "
    "and start them again."
)


@app.command("new")
@one_line_errors
def new(
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose key it is; logs and Idempotency-Keys go by it.")],
    role: Annotated[Role, typer.Option(metavar="ROLE", help="client (orders and payments) or operator (everything).")],
    user: Annotated[
        UUID | None,
        typer.Option(
            parser=uuid_of("a user"), metavar="UUID", help="The only user whose orders a client's key reaches."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and its record. For example: `saga keys new --name shop --role client`."""
    try:
        key, record = mint(name, role, user)
    except ValueError as error:
        raise typer.BadParameter(text(error)) from None
    if as_json:
        echo_json({"key": key, "record": str(record)})
        return
    print(f"Key     {key}\nRecord  {record}", flush=True)  # if it is lost, there is nothing to give to anybody
    hint(_SHOWN_ONCE)


def api_key(environ: Mapping[str, str] = os.environ) -> str:
    """The key that commands show the gateway: SAGA_API_KEY, else what SAGA_API_KEY_FILE holds; empty if neither is set.

    Raises StackError for a file that others may read, and for what can be no key.
    """
    if key := environ.get(KEY, "").strip():
        return _checked(key, KEY)
    if path := environ.get(KEY_FILE, ""):
        return _checked(_read(Path(path)), f"{KEY_FILE}={path}")
    return ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise StackError(f"{path} has mode {mode:o}, so that others may read the key in it: `chmod 600 {path}`")
        return file.read(_LONGEST).decode("latin-1").strip()


def _checked(key: str, where: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise StackError(f"{where} holds no API key: it must be one word, as `saga keys new` shows it")
    return key
