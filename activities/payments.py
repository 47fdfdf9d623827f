"""The payment service's local transactions, and the provider calls between them: charge, void, refund."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from activities.book import Applied, Book, Submission
from activities.crash_points import crash_point
from activities.ledger import Ledger
from activities.providers import ForeignAnswer, Mischarged, PaymentProvider, ProviderUnavailable, RefundRefused
from activities.saga_trace import SagaTrace
from activities.shared_work import SharedWork
from activities.waits import Waits
from models.lifecycle import Due, PaymentStatus
from models.outcome import Charged, Outcome, Refused, Unanswered
from models.payment import Payment, decide
from models.saga import Become, Decision, Illegal
from models.tables import PaymentRow

log = structlog.get_logger()


class ContradictoryOutcome(Exception):
    """The provider's answer contradicts the stored payment. An operator must look."""


class Payments:
    """Applies messages to payments and calls the provider between two transactions."""

    def __init__(
        self,
        ledger: Ledger[Payment],
        provider: PaymentProvider,
        waits: Waits | None = None,
        saga_trace: SagaTrace | None = None,
    ) -> None:
        self._ledger = ledger
        self._saga_trace = saga_trace
        self._provider = provider
        self._waits = waits or Waits()
        self._in_flight = SharedWork[bool](expected=(ProviderUnavailable, ContradictoryOutcome, RefundRefused))

    async def apply(self, submission: Submission, *, last_try: bool = False) -> Decision[Payment]:
        """Apply a message and make the provider calls that are then due. On return nothing is due any more.

        Raises ProviderUnavailable if the provider gave no answer. The call then stays due, and applying the same
        message again repeats it. With `last_try`, a charge without an answer is voided instead, and the payment fails.
        Raises ContradictoryOutcome if the provider's answer cannot be true.
        """
        self._waits.note(submission)
        if self._saga_trace is None:
            return await self._apply(submission, last_try)
        with await self._saga_trace.step(submission):
            return await self._apply(submission, last_try)

    async def _apply(self, submission: Submission, last_try: bool) -> Decision[Payment]:
        while True:
            applied = await self._ledger.submit(submission)
            if not isinstance(applied.decision, Become) or applied.decision.state.due is None:
                return applied.decision
            if await self._settle_once(applied.decision.state, submission, last_try):
                return applied.decision
            # Another message has settled the call meanwhile, and something else may be due now. Look again.

    async def _settle_once(self, payment: Payment, submission: Submission, last_try: bool) -> bool:
        """Settle what is due. A duplicate that arrives meanwhile waits for the same answer and makes no second call."""
        assert payment.due is not None  # noqa: S101 - the caller has checked it
        name = f"{payment.due.value} of payment {payment.id}"
        return await self._in_flight.result(name, lambda: self._settle(payment, submission, last_try))

    async def _settle(self, payment: Payment, submission: Submission, last_try: bool) -> bool:
        """Call the provider until nothing is due. Returns False if an answer came too late to be applied."""
        while payment.due is not None:
            crash_point("payment.due")
            outcome = await self._ask(payment, submission, last_try)
            crash_point("payment.answered")
            answer = Submission(
                message=outcome,
                event_id=submission.event_id,
                correlation_id=submission.correlation_id,
                coordinator=submission.coordinator,
                attempt=submission.attempt,
            )
            applied: Applied[Payment] = await self._ledger.submit(answer)
            if isinstance(applied.decision, Illegal):
                raise ContradictoryOutcome(applied.decision.why)
            if not isinstance(applied.decision, Become):
                return False
            payment = applied.decision.state
        return True

    async def _ask(self, payment: Payment, submission: Submission, last_try: bool) -> Outcome:
        try:
            answer = await self._provider_on(payment, submission.correlation_id)
            if isinstance(answer, Mischarged):
                return await self._undone(payment, answer, submission.correlation_id)
        except ForeignAnswer as error:
            raise ContradictoryOutcome(str(error)) from error
        except ProviderUnavailable as error:
            if not last_try or payment.due is not Due.CHARGE:
                raise
            return Unanswered(order_id=payment.order_id, error=str(error))
        return answer

    async def _provider_on(self, payment: Payment, correlation_id: str) -> Outcome | Mischarged:
        match payment.due:
            case Due.VOID:
                return await self._provider.void(payment, correlation_id=correlation_id)
            case Due.REFUND:
                return await self._provider.refund(payment, correlation_id=correlation_id)
            case _:
                return await self._provider.charge(payment, correlation_id=correlation_id)

    async def _undone(self, payment: Payment, answer: Mischarged, correlation_id: str) -> Outcome:
        """Give back a capture of a wrong amount or currency before anything else is decided. It is never approved.

        After a crash in between, both calls are repeated: the charge reports the same capture, and the refund is made
        only once.
        """
        log.warning("payment_mischarged", payment_id=str(payment.id), correlation_id=correlation_id, why=answer.why)
        order_id, charged_as = payment.order_id, replace(payment, transaction_id=answer.transaction_id)
        if payment.status is PaymentStatus.CANCELLED:
            return Charged(order_id=order_id, transaction_id=answer.transaction_id)  # its refund is due next
        await self._provider.refund(charged_as, correlation_id=correlation_id)
        return Refused(order_id=order_id, error=f"{answer.why}; it was given back")


def _tally(payment: Payment) -> tuple[tuple[str, ...], int]:
    return (payment.status, payment.currency), payment.amount


PAYMENTS: Final = Book[Payment](
    state=Payment,
    rows=PaymentRow,
    key="order_id",
    mutable=("status", "due", "transaction_id", "reason"),
    decide=decide,
    totals="payment_sums",
    totals_by=("status", "currency"),
    tally=_tally,
)
