"""Both services in memory behind their task queues, with the real decisions and a scripted provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.activity_protocol import submission_of
from activities.book import Submission
from activities.steps import StepInput, StepResult
from models import order as orders
from models import payment as payments
from models.lifecycle import Due
from models.messages import Envelope, envelope_of, wire_form
from models.order import Order
from models.outcome import Charged, Declined, Outcome, Refunded, Refused, Unanswered, Voided
from models.payment import Payment
from models.saga import (
    Become,
    CreateOrderRequested,
    Decision,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    derived_id,
)
from workflows.naming import PAYMENT_TASK_QUEUE

Answer = Literal["approves", "declines", "refuses", "never answers", "lies"]


Clock: TypeAlias = Callable[[], Awaitable[datetime]]


async def _by_the_machine() -> datetime:
    return datetime.now(UTC)


class FakeServices:
    """One order and its payment."""

    def __init__(self, provider: Answer = "approves", clock: Clock = _by_the_machine) -> None:
        self.provider = provider
        self._clock = clock
        self._now = datetime.now(UTC)
        self.order: Order | None = None
        self.payment: Payment | None = None
        self.order_log: list[Envelope] = []
        self.payment_log: list[Envelope] = []
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()  # how often each step is still to fail
        self.create_gate, self.charge_gate = asyncio.Event(), asyncio.Event()
        self.create_gate.set()
        self.charge_gate.set()
        self.charging = asyncio.Event()
        self.stray: Submission | None = None  # what the payment service is told before it is to charge
        self.on_pay: Callable[[], object] = lambda: None  # done just before the order is paid
        self.on_cancel: Callable[[], object] = lambda: None  # done just before the order is cancelled

    @property
    def order_steps(self) -> list[Callable[..., Any]]:
        kinds: dict[str, type[Message]] = {
            "create_order": CreateOrderRequested,
            "pay_order": PaymentApproved,
            "decline_order": PaymentDeclined,
            "fail_order": PaymentFailed,
            "cancel_order": OrderCancelRequested,
        }
        return [*(self._order_step(name, kind) for name, kind in kinds.items()), self.read_order_events]

    def payment_worker(self, client: Client) -> Worker:
        steps: list[Callable[..., Any]] = [self.charge_payment, self.cancel_payment, self.read_payment_events]
        return Worker(client, task_queue=PAYMENT_TASK_QUEUE, activities=steps)

    @property
    def log(self) -> list[Envelope]:
        return self.order_log + self.payment_log

    # the order service

    def _order_step(self, name: str, kind: type[Message]) -> Callable[..., Any]:
        @activity.defn(name=name)
        async def run(step: StepInput) -> StepResult:
            await self._begin(name)
            if name == "create_order":
                await self.create_gate.wait()
            if name == "pay_order":
                self.on_pay()
            if name == "cancel_order":
                self.on_cancel()
            entry = submission_of(step, kind)
            decision = self.apply_to_order(entry)
            return self._result(decision, self.order.status if self.order else None, self.order_log, entry)

        return run

    def apply_to_order(self, entry: Submission) -> Decision[Order]:
        decision = orders.decide(self.order, entry.message, entry.coordinator)  # type: ignore[arg-type]
        if isinstance(decision, Become):
            self.order = decision.state
            self._record(self.order_log, entry, decision)
        return decision

    @activity.defn
    async def read_order_events(self, order_id: str) -> list[dict[str, Any]]:
        await self._begin("read_order_events")
        return [wire_form(event) for event in self.order_log if str(event.order_id) == order_id]

    # the payment service

    @activity.defn
    async def charge_payment(self, step: StepInput, tries: int) -> StepResult:
        await self._begin("charge_payment")
        if self.stray is not None:
            self.apply_to_payment(self.stray.message, self.stray)
        return await self._pay(submission_of(step, OrderCreated), last_try=activity.info().attempt >= tries)

    @activity.defn
    async def cancel_payment(self, step: StepInput) -> StepResult:
        await self._begin("cancel_payment")
        return await self._pay(submission_of(step, OrderCancelled, OrderFailed), last_try=False)

    @activity.defn
    async def read_payment_events(self, order_id: str) -> list[dict[str, Any]]:
        await self._begin("read_payment_events")
        return [wire_form(event) for event in self.payment_log if str(event.order_id) == order_id]

    async def _pay(self, entry: Submission, *, last_try: bool) -> StepResult:
        decision = self.apply_to_payment(entry.message, entry)
        first, outcome = decision, decision
        while isinstance(outcome, Become) and outcome.state.due is not None:
            outcome = self.apply_to_payment(await self._ask(outcome.state, last_try), entry)
        return self._result(first, self.payment.status if self.payment else None, self.payment_log, entry)

    def apply_to_payment(self, message: Any, entry: Submission) -> Decision[Payment]:
        decision = payments.decide(self.payment, message, entry.coordinator)
        if isinstance(decision, Become):
            self.payment = decision.state
            self._record(self.payment_log, entry, decision)
        return decision

    async def _ask(self, payment: Payment, last_try: bool) -> Outcome:
        order_id = payment.order_id
        if payment.due is Due.VOID:
            return Voided(order_id=order_id)
        if payment.due is Due.REFUND:
            return Refunded(order_id=order_id)
        self.charging.set()
        await self.charge_gate.wait()
        match self.provider:
            case "approves":
                return Charged(order_id=order_id, transaction_id="t-1")
            case "declines":
                return Declined(order_id=order_id, reason="Insufficient funds")
            case "refuses":
                return Refused(order_id=order_id, error="no such card")
            case "lies":
                raise ApplicationError("the provider contradicts itself", non_retryable=True)
            case _:
                if last_try:
                    return Unanswered(order_id=order_id, error="no answer")
                raise ApplicationError("no answer", type="ProviderUnavailable")

    # both

    async def _begin(self, name: str) -> None:
        self._now = await self._clock()
        self.attempts[name] += 1
        if self.failures[name]:
            self.failures[name] -= 1
            raise ConnectionError(f"{name} fails once more")

    def _record(self, log: list[Envelope], entry: Submission, decision: Become[Any]) -> None:
        if decision.emit is not None:
            log.append(
                envelope_of(
                    decision.emit,
                    event_id=derived_id(decision.emit.order_id, type(decision.emit).__name__, str(entry.event_id)),
                    occurred_at=self._now,
                    correlation_id=entry.correlation_id,
                    causation_id=entry.event_id,
                    coordinator=entry.coordinator,
                )
            )

    def _result(
        self, decision: Decision[Any], status: str | None, log: list[Envelope], entry: Submission
    ) -> StepResult:
        events = [wire_form(event) for event in log if event.causation_id == entry.event_id]
        return StepResult(decision=type(decision).__name__.lower(), why=None, status=status, events=events)
