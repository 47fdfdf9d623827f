"""The gateway's routes for operators: dead letters, replay, reconciliation and audit."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.edge import correlation_id_of
from api.gateway.guard import key_of, operators_only
from api.gateway.operators import Operator, Operators, unknown_letter
from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.problems import unavailable
from api.requests import read_body, read_optional_body
from api.schemas import (
    Camel,
    DeadLetterBody,
    DeadLetterCause,
    DeadLetterFilter,
    Discarded,
    NoQuery,
    Redriven,
    Replay,
    Replayed,
    check_replay,
    like,
)

_AWAY: Final = unavailable("The order service does not answer; try again, which is safe")
_ID: Final = examples.DEAD_LETTER["id"]
_NOBODY: Final = "anonymous"  # where no keys are configured
_AUDIT: Final = {
    "holds": True,
    "checks": [{"check": "order without its event", "invariant": 5, "violations": 0, "examples": []}],
    "waiting": 0,
    "leftOut": ["comparisons of both databases", "dead letters", "timelines"],
}
_RECONCILED: Final = {"message": "Reconciliation request accepted"}

LetterId = Annotated[str, Path(alias="letterId", description="The dead letter's id", max_length=255)]


class LettersQuery(DeadLetterFilter):
    """Which dead letters to list, and how."""

    group: Literal["cause"] | None = Field(None, description="Count them by queue, event type and cause instead")
    limit: int = Field(100, ge=1, le=10_000, description="How many at most")


class DeadLettersListed(Camel):
    data: list[DeadLetterBody | DeadLetterCause] = Field(description="Dead letters, or their causes if asked for")
    total: int | None = Field(None, description="How many match; `data` has no more than were asked for")


class AuditBody(Camel):
    model_config = like(_AUDIT)
    holds: bool = Field(description="No check has found a violation")
    checks: list[dict[str, Any]] = Field(description="Each check of one service's database, with its violations")
    waiting: int = Field(description="Events waiting to be published")
    left_out: list[str] = Field(description="What `saga audit` looks at beside this")


class ReconcileAccepted(BaseModel):
    model_config = like(_RECONCILED)
    message: str


def operator_routes(operators: Operators) -> APIRouter:
    """Routes under `/operator`."""
    router = APIRouter(prefix="/operator", tags=["operators"])
    _dead_letter_routes(router, operators)
    _one_letter_routes(router, operators)
    _system_routes(router, operators)
    return router


def _dead_letter_routes(router: APIRouter, operators: Operators) -> None:
    @router.get(
        "/dead-letters",
        summary="List dead letters, or count them by cause",
        description="Each process answers for its own queues. With `group=cause`: how many there are of each queue, "
        "event type and cause, the most frequent first.",
        responses=answers(
            200,
            DeadLettersListed,
            "Those that match; counts with `group=cause`",
            like=[{"data": [examples.DEAD_LETTER], "total": 1}, {"data": [examples.CAUSE]}],
        )
        | problems(operators_only(), _AWAY),
        openapi_extra=takes(),
    )
    async def list_dead_letters(request: Request, query: Annotated[LettersQuery, Query()]) -> Response:
        which = DeadLetterFilter.model_validate(query.model_dump(exclude={"group", "limit"}, by_alias=True))
        if query.group is not None:
            return json_response(await operators.causes(which, operator_of(request)))
        return json_response(await operators.letters(which, query.limit, operator_of(request)))

    @router.post(
        "/dead-letters/redrive",
        summary="Redrive all dead letters that match",
        description="Each goes back to the queue it failed in, with a fresh count of attempts and the name of the API "
        "key. Without a condition it is all of them. Asking again is safe.",
        responses=answers(200, Redriven, "How many went back", like=[{"redriven": 3}])
        | problems(operators_only(), _AWAY),
        openapi_extra=takes(DeadLetterFilter, required=False),
    )
    async def redrive_dead_letters(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        which = await read_optional_body(request, DeadLetterFilter)
        asked = which.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json_response({"redriven": await operators.redrive(asked, operator_of(request))})


def _one_letter_routes(router: APIRouter, operators: Operators) -> None:
    @router.get(
        "/dead-letters/{letterId:path}",
        summary="Show a dead letter, its body too",
        description="All there is to know of it.",
        responses=answers(200, DeadLetterBody, "The dead letter", like=[examples.DEAD_LETTER])
        | problems(operators_only(), unknown_letter(str(_ID)), _AWAY),
        openapi_extra=takes(),
    )
    async def get_dead_letter(request: Request, letter_id: LetterId, _: Annotated[NoQuery, Query()]) -> Response:
        return json_response(await operators.letter(letter_id, operator_of(request)))

    @router.post(
        "/dead-letters/{letterId:path}/redrive",
        summary="Redrive a dead letter",
        description="It goes back to the queue it failed in. Asking again is safe.",
        responses=answers(200, Redriven, "It went back", like=[{"redriven": 1}])
        | problems(operators_only(), unknown_letter(str(_ID)), _AWAY),
        openapi_extra=takes(),
    )
    async def redrive_dead_letter(request: Request, letter_id: LetterId, _: Annotated[NoQuery, Query()]) -> Response:
        return _done("redriven", letter_id, await operators.redrive({"ids": [letter_id]}, operator_of(request)))

    @router.delete(
        "/dead-letters/{letterId:path}",
        summary="Discard a dead letter",
        description="It is gone for good.",
        responses=answers(200, Discarded, "It is gone", like=[{"discarded": 1}])
        | problems(operators_only(), unknown_letter(str(_ID)), _AWAY),
        openapi_extra=takes(),
    )
    async def discard_dead_letter(request: Request, letter_id: LetterId, _: Annotated[NoQuery, Query()]) -> Response:
        return _done("discarded", letter_id, await operators.discard({"ids": [letter_id]}, operator_of(request)))


def _system_routes(router: APIRouter, operators: Operators) -> None:
    @router.post(
        "/events/replay",
        summary="Publish logged events once more",
        description="Of both services, under their original ids; what already happened does not happen twice.",
        responses=answers(200, Replayed, "The broker has confirmed them", like=[{"replayed": 4}])
        | problems(operators_only(), _AWAY),
        openapi_extra=takes(Replay),
    )
    async def replay_events(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        which = await read_body(request, Replay)
        check_replay(which)
        return json_response({"replayed": await operators.replay(which, operator_of(request))})

    @router.post(
        "/reconcile",
        summary="Have the reconciler sweep now",
        description="It finds what fell through everything else. A sweep that is under way ends first.",
        status_code=202,
        responses=answers(202, ReconcileAccepted, "A sweep begins", like=[_RECONCILED])
        | problems(operators_only(), _AWAY),
        openapi_extra=takes(),
    )
    async def reconcile(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        await operators.reconcile(operator_of(request))
        return json_response(_RECONCILED, status_code=202)

    @router.get(
        "/audit",
        summary="Audit each service's database",
        description="A service answers for its own. What takes both, the broker or Temporal, `saga audit` looks at.",
        responses=answers(200, AuditBody, "What was found", like=[_AUDIT]) | problems(operators_only(), _AWAY),
        openapi_extra=takes(),
    )
    async def audit_databases(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        return json_response(await operators.audit(operator_of(request)))


def operator_of(request: Request) -> Operator:
    """Who asks for this."""
    key = key_of(request.scope)
    return Operator(name=key.name if key else _NOBODY, correlation_id=correlation_id_of(request.scope))


def _done(what: str, letter_id: str, number: int) -> Response:
    if not number:
        raise unknown_letter(letter_id)
    return json_response({what: number})
