"""Have the order service start orchestrated sagas: it works on them, so it gets a first task with Temporal's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final, TypeAlias

import structlog
from pydantic import ValidationError

from api.gateway.dependencies import QueryClient, ServiceRequest
from api.schemas import NewSaga, SagaStarted
from models.futures import forget_error
from workflows.saga_input import SagaInput
from workflows.temporal_errors import RequestNotTaken, TemporalUnavailable

log = structlog.get_logger()

# Starts a saga at Temporal. Raises TemporalUnavailable.
Directly: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_MOST: Final = 64  # requests at once; more would only wait there
_TOLERANCE: Final = 4.0  # an answer is waited for so many times as long as one usually takes …
_SHORTEST: Final = 0.1  # … but no shorter than so many seconds …
_LONGEST: Final = 0.75  # … and no longer: a command is confirmed within 1.5
_SMOOTHING: Final = 0.2  # the weight of the newest answer in the usual time
_GIVEN_UP: Final = 2.0  # seconds after which a request is given up
_TRIED_EVERY: Final = 1.0  # seconds between two requests to a service that has not answered in time


class OrderServiceStarts:
    """Asks the order service to start sagas. Whatever it does, they are started: a second start changes nothing.

    Once it has not answered in time, sagas are started directly, and no order waits for it. Every second it is asked
    for a saga that has been started already, to see whether it answers again.
    """

    def __init__(self, service: QueryClient, clock: Callable[[], float] = monotonic) -> None:
        self._service = service
        self._clock = clock
        self._usual = 0.05  # seconds that an answer takes
        self._in_time = True  # whether the latest request was answered in time
        self._tried = 0.0
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self, saga: SagaInput, *, traceparent: str | None, directly: Directly) -> None:
        """Start the saga; on return the start is durable. If the order service takes long, whoever is first counts.

        Raises TemporalUnavailable. That is RequestNotTaken only if neither way has started the saga for certain.
        """
        if not self._in_time:
            await directly()
            self._try_again(saga, traceparent)
        elif len(self._asking) >= _MOST:
            await directly()
        else:
            asking, patience = self._ask(saga, traceparent), self._patience
            await asyncio.wait((asking,), timeout=patience)
            if not asking.done():
                self._note(in_time=False, why=f"no answer within {patience:.2f} s")
            if not asking.done() or asking.exception() is not None:
                await _either(asking, directly)

    @property
    def _patience(self) -> float:
        return min(_LONGEST, max(_SHORTEST, _TOLERANCE * self._usual))

    def _try_again(self, saga: SagaInput, traceparent: str | None) -> None:
        if self._clock() - self._tried >= _TRIED_EVERY:
            self._tried = self._clock()
            self._ask(saga, traceparent)

    def _ask(self, saga: SagaInput, traceparent: str | None) -> asyncio.Task[None]:
        """Ask, and go on when nobody waits any more: what an answer says of the order service is good to know."""
        asking = asyncio.create_task(self._asked(saga, traceparent))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        asking.add_done_callback(forget_error)
        return asking

    async def _asked(self, saga: SagaInput, traceparent: str | None) -> None:
        """Have the order service start the saga. Raises TemporalUnavailable."""
        question = ServiceRequest(
            method="POST",
            path="/sagas",
            content=NewSaga(saga=saga, traceparent=traceparent).model_dump_json(by_alias=True).encode(),
            headers={"X-Correlation-Id": saga.correlation_id, "Content-Type": "application/json"},
        )
        began = self._clock()
        try:
            async with asyncio.timeout(_GIVEN_UP):
                answer = await self._service.request(question)
            started = answer.status_code == 200 and SagaStarted.model_validate_json(answer.content).started
        except (OSError, ValidationError) as error:  # TimeoutError is an OSError
            self._note(in_time=False, why=f"{type(error).__name__}: {error}")
            raise TemporalUnavailable("The order service does not say whether it has started the saga") from error
        took = self._clock() - began
        self._note(in_time=started and took <= _LONGEST, why=f"it said {answer.status_code} after {took:.2f} s")
        if answer.status_code >= 500:
            raise TemporalUnavailable("The order service does not say whether it has started the saga")
        if not started:
            raise RequestNotTaken("The order service has not started the saga")
        self._usual += _SMOOTHING * (took - self._usual)

    def _note(self, *, in_time: bool, why: str) -> None:
        if in_time != self._in_time:
            log.info("sagas_started_by_order_service" if in_time else "sagas_started_directly", why=why)
        self._in_time = in_time


async def _either(asking: asyncio.Task[None], directly: Directly) -> None:
    """Wait until one of the two has started the saga. If neither has, raises the error that is less certain."""
    starting = asyncio.create_task(directly())
    starting.add_done_callback(forget_error)
    errors: list[TemporalUnavailable] = []
    try:
        for done in asyncio.as_completed((asking, starting)):
            try:
                await done
            except TemporalUnavailable as error:
                errors.append(error)
            else:
                return
    finally:
        starting.cancel()
    raise min(errors, key=lambda error: isinstance(error, RequestNotTaken))
