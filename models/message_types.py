"""List the message types: their names on the wire, their classes, and where each is published."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, NewType, TypeAlias, assert_never

from models.saga import (
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    OrderPaid,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
)

ORDERS_EXCHANGE: Final = "orders.exchange"
PAYMENTS_EXCHANGE: Final = "payments.exchange"


class CommandType(StrEnum):
    """The commands, by their names on the wire."""

    CREATE_ORDER_REQUESTED = "CreateOrderRequested"
    ORDER_CANCEL_REQUESTED = "OrderCancelRequested"


class EventType(StrEnum):
    """The events, by their names on the wire and in the event logs."""

    ORDER_CREATED = "OrderCreated"
    ORDER_CANCELLED = "OrderCancelled"
    ORDER_PAID = "OrderPaid"
    ORDER_FAILED = "OrderFailed"
    PAYMENT_APPROVED = "PaymentApproved"
    PAYMENT_DECLINED = "PaymentDeclined"
    PAYMENT_FAILED = "PaymentFailed"
    PAYMENT_CANCELLED = "PaymentCancelled"
    PAYMENT_REFUNDED = "PaymentRefunded"


MessageType: TypeAlias = CommandType | EventType
# The name of a type that this version does not know. A newer version may have logged it.
UnknownType = NewType("UnknownType", str)


class Route(NamedTuple):
    """Where messages of one type are published."""

    exchange: str
    routing_key: str


def type_of(message: Message) -> MessageType:
    """The name of this message's type."""
    match message:
        case CreateOrderRequested():
            return CommandType.CREATE_ORDER_REQUESTED
        case OrderCancelRequested():
            return CommandType.ORDER_CANCEL_REQUESTED
        case OrderCreated():
            return EventType.ORDER_CREATED
        case OrderCancelled():
            return EventType.ORDER_CANCELLED
        case OrderPaid():
            return EventType.ORDER_PAID
        case OrderFailed():
            return EventType.ORDER_FAILED
        case PaymentApproved():
            return EventType.PAYMENT_APPROVED
        case PaymentDeclined():
            return EventType.PAYMENT_DECLINED
        case PaymentFailed():
            return EventType.PAYMENT_FAILED
        case PaymentCancelled():
            return EventType.PAYMENT_CANCELLED
        case PaymentRefunded():
            return EventType.PAYMENT_REFUNDED
        case _ as never:
            assert_never(never)


def _class_and_route(name: MessageType) -> tuple[type[Message], Route]:
    match name:
        case CommandType.CREATE_ORDER_REQUESTED:
            return CreateOrderRequested, Route(ORDERS_EXCHANGE, "order.create.requested")
        case CommandType.ORDER_CANCEL_REQUESTED:
            return OrderCancelRequested, Route(ORDERS_EXCHANGE, "order.cancel.requested")
        case EventType.ORDER_CREATED:
            return OrderCreated, Route(ORDERS_EXCHANGE, "order.created")
        case EventType.ORDER_CANCELLED:
            return OrderCancelled, Route(ORDERS_EXCHANGE, "order.cancelled")
        case EventType.ORDER_PAID:
            return OrderPaid, Route(ORDERS_EXCHANGE, "order.paid")
        case EventType.ORDER_FAILED:
            return OrderFailed, Route(ORDERS_EXCHANGE, "order.failed")
        case EventType.PAYMENT_APPROVED:
            return PaymentApproved, Route(PAYMENTS_EXCHANGE, "payment.approved")
        case EventType.PAYMENT_DECLINED:
            return PaymentDeclined, Route(PAYMENTS_EXCHANGE, "payment.declined")
        case EventType.PAYMENT_FAILED:
            return PaymentFailed, Route(PAYMENTS_EXCHANGE, "payment.failed")
        case EventType.PAYMENT_CANCELLED:
            return PaymentCancelled, Route(PAYMENTS_EXCHANGE, "payment.cancelled")
        case EventType.PAYMENT_REFUNDED:
            return PaymentRefunded, Route(PAYMENTS_EXCHANGE, "payment.refunded")
        case _ as never:
            assert_never(never)


_TYPES: Final[tuple[MessageType, ...]] = (*CommandType, *EventType)
_BY_NAME: Final[Mapping[str, MessageType]] = {name.value: name for name in _TYPES}
MESSAGE_TYPES: Final[Mapping[MessageType, type[Message]]] = {name: _class_and_route(name)[0] for name in _TYPES}
ROUTES: Final[Mapping[MessageType, Route]] = {name: _class_and_route(name)[1] for name in _TYPES}


def known_type(name: str) -> MessageType | None:
    """The message type of this name; None if this version knows none."""
    return _BY_NAME.get(name)
