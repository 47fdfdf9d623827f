"""A simulated payment provider with books of its own. The payment method steers it, as in Stripe's test mode."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Any, Final, TypeAlias

import structlog

from activities.batch import Batcher
from activities.providers import VOIDED, Mischarged, ProviderUnavailable, RefundRefused, captured
from models.database import TRANSIENT, Database
from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment
from models.saga import PaymentId

BookedOutcome: TypeAlias = Charged | Declined | Refused | Voided

_DECLINES: Final = {
    "pm_card_chargeDeclined": "Your card was declined",
    "pm_card_chargeDeclinedInsufficientFunds": "Insufficient funds",
}
_APPROVED: Final = frozenset({"pm_card_visa", "pm_slow", "pm_timeout_then_approve"})

# The first line that is written for a payment stands for good. A later writer, from any process, waits for that commit
# and then reads the line. Here a charge and a void race. Lines are written in id order, so two batches can't deadlock.
_SETTLE: Final = """
    INSERT INTO provider_charges
        (payment_id, amount, currency, outcome, transaction_id, reason, captured, refunded)
    SELECT payment_id, amount, currency, outcome, transaction_id, reason,
           CASE outcome WHEN 'Charged' THEN amount ELSE 0 END, 0
    FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
         AS line (payment_id, amount, currency, outcome, transaction_id, reason)
    ORDER BY payment_id
    ON CONFLICT (payment_id) DO NOTHING
    RETURNING payment_id, outcome, currency, transaction_id, reason, captured, refunded"""
_REFUND: Final = """
    UPDATE provider_charges SET refunded = captured, updated_at = now()
    WHERE payment_id IN (
        SELECT payment_id FROM provider_charges
        WHERE payment_id = ANY(%s::uuid[]) AND refunded < captured ORDER BY payment_id FOR UPDATE)"""
_READ: Final = """
    SELECT payment_id, outcome, currency, transaction_id, reason, captured, refunded
    FROM provider_charges WHERE payment_id = ANY(%s::uuid[])"""

_log = structlog.get_logger()


class _Verb(Enum):
    SETTLE = auto()  # a charge's or a void's line
    REFUND = auto()
    LOOK_UP = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    verb: _Verb
    payment: Payment
    settlement: BookedOutcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A payment's line in the books. `first` says that this request wrote it."""

    outcome: str
    currency: str
    transaction_id: str | None
    reason: str | None
    captured: int
    refunded: int
    first: bool

    def settlement(self, payment: Payment) -> BookedOutcome | Mischarged:
        order_id = payment.order_id
        match self.outcome:
            case "Charged":
                got, asked = (self.captured, self.currency), (payment.amount, payment.currency)
                return captured(payment, self.transaction_id or "", got=got, asked=asked)
            case "Declined":
                return Declined(order_id=order_id, reason=self.reason or "")
            case "Refused":
                return Refused(order_id=order_id, error=self.reason or "")
            case "Voided":
                return Voided(order_id=order_id)
            case other:
                raise ValueError(f"provider_charges holds the outcome {other}, which no version has ever written")


