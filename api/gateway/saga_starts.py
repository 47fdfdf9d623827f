"""Have the order service start orchestrated sagas: it works on them, so it gets a first task with Temporal's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any, Final, TypeAlias

import structlog

from api.gateway.dependencies import QueryClient, ServiceRequest
from api.schemas import NewSaga, SagaStarted
from models.futures import forget_error
from workflows.saga_input import SagaInput
from workflows.temporal_errors import RequestNotTaken, TemporalUnavailable

log = structlog.get_logger()

# Starts a saga at Temporal. Raises TemporalUnavailable.
Directly: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_MOST: Final = 64  # requests at once; more would only wait there
_TOLERANCE: Final = 4.0  # an answer is waited for so many times as long as a direct start usually takes …
_SHORTEST: Final = 0.1  # … but no shorter than so many seconds …
_LONGEST: Final = 0.75  # … and no longer: a command is confirmed within 1.5
_SMOOTHING: Final = 0.2  # the weight of the newest direct start in the usual time
_GIVEN_UP: Final = 2.0  # seconds after which a request is given up
_TRIED_EVERY: Final = 1.0  # seconds, at least, between two requests to a service that has not answered as it should
_REFUSALS: Final = (401, 404, 422)  # with these statuses nothing was started; 404 is a service of a version before


class OrderServiceStarts:
    """Asks the order service to start sagas, and starts them directly if it does not: a second start changes nothing.

    An order waits for the order service as long as four direct starts usually take, 0.75 seconds at most. Once one has
    waited in vain, sagas are started directly. At most once a second, the order service is then asked for a saga that
    has been started already, to see whether it answers again.
    """

    def __init__(self, service: QueryClient, clock: Callable[[], float] = monotonic) -> None:
        self._service = service
        self._clock = clock
        self._usual = 0.05  # seconds that a direct start takes
        self._failed: float | None = None  # when it failed or was tried last; None: it answers as it should
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self, saga: SagaInput, *, traceparent: str | None, directly: Directly) -> None:
        """Start the saga; on return the start is durable. If both ways are tried, whoever is first counts.

        Raises TemporalUnavailable. That is RequestNotTaken only if no way that was tried may have started the saga.
        """
        if self._failed is not None or len(self._asking) >= _MOST:
            await self._timed(directly)
            self._try_again(saga, traceparent)  # only now: if nothing was started, nothing may come of it
            return
        patience = self._patience
        asking = self._ask(saga, traceparent)
        await asyncio.wait((asking,), timeout=patience)
        if not asking.done():
            self._note_failure(f"no answer within {patience:.2f} s")
        if not asking.done() or asking.exception() is not None:
            await _either(asking, partial(self._timed, directly))

    @property
    def _patience(self) -> float:
        return min(_LONGEST, max(_SHORTEST, _TOLERANCE * self._usual))

    async def _timed(self, directly: Directly) -> None:
        began = self._clock()
        await directly()
        self._usual += _SMOOTHING * (self._clock() - began - self._usual)

    def _try_again(self, saga: SagaInput, traceparent: str | None) -> None:
        if self._failed is not None and self._clock() - self._failed >= _TRIED_EVERY:
            self._failed = self._clock()
            self._ask(saga, traceparent, context=Context())  # it is no part of the saga's trace

    def _ask(self, saga: SagaInput, traceparent: str | None, *, context: Context | None = None) -> asyncio.Task[None]:
        """Ask, and go on when nobody waits any more: what an answer says of the order service is good to know."""
        asking = asyncio.create_task(self._asked(saga, traceparent), context=context)
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        asking.add_done_callback(forget_error)
        return asking

    async def _asked(self, saga: SagaInput, traceparent: str | None) -> None:
        """Have the order service start the saga. Raises TemporalUnavailable."""
        began = self._clock()
        try:
            question = ServiceRequest(
                method="POST",
                path="/sagas",
                content=NewSaga(saga=saga, traceparent=traceparent).model_dump_json(by_alias=True).encode(),
                headers={"X-Correlation-Id": saga.correlation_id, "Content-Type": "application/json"},
            )
            async with asyncio.timeout(_GIVEN_UP):
                answer = await self._service.request(question)
            started = answer.status_code == 200 and SagaStarted.model_validate_json(answer.content).started
        except Exception as error:  # whatever it is, the saga can be started directly
            self._note_failure(f"{type(error).__name__}: {error}")
            raise TemporalUnavailable("The order service does not say whether it has started the saga") from error
        took = self._clock() - began
        if not started or took > self._patience:
            self._note_failure(f"it said {answer.status_code} after {took:.2f} s")
        elif self._failed is not None and began >= self._failed:
            log.info("sagas_started_by_order_service")
            self._failed = None
        if answer.status_code not in (200, *_REFUSALS):
            raise TemporalUnavailable(f"The order service said {answer.status_code}")
        if not started:
            raise RequestNotTaken("The order service has not started the saga")

    def _note_failure(self, why: str) -> None:
        if self._failed is None:
            log.info("sagas_started_directly", why=why)
        self._failed = self._clock()


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
