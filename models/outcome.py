"""The outcomes that a payment provider can report, as frozen values of the standard library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from models.saga import OrderId, make_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Charged:
    """Outcome: the provider captured the money."""

    order_id: OrderId
    transaction_id: str

    def __post_init__(self) -> None:
        make_plain(self, "transaction_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    """Outcome: the provider said no."""

    order_id: OrderId
    reason: str

    def __post_init__(self) -> None:
        make_plain(self, "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Outcome: the provider will never take this charge."""

    order_id: OrderId
    error: str

    def __post_init__(self) -> None:
        make_plain(self, "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """Outcome: the charge had no answer after all retries. Nobody knows whether money was captured."""

    order_id: OrderId
    error: str

    def __post_init__(self) -> None:
        make_plain(self, "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    """Outcome: the provider confirms that it captured nothing and will capture nothing."""

    order_id: OrderId


@dataclass(frozen=True, kw_only=True, slots=True)
class Refunded:
    """Outcome: the provider confirms that it gave back the captured money."""

    order_id: OrderId


Outcome: TypeAlias = Charged | Declined | Refused | Unanswered | Voided | Refunded
