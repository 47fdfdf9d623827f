"""Answer whether this process is alive, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from fastapi import APIRouter
from starlette.responses import Response

from api.examples import ALIVE, NOT_READY, READY
from api.json_response import encoded_response, json_response
from api.openapi import CORRELATION_PARAMETER, answers, problems
from api.schemas import Health, Ready

# The state of each part that a process depends on, by name: `ok`, or what is wrong. After DEGRADED, the process can do
# without that part.
DEGRADED: Final = "degraded: "
Readiness: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]

_ALIVE: Final = b'{"status":"ok"}'


def health_routes(readiness: Readiness) -> APIRouter:
    """`/healthz` and `/readyz`. The latter names what is missing."""
    router = APIRouter(tags=["operation"])
    extra = {"parameters": [CORRELATION_PARAMETER]}

    @router.get(
        "/healthz",
        summary="Is the process alive?",
        description="It is, if it answers.",
        responses=answers(200, Health, "It is", like=[ALIVE]) | problems(),
        openapi_extra=extra,
    )
    async def get_health() -> Response:
        return encoded_response(_ALIVE)

    @router.get(
        "/readyz",
        summary="Can it do its work?",
        description="Not without what `checks` names; what is `degraded` it can do without.",
        responses=answers(200, Ready, "It can", like=[READY])
        | answers(503, Ready, "It cannot; `checks` says what is missing", like=[NOT_READY])
        | problems(),
        openapi_extra=extra,
    )
    async def get_readiness() -> Response:
        checks = await readiness()
        ready = all(state == "ok" or state.startswith(DEGRADED) for state in checks.values())
        return json_response({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    return router
