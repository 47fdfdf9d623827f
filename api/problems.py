"""Answer every error with RFC 9457 problem details: what, which, why and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import Scope

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
CORRELATION_ID: Final = "saga.correlation_id"  # where the correlation id is kept in an ASGI scope

_MOST_ERRORS: Final = 20
_LONGEST_TEXT: Final = 200
_CHANGING: Final = ("DELETE", "PATCH", "POST", "PUT")


class ProblemType(Enum):
    """The types of problems, each with slug, status and title."""

    REFUSED = ("refused", 400, "The request was refused")
    UNAUTHORIZED = ("unauthorized", 401, "Credentials are missing or wrong")
    FORBIDDEN = ("forbidden", 403, "Not allowed to whoever asks")
    NOT_FOUND = ("not-found", 404, "Not found")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "Method not allowed")
    TIMEOUT = ("request-timeout", 408, "The request took too long to arrive")
    CONFLICT = ("conflict", 409, "Conflicts with what is there")
    TOO_LARGE = ("body-too-large", 413, "The request body is too large")
    TARGET_TOO_LONG = ("target-too-long", 414, "The request's target is too long")
    UNSUPPORTED = ("unsupported-media-type", 415, "The request body is of another type")
    MISDIRECTED = ("misdirected", 421, "Nothing is served here under that name")
    INVALID = ("invalid-request", 422, "The request breaks a rule")
    TOO_MANY = ("too-many-requests", 429, "Too many requests")
    HEAD_TOO_LARGE = ("header-too-large", 431, "The request header is too large")
    INTERNAL = ("internal-error", 500, "Something went wrong here")
    NOT_IMPLEMENTED = ("not-implemented", 501, "Not possible with an original service")
    UNAVAILABLE = ("unavailable", 503, "Temporarily unavailable")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.type = f"urn:payment-saga:problem:{slug}"
        self.status = status
        self.title = title


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A rule that a request breaks. `part` is body, query, path or header."""

    part: str
    field: str
    rule: str
    message: str


