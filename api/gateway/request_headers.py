"""Read the headers and the query of POST /orders, instead of FastAPI."""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request

from api.problems import Violation, from_pydantic, invalid
from api.schemas import NoQuery
from models.texts import is_idempotency_key

_LONGEST_WAIT: Final = 9  # digits; a longer number is more than the longest wait
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"?'
# RFC 7240, section 2: a name with or without a value, then parameters, whose values may be quoted, too.
_PREFERENCE: Final = re.compile(
    rf'(?:^|,)\s*(?P<name>[^\s",;=]+)(?:\s*=\s*(?P<value>{_QUOTED}|[^\s",;=]+)(?=\s*(?:[;,]|$)))?(?:[^",]|{_QUOTED})*'
)


def refuse_query(request: Request) -> None:
    """Raise Problem if there is a query parameter, because it would have no effect."""
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
    if len(keys) > 1 or not is_idempotency_key(keys[0]):
        message = "must be given once and have 1 to 255 printable ASCII characters"
        raise invalid(Violation(part="header", field="Idempotency-Key", rule="idempotency_key", message=message))
    return keys[0]


def preferred_wait(request: Request, longest: int) -> int | None:
    """The N of `Prefer: wait=N`, at most `longest`; None if there is none.

    RFC 7240: the first `wait` counts, and an invalid value is ignored instead of refused.
    """
    fields = request.headers.getlist("prefer")
    for preference in _PREFERENCE.finditer(",".join(fields)) if fields else ():
        if preference["name"].lower() == "wait":
            seconds = re.fullmatch(r'(?P<quote>"?)0*(?P<digits>[0-9]+)(?P=quote)', preference["value"] or "")
            if seconds is None:
                return None
            return longest if len(seconds["digits"]) > _LONGEST_WAIT else min(int(seconds["digits"]), longest)
    return None
