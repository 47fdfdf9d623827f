"""Show commands so that the user can paste them, and so that they reach the intended stack."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

DEFAULT_DATA: Final = Path(".saga")


def saga(arguments: str, data: Path | None = None) -> str:
    """A command line of `saga` with these arguments, for the stack on this folder of data, if one is given."""
    where = "" if data is None or _found_anyway(data) else f" --data {shlex.quote(str(data))}"
    return f"{shlex.quote(program())} {arguments}{where}"


def here(message: str, data: Path | None) -> str:
    """The message with each command (`saga …`) in a form that can be pasted, for the stack on this data."""
    return re.sub(
        r"`saga ([^`]+)`", lambda found: f"`{saga(found[1], None if '--data' in found[1] else data)}`", message
    )


def program() -> str:
    """How to call `saga` here: by its name, or by its path if the shell doesn't find it."""
    ours = Path(sys.executable).parent / "saga"
    found = shutil.which("saga")
    if found is not None and Path(found).resolve() == ours.resolve():
        return "saga"
    here_is = working_folder()
    return str(ours.relative_to(here_is) if here_is is not None and ours.is_relative_to(here_is) else ours)


def working_folder() -> Path | None:
    """The working folder of this process; None if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _found_anyway(data: Path) -> bool:
    return data == DEFAULT_DATA and not os.environ.get("SAGA_DATA")
