"""Answer with JSON: with a value that msgspec writes, or with bytes that are JSON already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.background import BackgroundTask
from starlette.responses import Response

_JSON: Final = "application/json"


def json_response(
    content: Any,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    then: BackgroundTask | None = None,
) -> Response:
    """A response with `content` as its body, and `then` run once it is sent."""
    body = msgspec.json.encode(content)
    return Response(body, status_code=status_code, headers=headers, media_type=_JSON, background=then)


def encoded_response(
    body: bytes | None, *, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response with this JSON as its body, byte for byte; None: without a body."""
    return Response(body, status_code=status_code, headers=headers, media_type=_JSON)
