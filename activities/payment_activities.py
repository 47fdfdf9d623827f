"""The Temporal activities of the payment service: its transactions, and searches that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.activity_protocol import accepted, for_good, heartbeats, submission_of
from activities.book import Submission
from activities.history import History
from activities.payment_stragglers import PaymentStragglers
from activities.payments import PAYMENTS, ContradictoryOutcome, Payments
from activities.providers import ProviderUnavailable, RefundRefused
from activities.steps import StepInput, StepResult
from activities.stragglers import Place, Search
from models.database import Database
from models.saga import OrderCancelled, OrderCreated, OrderFailed


class PaymentActivities:
    """What Temporal may have the payment service do; a step has the provider's answer, and what follows from it.

    A step that is repeated answers with the events of its first time. It raises ApplicationError: to be retried when
    the provider gave no answer, not to be retried when message or answer can't be true.
    """

    def __init__(self, database: Database, payments: Payments) -> None:
        self._payments = payments
        self._history = History(database, PAYMENTS)
        self._stragglers = PaymentStragglers(database)

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        return (
            self.charge_payment,
            self.cancel_payment,
            self.read_payment_events,
            self.find_due_payments,
            self.find_ended_payments,
            self.find_uncompensated,
        )

    @activity.defn
    async def charge_payment(self, step: StepInput, tries: int = 6) -> StepResult:
        """From the attempt number `tries` on, a charge without an answer is voided and the payment fails."""
        return await self._apply(submission_of(step, OrderCreated), last_try=activity.info().attempt >= tries)

    @activity.defn
    async def cancel_payment(self, step: StepInput) -> StepResult:
        """Void or refund, whatever it takes that no money is kept."""
        return await self._apply(submission_of(step, OrderCancelled, OrderFailed), last_try=False)

    @activity.defn
    async def read_payment_events(self, order_id: str) -> list[dict[str, Any]]:
        """What the payment service's event log has of this order, in wire form."""
        return await self._history.events(UUID(order_id))

    @activity.defn
    async def find_due_payments(self, search: Search) -> list[Place]:
        return await self._stragglers.due(search)

    @activity.defn
    async def find_ended_payments(self, search: Search) -> list[Place]:
        return await self._stragglers.ended(search)

    @activity.defn
    async def find_uncompensated(self, cancelled: list[str]) -> list[str]:
        return await self._stragglers.uncompensated(cancelled)

    async def _apply(self, submission: Submission, *, last_try: bool) -> StepResult:
        async with heartbeats():
            try:
                decision = await self._payments.apply(submission, last_try=last_try)
            except ProviderUnavailable as error:
                raise ApplicationError(str(error), type="ProviderUnavailable") from error
            except (ContradictoryOutcome, RefundRefused) as error:
                raise for_good(str(error), type(error).__name__) from error
            return await self._history.result(submission, accepted(decision))