class SimulatedProvider:
    """Keeps its books in the database, so that any number of processes can share them.

    It answers only while `run()` runs. Times are in seconds. A charge takes `latency`, with pm_slow `slow`. It waits at
    most `timeout` for the books; with pm_unavailable it waits that long and then fails.
    """

    def __init__(
        self,
        database: Database,
        *,
        latency: float = 1.5,
        decline_rate: float = 0.2,
        timeout: float = 30.0,
        slow: float = 10.0,
    ) -> None:
        self._database = database
        self._latency = latency
        self._decline_rate = decline_rate
        self._timeout = timeout
        self._slow = slow
        self._batcher: Batcher[_Request, _Line | None] = Batcher(self._handle)

    async def run(self) -> None:
        """Keep the books until cancelled."""
        await self._batcher.run()

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Mischarged | Declined | Refused:
        """Capture after the latency. If the books have a line for this payment by then, report that line instead."""
        if payment.payment_method == "pm_unavailable":
            await asyncio.sleep(self._timeout)
            raise ProviderUnavailable(f"The simulated provider gave no answer to the charge of payment {payment.id}")
        await asyncio.sleep(self._slow if payment.payment_method == "pm_slow" else self._latency)
        line = await self._settle(payment, self._toss(payment))
        if line.first and payment.payment_method == "pm_timeout_then_approve":
            raise ProviderUnavailable(f"The answer to the charge of payment {payment.id} was lost")
        settlement = line.settlement(payment)
        _log.debug("provider_charge", payment_id=payment.id, correlation_id=correlation_id, outcome=line.outcome)
        return Refused(order_id=payment.order_id, error=VOIDED) if isinstance(settlement, Voided) else settlement

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged | Mischarged:
        """Write a tombstone, also for an unknown payment. A charge still in its latency then captures nothing."""
        line = await self._settle(payment, Voided(order_id=payment.order_id))
        _log.debug("provider_void", payment_id=payment.id, correlation_id=correlation_id, outcome=line.outcome)
        settlement = line.settlement(payment)
        # A declined or refused line stands for good, too. Nothing is ever captured for it.
        return settlement if isinstance(settlement, Charged | Mischarged) else Voided(order_id=payment.order_id)

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Give back the whole captured amount, once. Raises RefundRefused if nothing was captured."""
        line = await self._ask(_Request(verb=_Verb.REFUND, payment=payment))
        if line is None or line.captured == 0:
            raise RefundRefused(f"Nothing was captured for payment {payment.id}, so nothing can be given back")
        if line.refunded != line.captured:
            books = f"captured {line.captured} {line.currency}, refunded {line.refunded}"
            raise RefundRefused(f"The refund of payment {payment.id} is not what was captured: {books}")
        _log.debug("provider_refund", payment_id=payment.id, correlation_id=correlation_id, refunded=line.refunded)
        return Refunded(order_id=payment.order_id)

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused | Voided | Refunded | None:
        line = await self._ask(_Request(verb=_Verb.LOOK_UP, payment=payment))
        _log.debug("provider_look_up", payment_id=payment.id, correlation_id=correlation_id)
        if line is None:
            return None
        return Refunded(order_id=payment.order_id) if line.refunded else line.settlement(payment)

    def _toss(self, payment: Payment) -> Charged | Declined | Refused:
        """The outcome of a charge of this payment. One order has the same outcome on every machine, in every run."""
        method = payment.payment_method
        if method == "pm_error":
            return Refused(order_id=payment.order_id, error="The provider does not accept pm_error")
        reason = _DECLINES.get(method or "")
        if reason is None and method not in _APPROVED:
            coin = int.from_bytes(sha256(payment.order_id.bytes).digest()[:8]) / 2**64
            reason = "Insufficient funds" if coin < self._decline_rate else None
        if reason is not None:
            return Declined(order_id=payment.order_id, reason=reason)
        return Charged(order_id=payment.order_id, transaction_id=f"txn_{payment.id.hex}")

    async def _settle(self, payment: Payment, settlement: BookedOutcome) -> _Line:
        line = await self._ask(_Request(verb=_Verb.SETTLE, payment=payment, settlement=settlement))
        if line is None:
            raise ProviderUnavailable(f"The books lost the line of payment {payment.id} while it was read")
        return line

    async def _ask(self, request: _Request) -> _Line | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._batcher.submit(request)
        except TimeoutError:
            raise ProviderUnavailable(f"The books gave no answer on payment {request.payment.id}") from None

    async def _handle(self, batch: Sequence[_Request]) -> Sequence[_Line | Exception | None]:
        try:
            return await _write_and_read(self._database, batch)
        except TRANSIENT as error:
            return [ProviderUnavailable(f"The simulated provider's books: {error}") for _ in batch]


async def _write_and_read(database: Database, batch: Sequence[_Request]) -> list[_Line | None]:
    """Run at most three statements for a batch of any size. Of two requests for one payment, the first one writes.

    Each statement is a transaction of its own. So the last one sees lines that others committed while the first one
    waited for them.
    """
    writers: dict[PaymentId, _Request] = {}
    for request in batch:
        if request.verb is _Verb.SETTLE:
            writers.setdefault(request.payment.id, request)
    rows: dict[PaymentId, dict[str, Any]] = {}
    if writers:
        lines = [_columns(request) for request in writers.values()]
        written = await database.query(_SETTLE, [list(column) for column in zip(*lines, strict=True)])
        rows = {row.pop("payment_id"): row for row in written}
    first = {*rows}
    refunds = [request.payment.id for request in batch if request.verb is _Verb.REFUND]
    if refunds:
        await database.query(_REFUND, [refunds])
    if unread := {request.payment.id for request in batch} - (first - {*refunds}):
        rows |= {row.pop("payment_id"): row for row in await database.query(_READ, [list(unread)])}
    return [
        _Line(**rows[payment_id], first=payment_id in first and writers.get(payment_id) is request)
        if (payment_id := request.payment.id) in rows
        else None
        for request in batch
    ]


def _columns(request: _Request) -> tuple[PaymentId, int, str, str, str | None, str | None]:
    payment, settlement = request.payment, request.settlement
    transaction_id = settlement.transaction_id if isinstance(settlement, Charged) else None
    reason: str | None = None
    match settlement:
        case Declined():
            reason = settlement.reason
        case Refused():
            reason = settlement.error
    return payment.id, payment.amount, payment.currency, type(settlement).__name__, transaction_id, reason
