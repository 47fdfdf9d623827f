"""The types that both services share: ids, commands, events and decisions, as values of the standard library."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Generic, NewType, TypeAlias, TypeVar
from uuid import UUID

from models.money import check_money
from models.texts import plain

OrderId = NewType("OrderId", UUID)
PaymentId = NewType("PaymentId", UUID)
UserId = NewType("UserId", UUID)


class Coordinator(StrEnum):
    """Who sequences a saga's steps."""

    CHOREOGRAPHY = "choreography"
    ORCHESTRATION = "orchestration"


class CancelReason(StrEnum):
    """Why an order was cancelled."""

    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    USER_REQUESTED = "USER_REQUESTED"
    PAYMENT_TIMEOUT = "PAYMENT_TIMEOUT"

    @property
    def requestable(self) -> bool:
        """Whether a user or a timer may give this reason. PAYMENT_DECLINED follows from an event only."""
        return self is not CancelReason.PAYMENT_DECLINED


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateOrderRequested:
    """Command: store this order, whose payment then follows. `total` is in minor units of `currency`."""

    order_id: OrderId
    user_id: UserId
    total: int
    currency: str = "USD"
    payment_method: str | None = None

    def __post_init__(self) -> None:
        check_money(self.total, self.currency)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelRequested:
    """Command: cancel this order, for a reason that a user or a timer may give."""

    order_id: OrderId
    reason: CancelReason = CancelReason.USER_REQUESTED

    def __post_init__(self) -> None:
        if not self.reason.requestable:
            raise ValueError("reason PAYMENT_DECLINED follows from payment.declined; it cannot be requested")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCreated:
    """Event: an order waits for its payment."""

    order_id: OrderId
    user_id: UserId
    total: int
    currency: str = "USD"
    payment_method: str | None = None

    def __post_init__(self) -> None:
        check_money(self.total, self.currency)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderPaid:
    """Event: an order's payment was approved."""

    order_id: OrderId


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled:
    """Event: an order is cancelled. Money that was or will be captured for it must be given back."""

    order_id: OrderId
    reason: str  # a CancelReason, or another order service's word for it
    total: int | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        check_money(self.total, self.currency)
        make_plain(self, "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFailed:
    """Event: an order's payment could not be made."""

    order_id: OrderId
    reason: str | None = None

    def __post_init__(self) -> None:
        make_plain(self, "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentApproved:
    """Event: the provider captured the money, under its `transaction_id`."""

    order_id: OrderId
    transaction_id: str

    def __post_init__(self) -> None:
        make_plain(self, "transaction_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentDeclined:
    """Event: the provider said no; nothing was captured."""

    order_id: OrderId
    reason: str

    def __post_init__(self) -> None:
        make_plain(self, "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentFailed:
    """Event: the provider refused the charge for good, or did not answer it and then confirmed a void."""

    order_id: OrderId
    error: str

    def __post_init__(self) -> None:
        make_plain(self, "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentCancelled:
    """Event: the order was cancelled before its payment was settled; no money will be kept."""

    order_id: OrderId
    transaction_id: str | None = None

    def __post_init__(self) -> None:
        make_plain(self, "transaction_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentRefunded:
    """Event: captured money was given back in full."""

    order_id: OrderId
    transaction_id: str | None = None

    def __post_init__(self) -> None:
        make_plain(self, "transaction_id")


OrderEvent: TypeAlias = OrderCreated | OrderPaid | OrderCancelled | OrderFailed
PaymentEvent: TypeAlias = PaymentApproved | PaymentDeclined | PaymentFailed | PaymentCancelled | PaymentRefunded
Event: TypeAlias = OrderEvent | PaymentEvent
Command: TypeAlias = CreateOrderRequested | OrderCancelRequested
Message: TypeAlias = Command | Event

State = TypeVar("State")


@dataclass(frozen=True, kw_only=True, slots=True)
class Become(Generic[State]):
    """The state to save and the event to emit. No clock and no id generator was used to make them.

    If the state is unchanged and there is no event, nothing is written, but provider work that is still due
    (`Payment.due`) must be taken up again.
    """

    state: State
    emit: Event | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stale:
    """The message is a duplicate, or later messages have overtaken it. It is acknowledged without effect."""

    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TooEarly:
    """The message's order is not known yet. The message is retried with a delay."""

    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Illegal:
    """The message contradicts the stored state. It becomes a dead letter."""

    why: str


Decision: TypeAlias = Become[State] | Stale | TooEarly | Illegal


def make_plain(message: object, name: str) -> None:
    """Make a message's text, which may come from anywhere, one that every reader can take (see `plain`)."""
    text = getattr(message, name)
    if text is not None:
        object.__setattr__(message, name, plain(text))  # the message is frozen


def derived_id(order_id: UUID, *names: str) -> UUID:
    """An id for something that belongs to this order. The same names give the same id, on every machine and for good.

    It is a version 8 UUID (RFC 9562, section 5.8). Its first 48 bits are those of the order id, so that rows of the
    same time lie beside one another in an index.
    """
    digest = sha256(order_id.bytes + "\0".join(names).encode()).digest()
    bits = bytearray(order_id.bytes[:6] + digest[:10])
    bits[6] = 0x80 | (bits[6] & 0x0F)
    bits[8] = 0x80 | (bits[8] & 0x3F)
    return UUID(bytes=bytes(bits))


# A command or event has the same id whoever makes it: the gateway, a timer, an orchestrator, or the code that
# reconstructs removed events from a row. So every service recognises a repetition.


def create_id(order_id: UUID) -> UUID:
    """The id of the command that creates this order."""
    return derived_id(order_id, CreateOrderRequested.__name__)


def cancel_id(order_id: UUID, reason: str) -> UUID:
    """The id of the command that cancels this order for this reason."""
    return derived_id(order_id, OrderCancelRequested.__name__, reason)


def event_id(order_id: UUID, event: type[Event], cause: UUID) -> UUID:
    """The id of the event that follows from the message `cause`."""
    return derived_id(order_id, event.__name__, str(cause))
