"""Write output for a terminal of any width, for any encoding, and for a reader that may have gone."""

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

WIDE: Final = 10_000  # columns, for output without a terminal, which is neither wrapped nor cut
_GLUE: Final = "\u00a0"  # a space that no line is broken at
_ERRORS: Final = "saga"  # the name of our error handler among Python's codecs
_PLAIN: Final = {"…": "...", "✓": "+", "✗": "x", "→": "->", "·": "."}  # our own characters, for poor encodings


class OutputLost(Exception):
    """Standard output can't be written any more: its reader has gone, or the disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_has_gone = error.errno == errno.EPIPE


class _Output(io.FileIO):
    """Standard output that fails with OutputLost, so that nobody takes its error for that of a connection."""

    forgiving = False
    closed_from_the_start = False  # /dev/null then stands in for it, and would take everything

    def write(self, content: bytes) -> int:  # type: ignore[override]
        if self.closed_from_the_start:
            raise OutputLost(OSError(errno.EBADF, "it is closed"))
        try:
            return super().write(content)
        except OSError as error:
            if self.forgiving:
                return len(content)
            raise OutputLost(error) from None


def prepare() -> None:
    """Make sure that the standard streams exist, and that they can write every character in some form."""
    codecs.register_error(_ERRORS, _replaced)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and len(columns) > len(str(WIDE)):
        os.environ["COLUMNS"] = str(WIDE)  # rich fills whole lines
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # this takes the lowest free number, before a socket gets it
            _Output.closed_from_the_start |= number == 1
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
    """Drop output that can't be written from now on, because the stack must run on without a reader."""
    _Output.forgiving = True


def need_no_output() -> None:
    """Take a standard output that is closed for the wish that there is none. For commands whose point is an act."""
    _Output.closed_from_the_start = False


def abandon() -> None:
    """Send the rest of standard output to /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    need_no_output()


def console(*, width: int | None = None) -> Console:
    """A console on standard output. By default it is as wide as the terminal, and very wide without one."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, width=width or columns() or WIDE)


def columns() -> int | None:
    """The width of the terminal; None if standard output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(line: str) -> None:
    """Print a line. In a terminal it is wrapped between words; a long word, such as a link, stays whole."""
    print(wrapped(line))


def hint(line: str) -> None:
    """Print on standard error what is good to know, beside the results on standard output."""
    with suppress(OSError, ValueError):
        print(wrapped(line) if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def wrapped(line: str) -> str:
    """The line, wrapped to the terminal if standard output is one. A command in `…` is not broken."""
    room = columns()
    if not room or len(line) <= room:
        return line
    kept = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", _GLUE), line)
    return textwrap.fill(kept, room, break_long_words=False, break_on_hyphens=False).replace(_GLUE, " ")


def complain(line: str) -> None:
    """Print an error on standard error, if that is possible; on one line without a terminal."""
    with suppress(OSError, ValueError):
        one = f"saga: {' '.join(line.split())}"
        print(wrapped(one) if sys.stderr.isatty() else one, file=sys.stderr, flush=True)


def say_json(text: str) -> None:
    """Print JSON text. Characters that standard output can't encode are escaped as JSON allows."""
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
