"""Drive and operate a running system from the command line; here is how its commands print and fail."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec, TypeVar

import typer

from stack.errors import StackError

if TYPE_CHECKING:
    import httpx
    from rich.table import Table

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs to read.")]

_WIDE: Final = 10_000  # columns: what is not for a terminal is neither folded nor cut
_LONGEST: Final = 500  # characters of an answer that are shown


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; in a terminal they are made to fit it, elsewhere each stays one line."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    Console(width=None if terminal else _WIDE).print(table(columns, rows, framed=terminal))


def echo_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        typer.echo(f"{name:<{width}}  {text(value)}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, framed: bool = True) -> Table:
    """The rows as a table; where there is little room, all but the first column are folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD if framed else None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 1 if framed else 2, 0, 0),
    )
    for column in columns:
        made.add_column(column, no_wrap=column is columns[0], overflow="fold")
    for row in rows:
        made.add_row(*(Text(text(cell)) for cell in row))
    return made


def text(value: object) -> str:
    """A value on one line; what others wrote must not steer the terminal it is shown in."""
    if value is None or value == "":
        return "-"
    return "".join(char if char.isprintable() else _escaped(char) for char in str(value))


def may_go_on(question: str, *, yes: bool) -> None:
    """Return if that is what the person at the terminal wants; where nobody can be asked, only `--yes` will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody is there to ask; add --yes if you mean it.")
    typer.confirm(question, abort=True)


def counted(number: int, noun: str) -> str:
    """The number with its noun: 1 event, 2 events."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """The command, ending with one line on standard error and exit code 1 where something outside it failed."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            line = explain(error)
            if line is None:
                raise
            typer.echo(f"saga: {' '.join(line.split())}", err=True)
            raise typer.Exit(1) from None

    return guarded


def run(work: Coroutine[Any, Any, R]) -> R:
    """What this asynchronous work returns."""
    import asyncio

    return asyncio.run(work)


def explain(error: Exception) -> str | None:
    """What went wrong and what to do, as text without secrets; None for what nobody expected."""
    if isinstance(error, StackError):
        return str(error)
    # A library that was not imported raised nothing, and importing it only to find out takes long.
    if "httpx" in sys.modules and (line := _explain_http(error)) is not None:
        return line
    return _explain_amqp(error) if "aio_pika" in sys.modules else None


def _explain_http(error: Exception) -> str | None:
    import httpx

    match error:
        case httpx.HTTPStatusError():
            return _refusal(error.response)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return f"That is not an address ({error}); correct SAGA_GATEWAY_URL and its like"
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return f"Nothing answers at {origin(error.request)}; start it with `saga up`, or correct the SAGA_…_URL"
        case httpx.TimeoutException():
            return f"{origin(error.request)} did not answer in time; see what `saga status` says and try again"
        case httpx.HTTPError():
            return f"The connection to {origin(error.request)} broke ({error}); see `saga status` and try again"
        case _:
            return None


def _refusal(answer: httpx.Response) -> str:
    """A problem (RFC 9457) in one line, with the remedy that its status suggests."""
    problem: dict[str, Any] = {}
    with suppress(ValueError):
        value = answer.json()
        problem = value if isinstance(value, dict) else {}
    fallback = f"{origin(answer.request)} answered {answer.status_code} {answer.reason_phrase}".rstrip()
    detail = str(problem.get("detail") or problem.get("title") or fallback)[:_LONGEST].rstrip(".")
    match answer.status_code:
        case 401 | 403:
            internal = not answer.request.url.path.startswith("/api/")
            return f"{detail}; set {'SAGA_INTERNAL_TOKEN' if internal else 'SAGA_API_KEY'} to one that it accepts"
        case 429 | 503:
            return f"{detail}; try again in {answer.headers.get('Retry-After', '1')} s"
        case status if status >= 500 and (correlation_id := problem.get("correlationId")):
            return f"{detail} (correlation id {correlation_id})"
        case _:
            return detail


def _explain_amqp(error: Exception) -> str | None:
    from aiormq import exceptions as amqp

    from choreography.message import BrokerUnavailable

    match error:
        case BrokenPipeError():
            return None  # it is our reader that left
        case amqp.AuthenticationError() | amqp.ProbableAuthenticationError() | amqp.ConnectionNotAllowed():
            return "RabbitMQ refuses this user, password or virtual host; correct SAGA_AMQP_URL"
        case amqp.ChannelAccessRefused():
            return f"RabbitMQ does not let this user do that ({error}); use an operator's SAGA_AMQP_URL"
        case amqp.ChannelNotFoundEntity():
            return f"RabbitMQ lacks a queue ({error}); start the services once, they declare theirs"
        case BrokerUnavailable():
            return f"{error}; see what `saga status` says and run this again, nothing is lost by that"
        case amqp.AMQPError() | OSError() | amqp.ChannelInvalidStateError():
            reason = re.sub(r"//[^/@]*@", "//", str(error)) or type(error).__name__
            return f"RabbitMQ could not be reached ({reason}); start it with `saga up`, or correct SAGA_AMQP_URL"
        case _:
            return None


def origin(request: httpx.Request) -> str:
    """Where a request went, without user, password and path."""
    url = request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _escaped(char: str) -> str:
    return " " if char in "\n\r\t" else char.encode("unicode_escape").decode("ascii")
