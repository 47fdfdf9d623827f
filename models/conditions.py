"""Write the rules of the lifecycles as SQL conditions on the rows of `orders` and `payments`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from models.lifecycle import OrderStatus, PaymentStatus, settled
from models.saga import Coordinator

Status = TypeVar("Status", bound=StrEnum)


def _among(statuses: type[Status], wanted: Callable[[Status], bool]) -> str:
    names = ", ".join(sorted(f"'{status}'" for status in statuses if wanted(status)))
    return f"status IN ({names})"


ORDER_WAITS: Final = _among(OrderStatus, lambda status: not status.over)
ORDER_OVER: Final = _among(OrderStatus, lambda status: status.over)
ORDER_OFF: Final = _among(OrderStatus, lambda status: status.off)
ORDER_NOT_OFF: Final = _among(OrderStatus, lambda status: not status.off)
ORDER_ORCHESTRATED: Final = f"coordinator = '{Coordinator.ORCHESTRATION}'"

PAYMENT_DUE: Final = "due IS NOT NULL"
PAYMENT_SETTLED: Final = f"due IS NULL AND {_among(PaymentStatus, lambda status: settled(status, None))}"
PAYMENT_WITHOUT_MONEY: Final = f"due IS NULL AND {_among(PaymentStatus, lambda status: status.without_money)}"
