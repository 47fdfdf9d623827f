"""A stage on which an OrderSaga asks both services, in memory, and a scripted provider answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID, uuid5

from temporalio.worker import Worker

from activities.book import Submission
from api.gateway.orchestration import Orchestration
from models.saga import CreateOrderRequested, OrderId, PaymentApproved, UserId, derived_id
from tests.replay.stage import Stage
from tests.support.fakes.saga_services import FakeServices
from tests.support.messages import USER
from tests.support.waiting import eventually
from workflows.naming import ORDER_TASK_QUEUE
from workflows.saga_input import CancelRequest


@dataclass
class SagaStage(Stage):
    """A stage for an orchestrated saga. Its timeout and delays are in seconds."""

    task_queue: ClassVar[str] = ORDER_TASK_QUEUE

    payment_timeout: float = 900.0
    retry_delays: tuple[float, ...] = (0.1, 0.2)

    def __post_init__(self) -> None:
        self.services = FakeServices()

    @property
    def steps_beside(self) -> Sequence[Callable[..., Any]]:
        return self.services.order_steps

    def service_workers(self) -> list[Worker]:
        return [self.services.payment_worker(self.client)]

    @property
    def orchestration(self) -> Orchestration:
        return Orchestration(self.client, payment_timeout=self.payment_timeout, retry_delays=self.retry_delays)

    @property
    def by_user(self) -> CancelRequest:
        return CancelRequest(correlation_id=str(uuid5(self.order_id, "cancelled")))

    async def start(self) -> None:
        order_id = OrderId(self.order_id)
        command = CreateOrderRequested(order_id=order_id, user_id=UserId(UUID(USER)), total=999)
        event_id, correlation_id = derived_id(order_id, "CreateOrderRequested"), str(uuid5(order_id, "created"))
        await self.orchestration.start(command, event_id=event_id, correlation_id=correlation_id)

    async def cancel(self) -> None:
        """Cancel as the gateway does: by a signal, to a new run if the first has ended."""
        await self.orchestration.cancel(self.order_id, correlation_id=self.by_user.correlation_id)

    async def start_and_hold_the_charge(self) -> None:
        self.services.charge_gate.clear()
        await self.start()
        await self.services.charging.wait()
        await self.took_it_in()

    async def creating(self) -> None:
        """Wait until the order service is at it."""

        async def begun() -> bool:
            return self.services.attempts["create_order"] > 0

        await eventually(begun, "the order is being created")

    def pays_on_its_own(self) -> None:
        """Have the order paid by somebody who has read that its payment was approved, such as the reconciler."""
        order_id, cause = OrderId(self.order_id), derived_id(self.order_id, "somebody else's word")
        message = PaymentApproved(order_id=order_id, transaction_id="t-1")
        self.services.apply_to_order(Submission(message=message, event_id=cause, correlation_id="somebody else"))

    async def let_the_charge_go(self) -> None:
        """Once the payment is cancelled."""
        await self.happened("ACTIVITY_TASK_COMPLETED")  # cancel_payment
        self.services.charge_gate.set()
        await self.saga.result()
