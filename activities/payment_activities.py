"""The Temporal activities of the payment service: its transactions, and read-only searches."""

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
    """The activities that Temporal can run in the payment service. A step ends when the provider's answer is applied.

    A repeated step returns the events of its first run. A step raises ApplicationError: it is retried if the provider
    gave no answer, and not retried if the message or the answer can't be true.
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
        """Charge. From attempt number `tries` on, a charge without an answer is voided and the payment fails."""
        return await self._apply(submission_of(step, OrderCreated), last_try=activity.info().attempt >= tries)

    @activity.defn
    async def cancel_payment(self, step: StepInput) -> StepResult:
        """Void or refund the payment, so that no money is kept."""
        return await self._apply(submission_of(step, OrderCancelled, OrderFailed), last_try=False)

    @activity.defn
    async def read_payment_events(self, order_id: str) -> list[dict[str, Any]]:
        """The events of this order in the payment service's event log, in wire form."""
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
