"""The arguments of an orchestrated saga: plain values for Temporal's JSON converter, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from models.messages import check_id
from models.saga import CancelReason
from models.times import check_seconds

ORDER_SAGA = "OrderSaga"
CANCEL = "cancel"  # the signal, and the update

_REQUESTED: Final = tuple(reason for reason in CancelReason if reason.requestable)
_MOST_DELAYS: Final = 100


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """The order to create. `event_id` is the id of the creating command. `total` is in minor units of `currency`."""

    user_id: str
    total: int
    currency: str
    payment_method: str | None
    event_id: str


@dataclass(frozen=True, kw_only=True)
class SagaInput:
    """One order's saga. Without `order` it goes on from the state that the event logs show.

    `payment_timeout` is in seconds from the order's creation. `retry_delays` are the seconds before each retry of a
    charge that gets no answer. After the last retry the charge is voided. Raises ValueError, which says what is wrong.
    The order service checks the order itself.
    """

    order_id: str
    correlation_id: str
    order: NewOrder | None
    payment_timeout: float
    retry_delays: list[float] = field(default_factory=lambda: [0.5, 2.0, 8.0, 30.0, 120.0])

    def __post_init__(self) -> None:
        check_id("correlation_id", self.correlation_id)
        check_seconds("payment_timeout", self.payment_timeout)
        if not 1 <= len(self.retry_delays) <= _MOST_DELAYS:
            raise ValueError(f"retry_delays has {len(self.retry_delays)} entries; it must have 1 … {_MOST_DELAYS}")
        for delay in self.retry_delays:
            check_seconds("retry_delays", delay)


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """Cancels the order, for a reason that a user or a timer may give. Raises ValueError, which says what is wrong."""

    correlation_id: str
    reason: str = CancelReason.USER_REQUESTED.value

    def __post_init__(self) -> None:
        check_id("correlation_id", self.correlation_id)
        # If the order service refused the command for good, the saga would fail. So check the reason here.
        if self.reason not in _REQUESTED:
            raise ValueError(f"reason is {self.reason[:40]!r}; it must be {' or '.join(_REQUESTED)}")
