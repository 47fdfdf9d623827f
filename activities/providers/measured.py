"""Measure each call of a payment provider: how long it took, and what came of it."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from activities.measures import ProviderMeasures
from activities.providers import ForeignAnswer, Mischarged, PaymentProvider, ProviderUnavailable, RefundRefused
from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

Answer = TypeVar("Answer")

_ANSWERS: Final = (Charged, Mischarged, Declined, Refused, Voided, Refunded)
_REFUSALS: Final = (ProviderUnavailable, RefundRefused, ForeignAnswer)
# As the label says them: charged, provider_unavailable and so on.
_LABELS: Final[Mapping[type[Any], str]] = {
    kind: re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in (*_ANSWERS, *_REFUSALS)
}


class MeasuredProvider:
    """A `PaymentProvider` that does what another one does, and has each of these hear of it."""

    def __init__(self, provider: PaymentProvider, *measures: ProviderMeasures) -> None:
        self._provider = provider
        self._measures = measures

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Mischarged | Declined | Refused:
        return await self._measured("charge", payment, self._provider.charge(payment, correlation_id=correlation_id))

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged | Mischarged:
        return await self._measured("void", payment, self._provider.void(payment, correlation_id=correlation_id))

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        return await self._measured("refund", payment, self._provider.refund(payment, correlation_id=correlation_id))

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused | Voided | Refunded | None:
        return await self._measured("look_up", payment, self._provider.look_up(payment, correlation_id=correlation_id))

    async def _measured(self, operation: str, payment: Payment, call: Awaitable[Answer]) -> Answer:
        began = time.monotonic()
        try:
            answer = await call
        except Exception as error:  # a call that was cancelled, since the process stops, has no outcome
            self._tell(operation, _LABELS.get(type(error), "error"), time.monotonic() - began, payment)
            raise
        # Only a look-up answers nothing: the provider knows no charge of this payment.
        outcome = "unknown" if answer is None else _LABELS.get(type(answer), "other")
        self._tell(operation, outcome, time.monotonic() - began, payment)
        return answer

    def _tell(self, operation: str, outcome: str, seconds: float, payment: Payment) -> None:
        for each in self._measures:
            each.provider_answered(operation, outcome, seconds, payment)
