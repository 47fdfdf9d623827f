"""Ask one service with a limited number of requests at once, each with a time limit, and refuse the others early."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum, auto
from time import monotonic
from typing import Any, Final

import structlog

from api.gateway.bulkhead import Bounds, Bulkhead, BulkheadFull
from api.gateway.dependencies import QueryClient, ServiceRequest, ServiceResponse

log = structlog.get_logger()


class Lane(Enum):
    """The purpose of a request. Each has places of its own, so that no purpose can hold back another."""

    QUERY = auto()  # a client reads
    FOLLOW = auto()  # an event log is read for a stream or a timeline
    COMMAND = auto()  # a command needs to know something
    OPERATOR = auto()  # an operator looks, or has something done


# A few requests keep a service's process busy. More at once would only wait there, where nobody can refuse them.
_LANES: Final[Mapping[Lane, Bounds]] = {
    Lane.QUERY: Bounds(at_once=16, waiting=1024, patience=1.6),
    Lane.FOLLOW: Bounds(at_once=8, waiting=512, patience=1.0),
    Lane.OPERATOR: Bounds(at_once=4, waiting=32, patience=5.0),
    Lane.COMMAND: Bounds(at_once=8, waiting=256, patience=1.0),
}
_TELL_EVERY: Final = 1.0  # seconds
_TRACED_BY: Final = "X-Correlation-Id"


class ServiceAway(Exception):
    """A service gave no usable answer in time."""


class ReadApi:
    """The read API of one service."""

    def __init__(self, name: str, client: QueryClient) -> None:
        self.name = name
        self._client = client
        self._gates = {lane: Bulkhead(bounds) for lane, bounds in _LANES.items()}
        self._refused = 0  # requests since the last log line about them
        self._told = 0.0

    async def get(
        self,
        path: str,
        *,
        correlation_id: str,
        timeout: float,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        lane: Lane = Lane.QUERY,
    ) -> bytes | None:
        """The JSON at this path; None if there is none. Raises ServiceAway, after `timeout` seconds at the latest."""
        headers = {_TRACED_BY: correlation_id, **(headers or {})}
        answer = await self._ask(ServiceRequest(method="GET", path=path, params=params, headers=headers), timeout, lane)
        if answer.status_code == 404:
            return None
        if answer.status_code == 200:
            return answer.content
        raise self._misunderstood(answer.status_code)

    async def put(self, path: str, content: bytes, *, correlation_id: str, timeout: float) -> bytes:
        """The JSON that answers a PUT for a command. Raises ServiceAway, after `timeout` seconds at the latest."""
        return await self._send("PUT", path, content, correlation_id, timeout, Lane.COMMAND)

    async def post(
        self, path: str, content: bytes, *, correlation_id: str, timeout: float, lane: Lane = Lane.QUERY
    ) -> bytes:
        """The JSON that a POST of this JSON answers with. Raises ServiceAway after `timeout` seconds."""
        return await self._send("POST", path, content, correlation_id, timeout, lane)

    async def _send(
        self, method: str, path: str, content: bytes, correlation_id: str, timeout: float, lane: Lane
    ) -> bytes:
        headers = {_TRACED_BY: correlation_id, "Content-Type": "application/json"}
        question = ServiceRequest(method=method, path=path, content=content, headers=headers)
        answer = await self._ask(question, timeout, lane)
        if answer.status_code == 200:
            return answer.content
        raise self._misunderstood(answer.status_code)

    async def _ask(self, question: ServiceRequest, timeout: float, lane: Lane) -> ServiceResponse:
        """Send the request. Raises ServiceAway, after `timeout` seconds at the latest, with the wait for a place."""
        try:
            async with asyncio.timeout(timeout), self._gates[lane].place():
                return await self._client.request(question)
        except BulkheadFull as crowded:
            self._tell_of_refusals(lane, str(crowded))
            raise ServiceAway(f"The {self.name} is asked for more than it can answer") from crowded
        except OSError as error:  # TimeoutError is one, too
            told = f"{type(error).__name__}: {error}"
            log.warning("service_away", service=self.name, path=question.path, error=told)
            raise ServiceAway(f"The {self.name} does not answer") from error

    def _tell_of_refusals(self, lane: Lane, why: str) -> None:
        """Log refusals, one line a second at most, so that a flood of requests does not fill the log."""
        self._refused += 1
        if monotonic() - self._told >= _TELL_EVERY:
            log.warning("queries_refused", service=self.name, lane=lane.name, refused=self._refused, why=why)
            self._told, self._refused = monotonic(), 0

    def _misunderstood(self, status: int) -> ServiceAway:
        if status < 500:
            # The gateway has checked its request, so the two disagree about the token or about the API.
            log.error("service_refused_query", service=self.name, status=status)
        return ServiceAway(f"The {self.name} cannot answer now (it said {status})")
