"""Read a JSON body in one pass, which FastAPI does in three."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import Problem, ProblemType, from_pydantic

Body = TypeVar("Body", bound=BaseModel)

_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body, parsed and checked in one pass; bytes that are no JSON are a 422 as well. Raises Problem."""
    body = await request.body()
    if body:
        _check_type(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error, "body") from None


def _check_type(request: Request) -> None:
    # A browser can send any other type from any page without asking, and would place orders that way.
    types = request.headers.getlist("content-type")
    if len(types) != 1 or not _JSON.fullmatch(types[0]):
        raise not_json()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        detail = "The body's Content-Encoding is not understood; send it as it is"
        raise Problem(ProblemType.UNSUPPORTED, detail, headers={"Accept-Encoding": "identity"})


def not_json() -> Problem:
    detail = "The body's Content-Type must be application/json"
    return Problem(ProblemType.UNSUPPORTED, detail, headers={"Accept": "application/json"})


async def read_optional_body(request: Request, model: type[Body]) -> Body:
    """The same, where no body at all means an empty object."""
    return await read_body(request, model) if await request.body() else model()
