"""Have the order service start orchestrated sagas: it works on them, so it gets a first task with Temporal's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Final

import structlog
from pydantic import ValidationError

from api.gateway.dependencies import QueryClient, ServiceRequest
from api.schemas import NewSaga, SagaStarted
from workflows.saga_input import SagaInput

log = structlog.get_logger()

_WITHIN: Final = 1.0  # seconds; a command is confirmed within 1.5, and Temporal itself may still have to be asked
_PAUSE: Final = 5.0  # seconds in which a service that has not answered as it should is not asked again


class Started(Enum):
    YES = auto()
    NO = auto()
    PERHAPS = auto()  # nobody knows, since there was no answer


class OrderServiceStarts:
    """Asks the order service to start sagas. If it does not, nothing is lost: whoever asks can start them himself."""

    def __init__(self, service: QueryClient, clock: Callable[[], float] = monotonic) -> None:
        self._service = service
        self._clock = clock
        self._not_before = 0.0

    async def start(self, saga: SagaInput, *, traceparent: str | None) -> Started:
        """Whether the order service has started the saga."""
        if self._clock() < self._not_before:
            return Started.NO
        question = ServiceRequest(
            method="POST",
            path="/sagas",
            content=NewSaga(saga=saga, traceparent=traceparent).model_dump_json(by_alias=True).encode(),
            headers={"X-Correlation-Id": saga.correlation_id, "Content-Type": "application/json"},
        )
        try:
            async with asyncio.timeout(_WITHIN):
                answer = await self._service.request(question)
            if answer.status_code == 200:
                told = SagaStarted.model_validate_json(answer.content)
                return Started.YES if told.started else Started.NO
        except (OSError, ValidationError) as error:  # TimeoutError is an OSError
            self._leave_alone(f"{type(error).__name__}: {error}")
            return Started.PERHAPS
        self._leave_alone(f"it said {answer.status_code}")
        return Started.NO if answer.status_code < 500 else Started.PERHAPS

    def _leave_alone(self, why: str) -> None:
        log.info("sagas_started_directly", why=why, seconds=_PAUSE)
        self._not_before = self._clock() + _PAUSE
