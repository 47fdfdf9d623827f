"""Ask all processes for what operators want to know or have done: each answers for its own queues and database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog

from api.gateway.downstream import Lane, ReadApi, ServiceAway
from api.gateway.original_services import needs_ours
from api.problems import Problem, ProblemType, unavailable
from api.schemas import DeadLetterFilter, Replay
from models.originals import NO_ORIGINALS, Originals
from workflows.temporal_errors import TemporalUnavailable

log = structlog.get_logger()

_LOOK: Final = 30.0  # seconds: a queue of thousands is looked through
_CHANGE: Final = 300.0  # seconds: a process answers when all has been published


class Reconcilers(Protocol):
    async def reconcile(self) -> None:
        """Have a sweep begin now, or after the one that is under way. Raises TemporalUnavailable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Who asks, by the name of the API key, and under which id it is traced."""

    name: str
    correlation_id: str


class Operators:
    """What the operators' paths do. Every method raises Problem; while a process is away, 503 names it."""

    def __init__(
        self,
        *,
        orders: ReadApi,
        payments: ReadApi,
        worker: ReadApi,
        reconciler: Reconcilers,
        originals: Originals = NO_ORIGINALS,
    ) -> None:
        self._services = (orders, payments)
        self._processes = (orders, payments, worker)
        self._reconciler = reconciler
        self._originals = originals

    async def letters(self, which: DeadLetterFilter, limit: int, operator: Operator) -> dict[str, Any]:
        """Dead letters that match, at most `limit` of each process, and how many there are in all."""
        found = await self._each("find", _json_of(which) | {"limit": limit}, _LOOK, operator)
        data = [letter for each in found for letter in each["data"]]
        return {"data": data[:limit], "total": sum(each["total"] for each in found)}

    async def causes(self, which: DeadLetterFilter, operator: Operator) -> dict[str, Any]:
        """How many there are of each queue, event type and cause, the most frequent first."""
        found = await self._each("causes", _json_of(which), _LOOK, operator)
        groups = [group for each in found for group in each["data"]]
        return {"data": sorted(groups, key=lambda group: -group["count"])}

    async def letter(self, letter_id: str, operator: Operator) -> dict[str, Any]:
        """One in full."""
        found = await self._each("find", {"ids": [letter_id]}, _LOOK, operator)
        letters: list[dict[str, Any]] = [letter for each in found for letter in each["data"]]
        if not letters:
            raise unknown_letter(letter_id)
        return letters[0]

    async def redrive(self, which: Mapping[str, Any], operator: Operator) -> int:
        """How many went back to the queue that they failed in."""
        return await self._count("redrive", which, operator)

    async def discard(self, which: Mapping[str, Any], operator: Operator) -> int:
        """How many are gone for good."""
        return await self._count("discard", which, operator)

    async def replay(self, which: Replay, operator: Operator) -> int:
        """How many events both services have published once more: the order service's first, as they happened."""
        self._check_ours()
        self._note("replay", operator, _json_of(which))
        body = _json_of(which) | {"by": operator.name}
        answers = [await self._ask(service, "/events/replay", body, _CHANGE, operator) for service in self._services]
        return sum(answer["replayed"] for answer in answers)

    async def reconcile(self, operator: Operator) -> None:
        """Have the reconciler sweep once more."""
        self._note("reconcile", operator, {})
        try:
            await self._reconciler.reconcile()
        except TemporalUnavailable as error:
            raise unavailable("Temporal, which runs the reconciler, does not answer; try again") from error

    async def audit(self, operator: Operator) -> dict[str, Any]:
        """What each service's database shows by itself; nobody compares them here."""
        self._note("audit", operator, {})
        found = await asyncio.gather(*(self._audit_of(service, operator) for service in self._services))
        checks = [check for each in found for check in each["checks"]]
        return {
            "holds": not any(check["violations"] for check in checks),
            "checks": checks,
            "waiting": sum(each["waiting"] for each in found),
            "leftOut": ["comparisons of both databases", "dead letters", "timelines"],
        }

    async def _audit_of(self, service: ReadApi, operator: Operator) -> dict[str, Any]:
        try:
            found = await service.get(
                "/audit", correlation_id=operator.correlation_id, timeout=_LOOK, lane=Lane.OPERATOR
            )
        except ServiceAway as away:
            raise unavailable(f"{away}; try again") from away
        return _decoded(found or b'{"checks":[],"waiting":0}')

    async def _count(self, act: str, which: Mapping[str, Any], operator: Operator) -> int:
        self._check_ours()
        found = await self._each(act, which, _CHANGE, operator)
        return sum(number for each in found for number in each.values())

    def _check_ours(self) -> None:
        """Refuse, before anybody has done a part of it, what an original service has no path for. Raises Problem."""
        for name in sorted(self._originals):
            raise needs_ours(name, "It has no paths for operators; use the commands of `saga`")

    async def _each(
        self, act: str, which: Mapping[str, Any], timeout: float, operator: Operator
    ) -> list[dict[str, Any]]:
        """What every process answers about its dead letters."""
        self._note(f"dead_letters_{act}", operator, which)
        body = {**which, "by": operator.name}
        path = f"/dead-letters/{act}"
        asked = (self._ask(each, path, body, timeout, operator) for each in self._processes)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:  # whatever one of them refuses, the others have done what they were asked to
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _ask(
        self, service: ReadApi, path: str, body: Mapping[str, Any], timeout: float, operator: Operator
    ) -> dict[str, Any]:
        try:
            answer = await service.post(
                path,
                msgspec.json.encode(body),
                correlation_id=operator.correlation_id,
                timeout=timeout,
                lane=Lane.OPERATOR,
            )
        except ServiceAway as away:
            raise unavailable(f"{away}; try again, which is safe") from away
        return _decoded(answer)

    def _note(self, action: str, operator: Operator, which: Mapping[str, Any]) -> None:
        asked = {name: value for name, value in which.items() if value is not None}
        log.info("operator_action", action=action, operator=operator.name, asked=asked)


def unknown_letter(letter_id: str) -> Problem:
    return Problem(
        ProblemType.NOT_FOUND,
        f"No dead letter has the id {letter_id[:80]}; it may have been redriven or discarded already, "
        "or another instance looks through all of them just now: try again",
    )


def _json_of(which: DeadLetterFilter | Replay) -> dict[str, Any]:
    return which.model_dump(mode="json", by_alias=True, exclude_none=True)


def _decoded(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(content)
    return found
