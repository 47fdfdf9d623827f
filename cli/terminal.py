"""Write to whatever reads our output: of any width, in any encoding, or gone."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

WIDE: Final = 10_000  # columns: what no terminal shows is neither wrapped nor cut
_GLUE: Final = "\u00a0"  # a space that no line is broken at
_ERRORS: Final = "saga"  # the name of our error handler among Python's codecs
_PLAIN: Final = {"…": "...", "✓": "+", "✗": "x", "→": "->", "·": "."}  # what we write ourselves, for poor encodings


class OutputLost(Exception):
    """Standard output takes no more: its reader has gone, or there is no room where it is kept."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_has_gone = error.errno == errno.EPIPE


class _Output(io.FileIO):
    """Standard output that fails with OutputLost, which cannot be taken for the failure of a connection."""

    forgiving = False

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(content)
        except OSError as error:
            if self.forgiving:
                return len(content)
            raise OutputLost(error) from None


def prepare() -> None:
    """Make standard streams that exist, and that write every character in some way."""
    codecs.register_error(_ERRORS, _replaced)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one, before a socket does
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - a descriptor, for as long as we live
    told = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "wb", closefd=False)),
        encoding=told.encoding if told else "utf-8",
        errors=_ERRORS,
        line_buffering=bool(told and told.isatty()),
    )
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_ERRORS)


def forgive() -> None:
    """Let go of what cannot be written from now on: what runs on has more to do than to tell of it."""
    _Output.forgiving = True


def abandon() -> None:
    """Write what is left for standard output to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def console(*, width: int | None = None) -> Console:
    """A console on standard output, as wide as the terminal if no width is given, and never narrow where none is."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, width=width or columns() or WIDE)


def columns() -> int | None:
    """Columns of the terminal that standard output is; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(line: str) -> None:
    """Print a line; in a terminal it is wrapped between words, and a long word such as a link stays whole."""
    print(wrapped(line))


def hint(line: str) -> None:
    """Print on standard error what is good to know, beside the results on standard output."""
    with suppress(OSError, ValueError):
        print(wrapped(line) if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def wrapped(line: str) -> str:
    """The line in as many as a terminal needs for it, if standard output is one; a command in `…` stays on one."""
    room = columns()
    if not room or len(line) <= room:
        return line
    kept = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", _GLUE), line)
    return textwrap.fill(kept, room, break_long_words=False, break_on_hyphens=False).replace(_GLUE, " ")


def complain(line: str) -> None:
    """Print what is wrong on standard error, if that can be done; on one line where no terminal is."""
    with suppress(OSError, ValueError):
        one = f"saga: {' '.join(line.split())}"
        print(wrapped(one) if sys.stderr.isatty() else one, file=sys.stderr, flush=True)


def say_json(text: str) -> None:
    """Print JSON text as it is; what standard output cannot encode is escaped in JSON's own way."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeError:
        text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)
    print(text, flush=True)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    escapes = (_PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode("ascii") for char in refused)
    return "".join(escapes), error.end
