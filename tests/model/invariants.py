"""The invariants of docs/specification.md, section 5, by number, for every state or for every state at rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from models.lifecycle import OrderStatus, PaymentStatus
from models.order import Order
from models.payment import Payment
from models.saga import CancelReason
from tests.model.messages import TOTAL, Messages
from tests.model.state import GONE, Books, Queue, Slot, State, Store, Temporal
from tests.model.workflow_runs import Runs
from tests.model.world import World
from workflows.timeline import build, timeline_as_json

TEXTS: Final = {
    "1": "Every order answered with 202 exists and reaches PAID, CANCELLED or FAILED",
    "2": "An order is PAID only if its payment is APPROVED; at most one charge per order ever succeeds at the provider",
    "3": "No order that is CANCELLED or FAILED keeps captured money, and the provider's own books agree to the cent",
    "4": "Refunds never exceed what was captured; one refund per order",
    "5": "An event is in the event log if and only if its state change committed; it is published at least once, and "
    "its effect happens once",
    "6": "Both coordinators, given the same inputs, leave the same order, payment, provider books and event log",
    "7": "The timeline shows every event of the saga exactly once, in causal order, and a timeline rebuilt from the "
    "event logs equals the one recorded live",
    "lifecycle": "Order and payment change as the specification lists it; PAYMENT_TIMEOUT never cancels a PAID order",
    "legal": "No message of the system's own is illegal, malformed or misrouted, and no workflow fails",
    "rest": "No deadlock: where nothing happens any more, nothing is left to be done",
    "end": "Every fair run ends: wherever a run has come to, it ends if nothing more goes wrong",
}
# What may be logged after what; "" is the beginning.
_FOLLOWS: Final = {
    "": {
        "OrderCreated",
        "PaymentApproved",
        "PaymentDeclined",
        "PaymentFailed",
        "PaymentCancelled",
    },
    "OrderCreated": {"OrderPaid", "OrderFailed", "OrderCancelled"},
    "OrderPaid": {"OrderCancelled"},
    "PaymentApproved": {"PaymentRefunded"},
    "PaymentCancelled": {"PaymentRefunded"},
}
_COMPENSATED: Final = {PaymentStatus.CANCELLED, PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.REFUNDED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A broken invariant, and the reason."""

    invariant: str
    why: str


Verdict = Broken | None


