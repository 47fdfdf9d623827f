"""The rules of the model are production's decisions, and the named order of the effects around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from activities import ledger
from activities.book import Applied, Book, Submission
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from choreography.reactions import order_reactions, payment_reactions
from models.messages import Envelope
from models.order import Order
from models.payment import Payment
from models.saga import Become
from tests.model.messages import CLOCKS, Messages
from tests.model.state import CONFIRMED, DEFERRED, GONE, LOST, OFFERED, WAITING, Atlas, Memory, Store
from workflows.order_saga import OrderSaga
from workflows.saga_mirror import SagaMirror

_NOBODY: Final[Any] = None
REACTIONS: Final = {"order": {*order_reactions(_NOBODY)}, "payment": {*payment_reactions(_NOBODY)}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Discipline:
    """The order of the effects. The defaults are those of production, where the comment says. Others are faults."""

    log_with_state: bool = True  # `_LockedRows.save`: row, event and outbox row in one transaction
    outbox_with_log: bool = True  # `_LockedRows._log`: one statement writes both
    commit_before_publishing: bool = True  # `ledger.apply`: offers after the transaction
    commit_before_ack: bool = True  # `Consumer._handle`: settles after the reaction
    store_before_ack: bool = True  # `Consumer._settle`: a retry or dead letter is stored first
    confirm_before_forgetting: bool = True  # `Publisher._publish`: forgets what was confirmed
    relay_deletes_after_publishing: bool = True  # `Relay.sweep`: deletes after the confirms, in its transaction
    relay_finds_old_rows: bool = True  # `Relay._due`: what nobody deferred, once it is old
    ignores_orchestrated: bool = True  # `Consumer._react`: no reaction to an orchestrator's events
    retries_unanswered: bool = True  # `dispose`: ProviderUnavailable is tried again
    last_try_voids: bool = True  # `Payments._ask`: the last try gives the charge up
    settles_until_nothing_is_due: bool = True  # `Payments._settle`: a loop
    asks_again_when_overtaken: bool = True  # `Payments.apply`: after somebody else has settled it
    takes_up_what_is_due: bool = True  # `Payments.apply`: also when the decision changed nothing
    one_key_a_payment: bool = True  # `payment_id`: the provider is asked under the same key every time
    one_refund_a_key: bool = True  # the port's promise, which the conformance tests check
    repeats_original_ids: bool = True  # `logged_envelope`: what is published again has the id it had
    feed_tells_before_ack: bool = True  # `MirrorFeed._tell`
    successor_inherits: bool = True  # `SagaMirrors._tell_closed`: a second run begins with what the first knew


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The deciding functions and the discipline. `workflows` names the classes that run as each workflow."""

    order_book: Book[Order] = ORDERS
    payment_book: Book[Payment] = PAYMENTS
    discipline: Discipline = field(default_factory=Discipline)
    workflows: tuple[type[Any], ...] = (SagaMirror, OrderSaga)

    def book(self, side: str) -> Book[Any]:
        return self.order_book if side == "order" else self.payment_book


class Ledger:
    """Applies messages to a store as the ledger's transaction does, and remembers each result."""

    def __init__(self, rules: Rules, messages: Messages, *, publishes: bool) -> None:
        self._rules = rules
        self._messages = messages
        self._publishes = publishes
        self._rows: Atlas[Any] = Atlas()
        self._decided: dict[tuple[Any, ...], Applied[Any] | Exception] = {}

    def decide(self, side: str, row: Any, entry: Submission) -> Applied[Any] | Exception:
        """The decision and the event that `activities.ledger` makes for this message and this row."""
        key = (side, self._rows.number(row), entry.message, entry.event_id, entry.coordinator)
        if key not in self._decided:
            page: Any = ledger._LockedRows(self._rules.book(side), CLOCKS[side])
            if row is not None:
                page._after[entry.message.order_id] = row
            self._decided[key] = page.decide(entry)
        return self._decided[key]

    def commit(
        self, side: str, store: Store, memory: Memory, entry: Submission, *, again: bool = False
    ) -> tuple[Any, Store, Memory]:
        """The decision (or what deciding raised), the store after the transaction, and the memory after `offer`.

        `again`: the confirmation of the commit was lost, and `Ledger._handle` has applied the message once more. What
        the first time logged is offered to nobody.
        """
        if again:
            _, store, _ = self.commit(side, store, memory, entry)
        applied = self.decide(side, store.row, entry)
        if isinstance(applied, Exception):
            return applied, store, memory
        if not isinstance(applied.decision, Become):
            return applied.decision, store, memory
        changed = store._replace(row=applied.decision.state)
        if applied.event is None or not self._rules.discipline.log_with_state:
            return applied.decision, changed, memory
        return applied.decision, *self.log(side, changed, memory, applied.event)

    def log(self, side: str, store: Store, memory: Memory, event: Envelope) -> tuple[Store, Memory]:
        """Log the event, put it into the outbox, and let it leave by the fast path if it may (see `_LockedRows`)."""
        number = self._messages.number(event)
        place = len(store.log)
        logged = store._replace(log=(*store.log, number), marks=(*store.marks, GONE))
        if not self._publishes:
            return logged, memory
        carried = {at for at, phase in memory.path if phase in (OFFERED, CONFIRMED)}
        deferred = any(mark and at not in carried for at, mark in enumerate(store.marks))
        mark = DEFERRED if deferred else WAITING
        mark = mark if self._rules.discipline.outbox_with_log else LOST
        return logged._replace(marks=(*store.marks, mark)), memory if deferred else with_path(
            memory, add=[(place, OFFERED)]
        )


def with_path(memory: Memory, *, add: Iterable[tuple[int, str]] = (), drop: Iterable[tuple[int, str]] = ()) -> Memory:
    """The memory with these events on their way instead."""
    gone = {*drop}
    return memory._replace(path=tuple(sorted({*(each for each in memory.path if each not in gone), *add})))
