"""A process's dead letters and its database's audit, as operators ask for them through the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol, TypeAlias

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.problems import unavailable
from api.requests import read_body
from api.schemas import DeadLetterCauses, DeadLettersFound, Discarded, NoQuery, Redriven
from api.services.schemas import OwnAudit, TheseLetters
from choreography.connection_errors import explain
from choreography.dead_letter_json import as_json
from choreography.dead_letters import DeadLetterRecord, Wanted
from choreography.outgoing_message import BrokerUnavailable, NotStored

Audit: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]


class DeadLetterStore(Protocol):
    """The part of choreography.dead_letters.DeadLetters that is used; every method may raise BrokerUnavailable."""

    async def all(self) -> list[DeadLetterRecord]: ...
    async def redrive(self, wanted: Wanted, *, by: str = "") -> list[DeadLetterRecord]: ...
    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]: ...


def dead_letter_routes(letters: DeadLetterStore) -> APIRouter:
    """Routes under `/dead-letters`, for the queues that this process reads."""
    router = APIRouter(prefix="/dead-letters", tags=["operation"])

    @router.post(
        "/find",
        responses=answers(200, DeadLettersFound, "Those that match, oldest first") | problems(401, 503),
        openapi_extra=takes(TheseLetters),
    )
    async def find_dead_letters(request: Request) -> Response:
        these = await read_body(request, TheseLetters)
        found = [record for record in await _told(letters.all()) if wanted(these)(record)]
        return json_response({"data": [as_json(record) for record in found[: these.limit]], "total": len(found)})

    @router.post(
        "/causes",
        responses=answers(200, DeadLetterCauses, "How many there are of each cause") | problems(401, 503),
        openapi_extra=takes(TheseLetters),
    )
    async def count_dead_letters(request: Request) -> Response:
        these = await read_body(request, TheseLetters)
        return json_response({"data": by_cause(list(filter(wanted(these), await _told(letters.all()))))})

    @router.post(
        "/redrive",
        responses=answers(200, Redriven, "How many went back to their queue") | problems(401, 503),
        openapi_extra=takes(TheseLetters),
    )
    async def redrive_dead_letters(request: Request) -> Response:
        these = await read_body(request, TheseLetters)
        return json_response({"redriven": len(await _told(letters.redrive(wanted(these), by=these.by)))})

    @router.post(
        "/discard",
        responses=answers(200, Discarded, "How many are gone for good") | problems(401, 503),
        openapi_extra=takes(TheseLetters),
    )
    async def discard_dead_letters(request: Request) -> Response:
        these = await read_body(request, TheseLetters)
        return json_response({"discarded": len(await _told(letters.discard(wanted(these))))})

    return router


def audit_routes(audit: Audit) -> APIRouter:
    """`/audit`: what this database shows by itself."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/audit",
        responses=answers(200, OwnAudit, "What was found") | problems(401, 503),
        openapi_extra=takes(),
    )
    async def audit_database(_: Annotated[NoQuery, Query()]) -> Response:
        return json_response(await audit())

    return router


def wanted(these: TheseLetters) -> Wanted:
    """Whether a dead letter meets every condition given; capitals make no difference."""
    conditions = {"reason": these.reason, "queue": these.queue, "event_type": these.event_type}
    conditions["order_id"] = str(these.order_id) if these.order_id else None
    given = {name: value.lower() for name, value in conditions.items() if value is not None}
    ids = None if these.ids is None else set(these.ids)

    def matches(record: DeadLetterRecord) -> bool:
        if ids is not None and record.id not in ids:
            return False
        return all(str(getattr(record, name)).lower() == value for name, value in given.items())

    return matches


def by_cause(records: Sequence[DeadLetterRecord]) -> list[dict[str, Any]]:
    """Counts by queue, event type and cause, the most frequent first, each with its latest error."""
    groups: dict[tuple[str, str | None, str], dict[str, Any]] = {}
    for record in records:
        group = groups.setdefault(
            (record.queue, record.event_type, record.reason),
            {"queue": record.queue, "eventType": record.event_type, "cause": record.reason, "count": 0}
            | {"redriven": 0},
        )
        group["count"] += 1
        group["redriven"] = group.get("redriven", 0) + (record.redriven > 0)
        group["error"] = record.error
        group["latest"] = record.failed_at
    return sorted(groups.values(), key=lambda group: -group["count"])


async def _told(asked: Awaitable[list[DeadLetterRecord]]) -> list[DeadLetterRecord]:
    """Raises Problem when the broker doesn't answer: asking again is safe."""
    try:
        return await asked
    except NotStored as error:
        raise unavailable(f"A queue did not take back its dead letter ({error}); it is kept, so try again") from error
    except Exception as error:
        if not isinstance(error, BrokerUnavailable | OSError) and explain(error) is None:
            raise
        raise unavailable("The message broker does not answer; asking again is safe") from error