class Invariants:
    """Checks the states of one world, and remembers the parts that it has checked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._checks: list[tuple[tuple[Slot, ...], Callable[..., Verdict], dict[Any, Verdict]]] = [
            (slots, check, {}) for slots, check in self._always().items()
        ]

    def broken(self, state: State) -> Verdict:
        """The first broken invariant among those that hold at every moment."""
        for slots, check, known in self._checks:
            key = tuple([state[slot] for slot in slots])
            if key not in known:
                known[key] = check(*(self._world.value(state, slot) for slot in slots))
            if known[key] is not None:
                return known[key]
        return None

    def broken_at_rest(self, state: State) -> Verdict:
        """The first broken invariant among those that hold at rest."""
        value = {slot: self._world.value(state, slot) for slot in Slot}
        orders, payments, books = value[Slot.ORDERS], value[Slot.PAYMENTS], value[Slot.PROVIDER]
        return (
            _order_is_over(orders.row)
            or _money_agrees(orders.row, payments.row, books)
            or _published(self._world.messages, orders, payments)
            or _nothing_left(value)
            or self._timelines_agree(orders, payments, value[Slot.TEMPORAL])
        )

    def _always(self) -> dict[tuple[Slot, ...], Callable[..., Verdict]]:
        messages, runs = self._world.messages, self._world.workflows.runs
        return {
            (Slot.ORDERS, Slot.PAYMENTS, Slot.PROVIDER): _money,
            (Slot.ORDERS,): lambda store: _log_tells(messages, store),
            (Slot.PAYMENTS,): lambda store: _log_tells(messages, store),
            (Slot.ORDER_QUEUE, Slot.PAYMENTS): lambda queue, store: _logged(messages, queue, store),
            (Slot.PAYMENT_QUEUE, Slot.ORDERS): lambda queue, store: _logged(messages, queue, store),
            (Slot.MIRROR_QUEUE, Slot.ORDERS, Slot.PAYMENTS): lambda queue, *stores: _logged(messages, queue, *stores),
            (Slot.TEMPORAL,): lambda temporal: _no_run_fails(runs, temporal),
        }

    def _timelines_agree(self, orders: Store, payments: Store, temporal: Temporal) -> Verdict:
        logged = [self._world.messages.envelope(number) for number in (*orders.log, *payments.log)]
        built = build(logged)
        told = [entry.event_id for entry in built.entries]
        if sorted(told) != sorted(each.event_id for each in logged):
            return Broken(invariant="7", why="the timeline does not show every event exactly once")
        if any(each.causation_id in told[told.index(each.event_id) :] for each in logged):
            return Broken(invariant="7", why="the timeline shows an effect before its cause")
        if build(reversed(logged)) != built:
            return Broken(invariant="7", why="the timeline depends on the order in which it hears of events")
        if temporal.run is None:
            return Broken(invariant="7", why="no mirror was begun") if self._world.scenario.mirror and told else None
        run = self._world.workflows.runs[temporal.run]
        if run.ended != "completed":
            return Broken(invariant="7", why=f"the workflow {run.name} has not ended")
        if self._world.scenario.stray_cancels:
            return None  # the saga may have ended before: docs/model.md says what that means
        recorded = msgspec.json.decode(run.told[1]) | {"source": ""}
        rebuilt = msgspec.to_builtins(timeline_as_json(built)) | {"source": ""}
        if recorded != rebuilt:
            return Broken(
                invariant="7", why=f"the timeline of {run.name} differs from the one built from the event logs"
            )
        return None


def _money(orders: Store, payments: Store, books: Books) -> Verdict:
    order, payment = orders.row, payments.row
    if isinstance(order, Order) and order.status is OrderStatus.PAID:
        status = payment.status if payment else None
        if status is not PaymentStatus.APPROVED:
            return Broken(invariant="2", why=f"the order is PAID, and its payment is {status}")
    captures = [line for line in books.lines if line.captured]
    if len(captures) > 1:
        return Broken(invariant="2", why=f"{len(captures)} charges succeeded at the provider")
    for line in captures:
        if line.refunded > line.captured or line.refunds > 1:
            return Broken(
                invariant="4", why=f"{line.refunded} of {line.captured} were refunded, in {line.refunds} refunds"
            )
    return None


def _log_tells(messages: Messages, store: Store) -> Verdict:
    """Check that the row is what its own events say, and that each event is there once."""
    events = [messages.envelope(number) for number in store.log]
    names = [event.event_type for event in events]
    if len({event.event_id for event in events}) < len(events) or len({*names}) < len(names):
        return Broken(invariant="5", why=f"an event is logged twice: {', '.join(names)}")
    for before, event in zip(["", *names], events, strict=False):
        if event.event_type not in _FOLLOWS.get(before, ()):
            return Broken(invariant="lifecycle", why=f"{event.event_type} follows {before or 'nothing'}")
        if before == "OrderPaid" and event.payload.get("reason") != CancelReason.USER_REQUESTED:
            return Broken(invariant="lifecycle", why=f"a PAID order was cancelled: {event.payload.get('reason')}")
    told = build(events)
    status = told.payment_status if isinstance(store.row, Payment) else told.order_status
    row = None if store.row is None else store.row.status
    if status != (None if row is PaymentStatus.PROCESSING else row):
        return Broken(invariant="5", why=f"the row says {row}, the event log says {status}")
    return None


def _logged(messages: Messages, queue: Queue, *stores: Store) -> Verdict:
    logged = {number for store in stores for number in store.log}
    for number, _ in queue.waiting:
        if messages.is_event(number) and number not in logged:
            return Broken(invariant="5", why=f"{messages.name(number)} was published, and it is not in the event log")
    for number, reason in queue.dead:
        if reason in ("ILLEGAL", "MALFORMED"):
            return Broken(invariant="legal", why=f"{messages.name(number)} became a dead letter: {reason}")
    return None


def _no_run_fails(runs: Runs, temporal: Temporal) -> Verdict:
    run = None if temporal.run is None else runs[temporal.run]
    if run is None or run.ended in (None, "completed"):
        return None
    return Broken(invariant="legal", why=f"the workflow {run.name} {run.ended}: {run.result.decode()}")


def _order_is_over(order: Order | None) -> Verdict:
    if order is None or not order.status.over:
        return Broken(invariant="1", why=f"the order is {order.status if order else 'not there'}")
    return None


def _money_agrees(order: Order, payment: Payment | None, books: Books) -> Verdict:
    kept = sum(line.captured - line.refunded for line in books.lines)
    given_back = sum(line.refunded for line in books.lines)
    if order.status is OrderStatus.PAID:
        return None if kept == TOTAL else Broken(invariant="2", why=f"the order is PAID, and the provider keeps {kept}")
    if payment is None or payment.status not in _COMPENSATED or payment.due is not None:
        status = f"{payment.status}, {payment.due or 'nothing'} due" if payment else "not there"
        return Broken(invariant="3", why=f"the order is {order.status}, and its payment is {status}")
    if kept != 0 or (payment.status is PaymentStatus.REFUNDED) != (given_back == TOTAL):
        told = f"the payment is {payment.status}, and the provider keeps {kept} and gave back {given_back}"
        return Broken(invariant="3", why=told)
    return None


def _published(messages: Messages, *stores: Store) -> Verdict:
    for store in stores:
        for number, mark in zip(store.log, store.marks, strict=True):
            if mark != GONE:
                return Broken(invariant="5", why=f"{messages.name(number)} was never published")
    return None


def _nothing_left(value: dict[Slot, Any]) -> Verdict:
    for slot in (Slot.ORDER_QUEUE, Slot.PAYMENT_QUEUE, Slot.MIRROR_QUEUE):
        if value[slot] != Queue():
            return Broken(invariant="rest", why=f"{slot.name} holds {value[slot]}, and nobody takes it")
    for slot in (Slot.ORDER_MEMORY, Slot.PAYMENT_MEMORY):
        if any(any(memory) for memory in value[slot]):
            return Broken(invariant="rest", why=f"{slot.name} holds {value[slot]}, and nothing comes of it")
    return None
