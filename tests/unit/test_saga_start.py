"""A process that works on sagas starts them for its own worker, and says when it certainly has not."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.saga_input import NewOrder, SagaInput
from workflows.saga_start import StartsBeside, start_saga
from workflows.temporal_errors import TemporalUnavailable

pytestmark = pytest.mark.anyio

ORDER = NewOrder(user_id=str(UUID(int=1)), total=999, currency="EUR", payment_method=None, event_id=str(UUID(int=2)))
SAGA = SagaInput(order_id=str(UUID(int=3)), correlation_id="trace-7", order=ORDER, payment_timeout=900.0)


class FakeTemporal:
    """Takes starts, or raises these errors first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.started: list[dict[str, Any]] = []

    async def start_workflow(self, _kind: str, _saga: SagaInput, **options: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.started.append(options)


def error(status: RPCStatusCode) -> RPCError:
    return RPCError(status.name, status, b"")


async def start(temporal: FakeTemporal) -> bool:
    return await StartsBeside(lambda: cast(Client, temporal)).start(SAGA, traceparent="00-ab-cd-01")


async def test_a_saga_begins_beside_its_worker() -> None:
    temporal = FakeTemporal()

    assert await start(temporal)
    [options] = temporal.started
    assert (options["id"], options["memo"]) == (f"order-{SAGA.order_id}", {"traceparent": "00-ab-cd-01"})
    assert options["request_eager_start"]


async def test_without_a_worker_nothing_is_started() -> None:
    assert not await StartsBeside(lambda: None).start(SAGA, traceparent=None)


async def test_a_saga_that_exists_already_counts_as_started() -> None:
    assert await start(FakeTemporal(WorkflowAlreadyStartedError("id", "OrderSaga")))


async def test_where_temporal_does_not_know_the_search_attributes_a_saga_is_started_without_them() -> None:
    temporal = FakeTemporal(error(RPCStatusCode.INVALID_ARGUMENT))

    assert await start(temporal)
    assert len(temporal.started[0]["search_attributes"]) == 0


@pytest.mark.parametrize("refusal", [RuntimeError("never connected"), error(RPCStatusCode.PERMISSION_DENIED)])
async def test_a_start_that_temporal_refuses_is_told_as_not_made(refusal: Exception) -> None:
    assert not await start(FakeTemporal(refusal))


async def test_a_start_that_temporal_does_not_answer_may_have_been_made() -> None:
    with pytest.raises(TemporalUnavailable):
        await start(FakeTemporal(error(RPCStatusCode.DEADLINE_EXCEEDED)))


async def test_a_saga_without_its_order_is_not_started() -> None:
    later = SagaInput(order_id=SAGA.order_id, correlation_id="trace-7", order=None, payment_timeout=900.0)
    with pytest.raises(ValueError, match="begins with its order"):
        await start_saga(cast(Client, FakeTemporal()), later, traceparent=None)
