"""Both services' steps as Temporal activities, on databases of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from temporalio.testing import ActivityEnvironment

from activities.ledger import Ledger
from activities.order_activities import OrderActivities
from activities.orders import ORDERS, Orders
from activities.payment_activities import PaymentActivities
from activities.payments import PAYMENTS, Payments
from activities.providers.simulated import SimulatedProvider
from activities.steps import StepInput, StepResult
from models.database import Database
from models.ids import uuid7
from models.saga import derived_id
from tests.support.fakes.gateway import NOW
from tests.support.messages import USER
from tests.support.sweeping import Nowhere, fresh_databases
from tests.support.world import Servers


@dataclass
class Services:
    """Both services' steps, on databases of their own."""

    order_database: Database
    orders: OrderActivities
    payments: PaymentActivities

    async def run(self, step: Callable[..., Awaitable[StepResult]], *arguments: Any, attempt: int = 1) -> StepResult:
        env = ActivityEnvironment()
        env.info = replace(ActivityEnvironment.default_info(), attempt=attempt)
        return await env.run(step, *arguments)

    async def create(self, payment_method: str = "pm_card_visa") -> StepInput:
        """Create an order. Returns the step that charges it."""
        return answer_to(await self.run(self.orders.create_order, create_step(payment_method)))


@asynccontextmanager
async def services(servers: Servers) -> AsyncIterator[Services]:
    of_orders, of_payments = fresh_databases(servers, "steps")
    order_ledger, payment_ledger = Ledger(of_orders, ORDERS, Nowhere()), Ledger(of_payments, PAYMENTS, Nowhere())
    provider = SimulatedProvider(of_payments, latency=0, decline_rate=0, timeout=0.5)
    await asyncio.gather(of_orders.open(), of_payments.open())
    running = [asyncio.create_task(each.run()) for each in (order_ledger, payment_ledger, provider)]
    try:
        orders = OrderActivities(of_orders, Orders(of_orders, order_ledger))
        payments = PaymentActivities(of_payments, Payments(payment_ledger, provider))
        yield Services(of_orders, orders, payments)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(of_orders.close(), of_payments.close())


def create_step(payment_method: str = "pm_card_visa") -> StepInput:
    order_id = uuid7(NOW)
    payload = {"orderId": str(order_id), "userId": USER, "total": 999, "paymentMethod": payment_method}
    return step_of("CreateOrderRequested", payload)


def cancel_step(order_id: str, reason: str = "USER_REQUESTED") -> StepInput:
    return step_of("OrderCancelRequested", {"orderId": order_id, "reason": reason}, reason)


def step_of(event_type: str, payload: dict[str, Any], *names: str) -> StepInput:
    return StepInput(
        event_type=event_type,
        payload=payload,
        event_id=str(derived_id(UUID(payload["orderId"]), event_type, *names)),
        correlation_id="trace-7",
        coordinator="orchestration",
    )


def answer_to(result: StepResult) -> StepInput:
    [event] = result.events
    return StepInput(
        event_type=event["eventType"],
        payload=event["payload"],
        event_id=event["eventId"],
        correlation_id=event["correlationId"],
        coordinator="orchestration",
    )
