"""Say whether this process is alive, and whether it can do its work."""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from api.openapi import CORRELATION_PARAMETER, answers
from api.ports import DEGRADED, Readiness
from api.schemas import Health, Ready

_ALIVE: Final = b'{"status":"ok"}'


def health_routes(readiness: Readiness) -> APIRouter:
    """`/healthz` and `/readyz`; the latter names what is missing."""
    router = APIRouter(tags=["operation"])
    extra = {"parameters": [CORRELATION_PARAMETER]}

    @router.get(
        "/healthz",
        summary="Is the process alive?",
        responses=answers(200, Health, "It is"),
        openapi_extra=extra,
    )
    async def healthz() -> Response:
        return Response(_ALIVE, media_type="application/json")

    @router.get(
        "/readyz",
        summary="Can it do its work?",
        responses=answers(200, Ready, "It can") | answers(503, Ready, "It cannot; `checks` says what is missing"),
        openapi_extra=extra,
    )
    async def readyz() -> Response:
        checks = await readiness()
        ready = all(state == "ok" or state.startswith(DEGRADED) for state in checks.values())
        body = msgspec.json.encode({"ready": ready, "checks": checks})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    return router
