"""The console's routes for its session: a key is exchanged for a cookie that no script can read."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.gateway.console.part_routes import may_break
from api.gateway.console.sessions import COOKIE, LIFE, Sessions
from api.gateway.dependencies import Breaker, Clock, GatewaySettings
from api.gateway.guard import key_of, session_of, wrong_key
from api.gateway.keys import ApiKey, Keys
from api.json_response import json_response
from api.requests import read_body
from models.saga import Coordinator

_NO_STORE: Final = {"Cache-Control": "no-store"}


class SignIn(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(min_length=1, max_length=256, repr=False)


def session_routes(
    *, keys: Keys, sessions: Sessions, clock: Clock, settings: GatewaySettings, breaker: Breaker | None
) -> APIRouter:
    """Routes under `/console/session`, open to everybody."""
    router = APIRouter(prefix="/console/session", include_in_schema=False)

    def told(request: Request, key: ApiKey | None, cookie: str | None) -> Response:
        is_known = key is not None or not keys
        known = None if key is None else {"name": key.name, "role": key.role, "userId": key.user_id}
        content: dict[str, Any] = {
            "keysRequired": bool(keys),
            "key": known,
            "proof": sessions.proof(cookie or "") if cookie or not keys else None,
            "breakIt": is_known and may_break(breaker, key, request.scope),
            "coordinators": [Coordinator.CHOREOGRAPHY] if settings.originals else list(Coordinator),
            "temporalUi": settings.temporal_ui,
            "version": version("payment-saga"),
        }
        return json_response(content, headers=_NO_STORE)

    @router.get("")
    async def get_session(request: Request) -> Response:
        return told(request, key_of(request.scope), session_of(request.scope))

    @router.post("")
    async def sign_in(request: Request) -> Response:
        shown = (await read_body(request, SignIn)).key
        key = keys.find(shown.encode())
        if key is None:
            raise wrong_key()
        cookie = sessions.open(key, clock())
        answer = told(request, key, cookie)
        _set_cookie(answer, cookie, LIFE, request)
        return answer

    @router.delete("")
    async def sign_out(request: Request) -> Response:
        answer = told(request, None, None)
        _set_cookie(answer, "", 0, request)
        return answer

    return router


def _set_cookie(answer: Response, value: str, seconds: int, request: Request) -> None:
    """Set it for this site's own pages and no script. A browser tells whether TLS ends in front of us."""
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    answer.set_cookie(COOKIE, value, max_age=seconds, path="/", httponly=True, samesite="Strict", secure=secure)  # type: ignore[arg-type]
