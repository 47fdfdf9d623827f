"""Orchestrated sagas that leave out a step, for the checker to find."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow

from activities.steps import StepInput
from models.message_types import EventType
from models.messages import Envelope
from workflows.order_saga import OrderSaga
from workflows.saga_input import CancelRequest, SagaInput
from workflows.saga_steps import (
    COMPENSATIONS,
    CREATE_ORDER,
    DECLINE_ORDER,
    SagaStep,
    cancel_command,
)


@workflow.defn(name="OrderSaga")
class CancelsTheOrderAlone(OrderSaga):
    """Cancels the order alone, and leaves its payment to the end of the saga."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        return await super().run(saga)

    async def _compensate(self, request: CancelRequest, forward: asyncio.Task[None]) -> None:
        await workflow.wait_condition(lambda: self._last(EventType.ORDER_CREATED) is not None or forward.done())
        await self._do(COMPENSATIONS[CREATE_ORDER], cancel_command(self._saga.order_id, request))


@workflow.defn(name="OrderSaga")
class ForgetsThePayment(CancelsTheOrderAlone):
    """Does not look at the payment at the end of the saga, either."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        return await super().run(saga)

    async def _end_what_others_began(self) -> None:
        """Nothing."""


@workflow.defn(name="OrderSaga")
class EndsTooSoon(OrderSaga):
    """Ends as soon as there is an order."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        self._forward = asyncio.create_task(self._go_forward(saga))
        await workflow.wait_condition(lambda: self._last(EventType.ORDER_CREATED) is not None)
        return self._timeline.order_status


@workflow.defn(name="OrderSaga")
class ForgetsTheDecline(OrderSaga):
    """Does not tell the order service that the payment was declined."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        return await super().run(saga)

    async def _do(self, step: SagaStep, message: StepInput, *, within: timedelta | None = None) -> Envelope | None:
        return None if step is DECLINE_ORDER else await super()._do(step, message, within=within)


@workflow.defn(name="OrderSaga")
class ChargesWithoutLooking(OrderSaga):
    """Charges although a cancellation has arrived."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        return await super().run(saga)

    async def _go_forward(self, saga: SagaInput) -> None:
        created = await self._created(saga)
        await self._go_on(created, created.occurred_at + timedelta(seconds=saga.payment_timeout))


@workflow.defn(name="OrderSaga")
class LeavesAnAttemptUnheard(OrderSaga):
    """Does not ask what a charge has done that was given up."""

    @workflow.run
    async def run(self, saga: SagaInput) -> str | None:
        return await super().run(saga)

    async def _until_ended(self, forward: asyncio.Task[None]) -> None:
        await super()._until_ended(forward)
        self._unheard = False
