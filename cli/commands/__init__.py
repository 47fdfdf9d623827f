"""Drive and operate a running system from the command line. This module has how commands print and fail."""

from __future__ import annotations

import errno
import functools
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import typer

from cli.hints import here
from cli.printed_tables import text
from cli.terminal import complain, say_json
from embedded.errors import StackError

if TYPE_CHECKING:
    import httpx

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST: Final = 500  # characters of an answer that are shown


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    say_json(json.dumps(value, indent=2, ensure_ascii=False))


def echo_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print(f"{name:<{width}}  {text(value)}")


def may_go_on(question: str, *, yes: bool) -> None:
    """Return if the person at the terminal agrees. Without a terminal, `--yes` is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody is there to ask; add --yes if you mean it.")
    typer.confirm(question, abort=True)


def counted(number: int, noun: str) -> str:
    """The number with its noun: 1 event, 2 events."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """The command with its expected errors told in one line on standard error, and with exit code 1."""
    return failing_with(1)(command)


def failing_with(code: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the command tells expected errors in one line on standard error, and exits with this code."""

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except Exception as error:
                line = explain(error)
                if line is None:
                    raise
                data = kwargs.get("data")
                complain(here(line, data if isinstance(data, Path) else None))
                raise typer.Exit(code) from None

        return guarded

    return decorate


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run asynchronous work. Returns its result."""
    import asyncio

    return asyncio.run(work)


def explain(error: Exception) -> str | None:
    """What went wrong and what to do, as text without secrets; None for an unexpected error."""
    if isinstance(error, StackError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{text(error.filename or 'The disk')} has no room left: make some and try again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{text(error.filename)}: {error.strerror}"
    if isinstance(error, UnicodeEncodeError):
        refused = text(error.object[error.start : error.end])
        return f"{refused} cannot be written as {error.encoding}; check the arguments, and the locale that they came in"
    # A library that was not imported has raised nothing, and importing it takes long.
    if "httpx" in sys.modules and (line := _explain_http(error)) is not None:
        return line
    if "aio_pika" in sys.modules:
        from choreography.connection_errors import explain as explain_amqp

        if (line := explain_amqp(error)) is not None:
            return line
    return (error.strerror or str(error) or type(error).__name__) if isinstance(error, OSError) else None


def _explain_http(error: Exception) -> str | None:
    import httpx

    match error:
        case httpx.HTTPStatusError():
            return _refusal(error.response)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return f"That is not an address ({error}); correct SAGA_GATEWAY_URL and its like"
        case httpx.LocalProtocolError():  # its text may show a secret
            return "An argument or a SAGA_… variable has a character that HTTP cannot carry, such as a line break"
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return f"Nothing answers at {origin(error.request)}; start it with `saga up`, or correct the SAGA_…_URL"
        case httpx.TimeoutException():
            return f"{origin(error.request)} did not answer in time; see what `saga status` says and try again"
        case httpx.HTTPError():
            return f"The connection to {origin(error.request)} broke ({error}); see `saga status` and try again"
        case _:
            return None


def _refusal(answer: httpx.Response) -> str:
    """An error answer (RFC 9457) in one line, with the remedy that its status suggests."""
    problem: dict[str, Any] = {}
    with suppress(ValueError):
        value = answer.json()
        problem = value if isinstance(value, dict) else {}
    fallback = f"{origin(answer.request)} answered {answer.status_code} {answer.reason_phrase}".rstrip()
    detail = str(problem.get("detail") or problem.get("title") or fallback)[:_LONGEST].rstrip(".")
    match answer.status_code:
        case 401 | 403 if not answer.request.url.path.startswith("/api/"):
            return f"{detail}; set SAGA_INTERNAL_TOKEN to one that it accepts"
        case 401:
            return f"{detail}. Commands show the key in SAGA_API_KEY, or in the file that SAGA_API_KEY_FILE names"
        case 429 | 503:
            return f"{detail}; try again in {answer.headers.get('Retry-After', '1')} s"
        case status if status >= 500 and (correlation_id := problem.get("correlationId")):
            return f"{detail} (correlation id {correlation_id})"
        case _:
            return detail


def origin(request: httpx.Request) -> str:
    """The scheme, host and port of a request, without user, password and path."""
    url = request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
