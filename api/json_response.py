"""Answer with a value as JSON, written by msgspec."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response
from starlette.background import BackgroundTask


def json_response(content: Any, *, status_code: int = 200, then: BackgroundTask | None = None) -> Response:
    """A response with `content` as its body, and `then` run once it is sent."""
    body = msgspec.json.encode(content)
    return Response(body, status_code=status_code, media_type="application/json", background=then)
