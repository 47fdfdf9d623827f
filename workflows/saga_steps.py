"""List the steps of the orchestrated saga, their compensations, and the messages that they take; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never
from uuid import UUID

from activities.steps import StepInput
from models.message_types import CommandType, EventType
from models.messages import Envelope
from models.saga import Coordinator, cancel_id
from workflows.naming import ORDER_TASK_QUEUE, PAYMENT_TASK_QUEUE
from workflows.saga_input import CancelRequest, NewOrder, SagaInput


@dataclass(frozen=True, kw_only=True)
class SagaStep:
    """An activity of the service that owns the task queue."""

    name: str
    queue: str


CREATE_ORDER: Final = SagaStep(name="create_order", queue=ORDER_TASK_QUEUE)
CHARGE_PAYMENT: Final = SagaStep(name="charge_payment", queue=PAYMENT_TASK_QUEUE)
PAY_ORDER: Final = SagaStep(name="pay_order", queue=ORDER_TASK_QUEUE)
DECLINE_ORDER: Final = SagaStep(name="decline_order", queue=ORDER_TASK_QUEUE)
FAIL_ORDER: Final = SagaStep(name="fail_order", queue=ORDER_TASK_QUEUE)
COMPENSATIONS: Final[Mapping[SagaStep, SagaStep]] = {
    CREATE_ORDER: SagaStep(name="cancel_order", queue=ORDER_TASK_QUEUE),
    CHARGE_PAYMENT: SagaStep(name="cancel_payment", queue=PAYMENT_TASK_QUEUE),
}


def _settling(event: EventType) -> SagaStep | None:
    match event:
        case EventType.PAYMENT_APPROVED:
            return PAY_ORDER
        case EventType.PAYMENT_DECLINED:
            return DECLINE_ORDER
        case EventType.PAYMENT_FAILED:
            return FAIL_ORDER
        case (
            EventType.ORDER_CREATED
            | EventType.ORDER_CANCELLED
            | EventType.ORDER_PAID
            | EventType.ORDER_FAILED
            | EventType.PAYMENT_CANCELLED
            | EventType.PAYMENT_REFUNDED
        ):
            return None
        case _ as never:
            assert_never(never)


# The step that settles an order, by the type of the event that says how its payment ended.
SETTLE_ORDER: Final[Mapping[str, SagaStep]] = {
    event: step for event in EventType if (step := _settling(event)) is not None
}

# The activities that read the event logs, by the task queue of the log's service.
READ_EVENTS: Final[Mapping[str, str]] = {
    ORDER_TASK_QUEUE: "read_order_events",
    PAYMENT_TASK_QUEUE: "read_payment_events",
}


def create_command(saga: SagaInput, order: NewOrder) -> StepInput:
    """The command that creates the order."""
    payload = {"orderId": saga.order_id, "userId": order.user_id, "total": order.total, "currency": order.currency}
    if order.payment_method is not None:
        payload["paymentMethod"] = order.payment_method
    return _step(CommandType.CREATE_ORDER_REQUESTED, payload, order.event_id, saga.correlation_id)


def cancel_command(order_id: str, request: CancelRequest) -> StepInput:
    """The command that cancels the order."""
    event_id = cancel_id(UUID(order_id), request.reason)
    payload = {"orderId": order_id, "reason": request.reason}
    return _step(CommandType.ORDER_CANCEL_REQUESTED, payload, str(event_id), request.correlation_id)


def answer_to(event: Envelope) -> StepInput:
    """The input of the step that answers this event."""
    return _step(event.event_type, dict(event.payload), str(event.event_id), event.correlation_id)


def _step(event_type: str, payload: dict[str, Any], event_id: str, correlation_id: str) -> StepInput:
    return StepInput(
        event_type=event_type,
        payload=payload,
        event_id=event_id,
        correlation_id=correlation_id,
        coordinator=Coordinator.ORCHESTRATION.value,
    )
