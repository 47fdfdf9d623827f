"""The console's routes for the parts of the system: how they are, and on the embedded stack, breaking one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from api.gateway.console.parts import Parts
from api.gateway.dependencies import Breaker
from api.gateway.guard import key_of
from api.gateway.keys import ApiKey, Role
from api.gateway.operator_routes import operator_of
from api.json_response import json_response
from api.loopback import is_loopback_address
from api.problems import Problem, ProblemType, unavailable
from api.requests import read_body

log = structlog.get_logger()

_OWN: Final = "gateway"

Part = Annotated[str, Path(max_length=32)]


class ForSeconds(BaseModel):
    """For how long a part stands still, or is cut off."""

    model_config = ConfigDict(extra="forbid")
    seconds: float = Field(ge=1, le=60)


def may_break(breaker: Breaker | None, key: ApiKey | None, scope: Scope) -> bool:
    """Whether there is a supervisor to ask, and an operator asks; without keys, somebody on this machine."""
    if breaker is None or not breaker.is_there:
        return False
    return key.role is Role.OPERATOR if key is not None else _is_local(scope)


def part_routes(*, parts: Parts, breaker: Breaker | None) -> APIRouter:
    """Routes under `/console/parts`, for operators."""
    router = APIRouter(prefix="/console/parts", include_in_schema=False)

    @router.get("")
    async def list_parts() -> Response:
        return json_response({"parts": await parts.read()})

    @router.post("/{name}/kill")
    async def kill_part(request: Request, name: Part) -> Response:
        asked = _breaking(breaker, request, "kill_part", name)
        return await _done(asked.kill, name)

    @router.post("/{name}/freeze")
    async def freeze_part(request: Request, name: Part) -> Response:
        seconds = (await read_body(request, ForSeconds)).seconds
        asked = _breaking(breaker, request, "freeze_part", name, seconds=seconds)
        return await _done(asked.freeze, name, seconds)

    @router.post("/{name}/cut")
    async def cut_part(request: Request, name: Part) -> Response:
        seconds = (await read_body(request, ForSeconds)).seconds
        asked = _breaking(breaker, request, "cut_part", name, seconds=seconds)
        if not any(each["name"] == name and each["cuttable"] for each in asked.processes()):
            detail = f"{name} is reached directly. A stack that `saga up --cuttable` has started can be cut off"
            raise Problem(ProblemType.CONFLICT, detail)
        return await _done(asked.cut, name, seconds)

    return router


def _breaking(breaker: Breaker | None, request: Request, action: str, name: str, **asked: Any) -> Breaker:
    """Whom to ask. It is logged before it is done: whoever does it may be the one who is killed. Raises Problem."""
    if breaker is None or not may_break(breaker, key_of(request.scope), request.scope):
        detail = "Parts can be broken on the embedded stack alone, which `saga up` starts, and by operators"
        raise Problem(ProblemType.NOT_FOUND, detail)
    if all(each["name"] != name for each in breaker.processes()):
        raise Problem(ProblemType.NOT_FOUND, f"The stack has no part {name}; GET /api/console/parts lists them")
    log.info("operator_action", action=action, operator=operator_of(request).name, asked={"name": name, **asked})
    return breaker


async def _done(act: Callable[..., Awaitable[None]], name: str, *more: float) -> Response:
    """The answer when it is done. To what is done to this process itself, the answer comes first."""
    content = {"message": f"{name} is broken as asked"}
    if name == _OWN:
        return json_response(content, then=BackgroundTask(act, name, *more))
    try:
        await act(name, *more)
    except LookupError as error:
        raise Problem(ProblemType.CONFLICT, f"{error.args[0]}; try again later") from error
    except OSError as error:
        raise unavailable("The supervisor of the embedded stack does not answer; try again") from error
    return json_response(content)


def _is_local(scope: Scope) -> bool:
    return is_loopback_address((scope.get("client") or ("", 0))[0])
