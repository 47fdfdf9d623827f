"""Offer orders at a steady rate, whatever the answers, and count the answers that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final
from uuid import UUID

from bench.workload import Kind, Sale
from models.saga import Coordinator
from tests.support.messages import USER

# These payments settle within a second or two. None leaves it to the coin.
METHODS: Final = (
    *("pm_card_visa",) * 6,
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_error",
    "pm_timeout_then_approve",
    None,
)
ORCHESTRATED: Final = 0.05  # share of the orders; the others are choreographed
KEYED: Final = 0.25  # share with an Idempotency-Key
REPEATED: Final = 0.2  # share of those that are sent twice
CANCELLED: Final = 0.1  # share that is cancelled
CANCEL_WITHIN: Final = 5.0  # seconds


def sales(random: Random) -> Iterator[Sale]:
    """Endless orders. The same seed gives the same ones."""
    while True:
        after = random.uniform(0, CANCEL_WITHIN) if random.random() < CANCELLED else None
        orchestrated = random.random() < ORCHESTRATED
        key = str(UUID(int=random.getrandbits(128), version=4)) if random.random() < KEYED else None
        yield Sale.of(
            Kind(payment_method=random.choice(METHODS), cancel_after=after),
            Coordinator.ORCHESTRATION if orchestrated else Coordinator.CHOREOGRAPHY,
            user_id=UUID(USER),
            total=random.randint(1, 10**6),
            key=key,
            twice=key is not None and random.random() < REPEATED,
        )
