"""Clients, operators and timers act on the services from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from activities.activity_protocol import submission_of
from models.saga import CancelReason, Coordinator, OrderCancelRequested, derived_id
from tests.model.messages import ORDER, Messages
from tests.model.rules import Discipline, Ledger
from tests.model.services import Memories
from tests.model.state import DEFERRED, GONE, PUBLISHED, Copy, Kind, Label, Queue, Slot, Store
from tests.model.steps import Draft, places, with_memory, without
from workflows.mirror_record import timeout_of


class Surroundings:
    """Events from outside that may happen to a choreographed saga at any moment."""

    def __init__(self, ledger: Ledger, messages: Messages, discipline: Discipline) -> None:
        self._ledger = ledger
        self._messages = messages
        self._discipline = discipline

    def cancel(self) -> Iterator[Draft]:
        """The user cancels; the gateway publishes the command."""
        number = self._messages.cancel()
        yield Draft(Label("cancel", "client", (number,)), puts=[(Slot.ORDER_QUEUE, Copy(number))]).at_a_cost(
            "cancels", Kind.WHIM
        )

    def time_out(self, store: Store, memories: Memories) -> Iterator[Draft]:
        """A mirror's payment timer: its step cancel_order runs on the order service's ledger."""
        created = next((each for each in store.log if self._messages.name(each) == "OrderCreated"), None)
        if created is None:
            return
        number = self._messages.cancel(CancelReason.PAYMENT_TIMEOUT)
        entry = submission_of(timeout_of(self._messages.envelope(created)), OrderCancelRequested)
        for place in places(memories):
            result, after, memory = self._ledger.commit("order", store, memories[place], entry)
            sets = {Slot.ORDERS: after, Slot.ORDER_MEMORY: with_memory(memories, place, memory)}
            yield Draft(Label("time out", "order", (number,), type(result).__name__), sets).at_a_cost(
                "timeouts", Kind.WHIM
            )

    def republish(self, store: Store) -> Iterator[Draft]:
        """A mirror's compensation timer: its step leaves order.cancelled to the relay once more."""
        if (after := requeued(self._messages, store)) != store:
            yield Draft(Label("republish", "order"), {Slot.ORDERS: after}).at_a_cost("republications", Kind.WHIM)

    def repeat(self, orders: Store, payments: Store) -> Iterator[Draft]:
        """An operator replays an event; a client repeats a command."""
        for number in (*orders.log, *payments.log):
            yield Draft(Label("replay", "operator", (number,)), sends=[self._again(number)]).at_a_cost("repeats")
        create = self._messages.create(Coordinator.CHOREOGRAPHY)
        yield Draft(Label("send again", "client", (create,)), puts=[(Slot.ORDER_QUEUE, Copy(create))]).at_a_cost(
            "repeats"
        )

    def _again(self, number: int) -> int:
        """The envelope that was published first, as `logged_envelope` makes it."""
        if self._discipline.repeats_original_ids:
            return number
        envelope = self._messages.envelope(number)
        return self._messages.number(replace(envelope, event_id=derived_id(ORDER, "again", str(envelope.event_id))))

    def redrive(self, slot: Slot, queue: Queue) -> Iterator[Draft]:
        """An operator redrives a dead letter, which comes back with a new count of attempts."""
        if queue.waiting:
            return  # an operator waits first until nothing else moves
        for letter in dict.fromkeys(queue.dead):
            after = queue._replace(dead=without(queue.dead, letter))
            yield Draft(
                Label("redrive", "operator", letter[:1], letter[1]), {slot: after}, puts=[(slot, Copy(letter[0]))]
            )


def requeued(messages: Messages, store: Store) -> Store:
    """The store after `OrderActivities.republish_cancellation`."""
    marks = tuple(
        DEFERRED | (mark & PUBLISHED or (PUBLISHED if mark == GONE else 0))
        if messages.name(number) == "OrderCancelled"
        else mark
        for number, mark in zip(store.log, store.marks, strict=True)
    )
    return store._replace(marks=marks)
