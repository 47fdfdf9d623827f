"""Clients place orders for both coordinators, cancel some of them at any moment, and do not give up."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final
from uuid import UUID

from bench.workload import Kind, Sale
from models.saga import Coordinator
from tests.support.messages import USER

METHODS: Final = (
    *("pm_card_visa",) * 5,
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_error",
    "pm_timeout_then_approve",
    "pm_unavailable",
    "pm_slow",
    None,  # the coin
)


def sales(number: int, *, random: Random) -> Iterator[Sale]:
    """A number of orders to place. The same seed gives the same ones."""
    for _ in range(number):
        after = random.choice((0.0, random.uniform(0, 1), random.uniform(0, 15))) if random.random() < 0.35 else None
        yield Sale.of(
            Kind(payment_method=random.choice(METHODS), cancel_after=after),
            random.choice(tuple(Coordinator)),
            user_id=UUID(USER),
            total=random.randint(1, 10**6),
            key=str(UUID(int=random.getrandbits(128), version=4)) if random.random() < 0.5 else None,
        )
