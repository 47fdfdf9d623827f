"""What a payment provider can answer, as frozen values of the standard library."""

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
    """Outcome: no answer to the charge after all retries; whether money was captured is not known."""

    order_id: OrderId
    error: str

    def __post_init__(self) -> None:
        make_plain(self, "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    """Outcome: the provider confirms that nothing is captured and nothing will be."""

    order_id: OrderId


@dataclass(frozen=True, kw_only=True, slots=True)
class Refunded:
    """Outcome: the provider confirms that what was captured was given back."""

    order_id: OrderId


Outcome: TypeAlias = Charged | Declined | Refused | Unanswered | Voided | Refunded
