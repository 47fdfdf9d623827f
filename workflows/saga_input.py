"""What an orchestrated saga is given: plain values that Temporal's JSON converter can carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.saga import CancelReason

ORDER_SAGA = "OrderSaga"
CANCEL = "cancel"  # the signal, and the update


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """The order to create; `event_id` is that of the creating command, `total` is in minor units of `currency`."""

    user_id: str
    total: int
    currency: str
    payment_method: str | None
    event_id: str


@dataclass(frozen=True, kw_only=True)
class SagaInput:
    """One order's saga; without `order` it goes on from where the event logs say that the order stands.

    `payment_timeout` is in seconds from the order's creation. `retry_delays` are the seconds before each retry of a
    charge that gets no answer; after the last, the charge is voided.
    """

    order_id: str
    correlation_id: str
    order: NewOrder | None
    payment_timeout: float
    retry_delays: list[float] = field(default_factory=lambda: [0.5, 2.0, 8.0, 30.0, 120.0])


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """Cancel the order, for a reason that a user or a timer may give."""

    correlation_id: str
    reason: str = CancelReason.USER_REQUESTED.value
