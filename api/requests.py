"""Read what FastAPI isn't asked to: JSON bodies in one pass, and the headers and query of POST /orders."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import Violation, from_pydantic, invalid
from api.schemas import NoQuery

Body = TypeVar("Body", bound=BaseModel)

_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_KEY: Final = re.compile(r"[ -~]{1,255}")


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body, parsed and checked in one pass; bytes that are no JSON are a 422 as well. Raises Problem."""
    body = await request.body()
    if body and not _JSON.fullmatch(request.headers.get("content-type", "")):
        # A browser can send any other type from any page without asking, and would place orders that way.
        message = "must be application/json"
        raise invalid(Violation(part="header", field="Content-Type", rule="media_type", message=message))
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error, "body") from None


async def read_optional_body(request: Request, model: type[Body]) -> Body:
    """The same, where no body at all means an empty object."""
    return await read_body(request, model) if await request.body() else model()


def refuse_query(request: Request) -> None:
    """Raise Problem if there is any query parameter, which would be heard by nobody."""
    if request.query_params:
        try:
            NoQuery.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise from_pydantic(error, "query") from None


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if there is one. Raises Problem unless it has 1 … 255 printable characters."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        message = "must be given once and have 1 to 255 printable ASCII characters"
        raise invalid(Violation(part="header", field="Idempotency-Key", rule="idempotency_key", message=message))
    return keys[0]


def preferred_wait(request: Request, longest: int) -> int | None:
    """The N of `Prefer: wait=N`, at most `longest`; None when there is none.

    RFC 7240: the first `wait` counts, and what makes no sense is ignored rather than refused.
    """
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = value.strip().strip('"')
            return min(int(seconds), longest) if re.fullmatch(r"[0-9]{1,9}", seconds) else None
    return None
