"""Read and check a JSON body in one pass; FastAPI needs three."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import Problem, ProblemType, from_pydantic

Body = TypeVar("Body", bound=BaseModel)

_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body, parsed and checked. Raises Problem; bytes that are not JSON are a 422, too."""
    body = await request.body()
    if body:
        _check_type(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error, "body") from None


def _check_type(request: Request) -> None:
    # From any web page, a browser can send some other types without asking us. So only JSON may place orders.
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
    """The body, parsed and checked. No body means an empty object. Raises Problem."""
    return await read_body(request, model) if await request.body() else model()
