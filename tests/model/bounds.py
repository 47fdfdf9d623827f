"""The bounds of an exploration say what a world contains, and how often each event may happen in it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from models.saga import Coordinator


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How often each optional event may happen in one run. Within that, the exploration is exhaustive."""

    crashes: int = 0  # kill -9 of a service's process, or of the worker
    disconnects: int = 0  # a consumer loses its connection: what it holds comes again, while it goes on
    recommits: int = 0  # a commit whose confirmation is lost, so that the ledger applies the same again
    unconfirmed: int = 0  # a publication by the fast path whose confirm, or which itself, is lost
    unanswered: int = 0  # a request to the provider whose answer, or which itself, is lost or late
    incomplete: int = 0  # an attempt of an activity that Temporal hears nothing of although it goes on
    repeats: int = 0  # a message published again: a replay, a client's retry, an impatient relay
    cancels: int = 0  # the user's
    timeouts: int = 0  # of the payment, or of how a saga began
    republications: int = 0  # of order.cancelled, by a mirror

    def allows(self, cost: str) -> bool:
        return bool(getattr(self, cost))

    def left(self) -> tuple[int, ...]:
        """How often each of these may still happen, in the order in which they are listed above."""
        return (
            self.crashes,
            self.disconnects,
            self.recommits,
            self.unconfirmed,
            self.unanswered,
            self.incomplete,
            self.repeats,
            self.cancels,
            self.timeouts,
            self.republications,
        )


COSTS: Final = {each.name: place for place, each in enumerate(fields(Budget))}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a world contains, and the bounds of its exploration."""

    name: str
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    mirror: bool = False  # the real SagaMirror takes part; without, its timers may fire at any moment
    stray_cancels: bool = False  # of an orchestrated order, by a gateway that can't find out that it is one
    publishes: bool = True  # without, events are logged and stay there
    verdicts: tuple[str, ...] = ("Charged", "Declined", "Refused", "silence")
    together: bool = False  # a workflow may learn two things in one task
    retries: int = 1  # after the first attempt
    reduced: bool = True  # leave out what differs in nothing but the order of what commutes
    prefetch: int = 2  # deliveries that a process holds at once
    order_services: int = 1
    payment_services: int = 1
    budget: Budget = field(default_factory=Budget)