class Problem(Exception):
    """An error that becomes the answer to a request."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.status = status or kind.status


def unavailable(detail: str, *, retry_after: int = 1) -> Problem:
    """A 503 that says when to try again, in seconds."""
    return Problem(ProblemType.UNAVAILABLE, detail, headers={"Retry-After": str(retry_after)})


def not_taken(by: str) -> Problem:
    """A 503 for a command that certainly has no effect. The client must send it again."""
    return unavailable(f"{by} did not take the command, so nothing will come of it; try again")


def undecided(by: str, order_id: UUID, *, may_be: str, within: float) -> Problem:
    """A 503 for a command that may take effect all the same. It tells the client so, and where to look."""
    detail = (
        f"{by} did not confirm the command within {within:g} s: order {order_id} may still be {may_be}. "
        f"GET /api/orders/{order_id} tells once it is. Asking again is safe; for a POST, with the same Idempotency-Key"
    )
    headers = {"Retry-After": "1", "Location": f"/api/orders/{order_id}"}
    return Problem(ProblemType.UNAVAILABLE, detail, headers=headers)


def invalid(*violations: Violation) -> Problem:
    """A 422 that names every field and the rule it breaks."""
    shown = violations[:_MOST_ERRORS]
    detail = "; ".join(f"{violation.field} {violation.message}" for violation in shown)
    return Problem(ProblemType.INVALID, detail, errors=shown)


def violations_of(errors: Sequence[Any], part: str | None = None) -> list[Violation]:
    """Pydantic's errors in our words. Without `part`, each error's location begins with the part."""
    found = []
    for error in errors[:_MOST_ERRORS]:
        location = [str(step) for step in error["loc"]]
        where = part or (location.pop(0) if location else "request")
        rule = str(error["type"])
        message = _in_our_words(rule, str(error["msg"]))
        # An error about the whole body (its syntax, its type) has no field, so it names the part.
        field = ".".join(location) if location and rule != "json_invalid" else where
        found.append(Violation(part=where, field=field[:_LONGEST_TEXT], rule=rule, message=message[:_LONGEST_TEXT]))
    return found


def _in_our_words(rule: str, message: str) -> str:
    match rule:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not known here; leave it out"
        case "json_invalid":
            return message.replace("Invalid JSON:", "is not JSON:")
        case "value_error":
            return message.removeprefix("Value error, ")
        case _:
            return message.replace("Input should be", "must be").replace("Input should", "must")


def respond(problem: Problem, scope: Scope) -> Response:
    """The answer to the request of this scope."""
    body = msgspec.json.encode(content_of(problem, path=scope["path"], correlation_id=scope.get(CORRELATION_ID)))
    return Response(body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def content_of(problem: Problem, *, path: str, correlation_id: str | None) -> dict[str, Any]:
    """The members of the problem details."""
    content: dict[str, Any] = {
        "type": problem.kind.type,
        "title": problem.kind.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": quote(path, safe="/:@!$&'()*+,;=-._~"),
        "correlationId": correlation_id,
    }
    if problem.errors:
        content["errors"] = [
            {"field": error.field, "in": error.part, "rule": error.rule, "message": error.message}
            for error in problem.errors
        ]
    return content


def unexpected(error: Exception, scope: Scope) -> Response:
    """A 500 that tells the client only the correlation id. The log has the error under that id."""
    log.error("request_failed", method=scope["method"], path=scope["path"], exc_info=error)
    return respond(internal(), scope)


def unauthorized() -> Problem:
    detail = (
        "This port answers the gateway alone: send `Authorization: Bearer <internal token>`, "
        "or the internal token as the password of Basic credentials"
    )
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer, Basic realm="internal"'})


def internal() -> Problem:
    detail = "The request could not be handled; the log has more under this correlation id. Try again later."
    return Problem(ProblemType.INTERNAL, detail)


def install(app: FastAPI) -> None:
    """Make every error of this application a problem."""

    async def on_problem(request: Request, error: Any) -> Response:
        return respond(error, request.scope)

    async def on_validation_error(request: Request, error: Any) -> Response:
        return respond(invalid(*violations_of(error.errors())), request.scope)

    async def on_http_exception(request: Request, error: Any) -> Response:
        allowed = ", ".join(allowed_methods(app, request.scope))
        if request.method == "OPTIONS" and allowed:
            return Response(status_code=204, headers={"Allow": allowed})
        return respond(_as_problem(error, request, allowed), request.scope)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def _as_problem(error: HTTPException, request: Request, allowed: str) -> Problem:
    match error.status_code:
        case 404:
            return Problem(
                ProblemType.NOT_FOUND, f"There is nothing at {request.url.path}; see /docs for what there is"
            )
        case 405:
            detail = f"{request.method} is not possible at {request.url.path}; use {allowed}"
            return Problem(ProblemType.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
        case status:
            return Problem(ProblemType.REFUSED, str(error.detail), status=status, headers=error.headers)


def allowed_methods(app: FastAPI, scope: Scope) -> list[str]:
    """The methods for `Allow` (RFC 9110, 10.2.1): those of all routes at this path; none if there is no route."""
    root = scope.get("app_root_path", scope.get("root_path", ""))  # a mount changes root_path
    asked = {"type": "http", "path": scope["path"], "root_path": root, "headers": []}

    def is_possible(method: str) -> bool:
        return any(
            route.matches({**asked, "method": method})[0] is Match.FULL
            for route in app.routes
            if method == "GET" or not isinstance(route, Mount)  # files are only read
        )

    if scope["path"] == "*":  # the whole server
        return ["GET", "HEAD", *_CHANGING, "OPTIONS"]
    reading = ["GET", "HEAD"] if is_possible("GET") else []
    found = reading + [method for method in _CHANGING if is_possible(method)]
    return [*found, "OPTIONS"] if found else []


def from_pydantic(error: ValidationError, part: str) -> Problem:
    """The 422 for a part of a request that Pydantic refused."""
    return invalid(*violations_of(error.errors(include_url=False, include_context=False, include_input=False), part))
