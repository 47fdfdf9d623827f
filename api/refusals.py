"""What a client is told whose request is refused before any application sees it."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from api.edge import SAFEGUARDS
from api.problems import CORRELATION_ID, Problem, ProblemType, respond, unavailable

MAX_HEAD: Final = 64 * 1024  # bytes of the request line and the header, line ends included
MAX_FIELDS: Final = 100  # of header and trailer together


def not_http(why: Exception) -> Problem:
    return Problem(ProblemType.REFUSED, f"This is not HTTP/1.1 (RFC 9112): {why}")


def no_target() -> Problem:
    return Problem(ProblemType.REFUSED, "The request's target is neither a path nor a URL in ASCII")


def head_too_large(url: bytes, fields: int) -> Problem:
    """The refusal of a head that does not end, by what has come of it so far."""
    if not fields and len(url) > MAX_HEAD // 2:
        return Problem(ProblemType.TARGET_TOO_LONG, "The request's target is too long; send less in path and query")
    return Problem(ProblemType.HEAD_TOO_LARGE, f"The header is larger than {MAX_HEAD} bytes; send less")


def too_many_fields() -> Problem:
    return Problem(ProblemType.HEAD_TOO_LARGE, f"The request has more than {MAX_FIELDS} header fields; send less")


def too_slow(seconds: float) -> Problem:
    return Problem(ProblemType.TIMEOUT, f"The request was not complete within {seconds:g} s; send it again")


def no_room() -> Problem:
    return unavailable("This process has no room for more connections; try again", retry_after=5)


def bytes_of(problem: Problem, path: str, correlation_id: str | None = None) -> bytes:
    """The whole response to a request for `path` that no application answers. It ends the connection.

    `correlation_id` is that of the request, if its head was complete.
    """
    correlation_id = correlation_id or str(uuid4())
    answer = respond(problem, {"path": path, CORRELATION_ID: correlation_id})
    fields = [
        *answer.raw_headers,
        *SAFEGUARDS,
        (b"x-correlation-id", correlation_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %s" % (problem.status, problem.kind.title.encode()), *(b"%s: %s" % each for each in fields)]
    return b"\r\n".join((*lines, b"", bytes(answer.body)))
