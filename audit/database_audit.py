"""Check both services' databases, and one against the other, while the system runs or at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from audit.checks import CHECKS
from audit.findings import AuditReport, Comparison, Finding, Query
from audit.possible_lives import order_lives, payment_lives, rests_of_order_lives, rests_of_payment_lives
from audit.sagas import OrderSide, PaymentSide, Saga, Standing, standing
from audit.snapshot import Snapshot
from audit.statements import AT_STRIPE, ORDER_SIDES, PAYMENT_SIDES, REMOVED
from models.migrations import DatabaseName

_SUSPECTS: Final = 500  # looked at again together
_LIVES: Final[Mapping[DatabaseName, Callable[[], tuple[list[str], list[str]]]]] = {
    "orders": lambda: ([*order_lives()], [*rests_of_order_lives()]),
    "payments": lambda: ([*payment_lives()], [*rests_of_payment_lives()]),
}
_COMPARISONS: Final = tuple((check.name, check.find.judge) for check in CHECKS if isinstance(check.find, Comparison))


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The options of an audit. Times are in seconds.

    A saga with something outstanding counts as under way until nothing has changed for `grace`. With `at_rest` no saga
    may be under way, however young. If two services disagree, the saga is read again `pause` later, and reported if
    they still disagree.
    """

    grace: float = 1800.0
    at_rest: bool = False
    pause: float = 1.0
    keep: int = 10  # examples of each violation
    mirror_after: float = 0.0  # more than 0: choreographed sagas that were over soon have no mirror

    @property
    def patience(self) -> float:
        return 0.0 if self.at_rest else self.grace


@dataclass(kw_only=True)
class DatabaseAudit:
    """One run through both databases. It adds its findings to `report`.

    The order service's snapshot is taken first. So the payment service's later snapshot has everything that these
    orders follow from. If the later one shows more, such as an order that was cancelled in between, the saga is read
    again.
    """

    orders: Snapshot
    payments: Snapshot
    scope: Scope
    report: AuditReport
    _suspects: list[Finding] = field(default_factory=list)
    _taken: float = 0.0

    def run(self) -> None:
        """Make all checks of the databases. Raises NotRead."""
        self._take()
        for what in ("orders", "payments", "sagas under way"):
            self.report.count(what, 0)
        self._query()
        for saga in _merged(self.orders.stream(ORDER_SIDES), self.payments.stream(PAYMENT_SIDES)):
            self._count(saga)
            self._suspects += _judged(saga, self.scope.patience)
            if len(self._suspects) >= _SUSPECTS:
                self._confirm()
        self._confirm()
        self.orders.leave()
        self.payments.leave()

    def _take(self) -> None:
        self.orders.take()
        self.payments.take()
        self._taken = time.monotonic()

    def _query(self) -> None:
        query_database("orders", self.orders, self.scope, self.report)
        query_database("payments", self.payments, self.scope, self.report)
        self.report.count("events waiting to be published", _waiting(self.orders) + _waiting(self.payments))
        if removed := self.orders.number(REMOVED) + self.payments.number(REMOVED):
            self.report.notes.append(f"{removed} events of sagas that are over were removed by retention")
        if at_stripe := self.payments.number(AT_STRIPE):
            self.report.notes.append(
                f"{at_stripe} of the payments were charged at Stripe, whose books are not read here: compare the money "
                "of those with its balance report"
            )

    def _count(self, saga: Saga) -> None:
        self.report.count("orders", saga.order is not None)
        self.report.count("payments", saga.payment is not None)
        self.report.count("sagas under way", standing(saga) is Standing.UNDER_WAY)

    def _confirm(self) -> None:
        """Read the suspects again after a moment, and report those that are still violations."""
        suspects, self._suspects = self._suspects, []
        if not suspects:
            return
        time.sleep(max(0.0, self._taken + self.scope.pause - time.monotonic()))
        expected = {(finding.check, finding.id) for finding in suspects}
        order_ids = [UUID(order_id) for order_id in sorted({finding.id for finding in suspects})]
        for saga in self._read_again(order_ids):
            for finding in _judged(saga, self.scope.patience):
                if (finding.check, finding.id) in expected:
                    self.report.add(finding, keep=self.scope.keep)

    def _read_again(self, order_ids: Sequence[UUID]) -> Iterable[Saga]:
        with self.orders.another() as orders, self.payments.another() as payments:
            before = orders.sides(ORDER_SIDES, "o.id", order_ids)
            return list(_merged(before, payments.sides(PAYMENT_SIDES, "p.order_id", order_ids)))


def audit_alone(service: DatabaseName, reader: Snapshot, scope: Scope, report: AuditReport) -> None:
    """Make the checks of one database alone: the other service is an original one. Raises NotRead."""
    reader.take()
    query_database(service, reader, scope, report)
    report.count(service, reader.number(f"SELECT count(*) FROM {service}"))
    report.count("events waiting to be published", _waiting(reader))
    reader.leave()


def query_database(service: DatabaseName, reader: Snapshot, scope: Scope, report: AuditReport) -> None:
    """Make the checks that this service's database is enough for; the report grows. Raises NotRead."""
    lives, rests = _LIVES[service]()
    parameters = {"lives": lives, "rests": rests, "patience": scope.patience}
    for check in CHECKS:
        if not isinstance(check.find, Query) or check.find.service != service:
            continue
        total, rows = reader.rows(check.find.sql, parameters, keep=scope.keep)
        for order_id, detail in rows:
            report.add(Finding(check=check.name, id=str(order_id), detail=detail), keep=scope.keep)
        if total > len(rows):
            report.tallies[check.name].violations += total - len(rows)


def _waiting(reader: Snapshot) -> int:
    return reader.number("SELECT count(*) FROM outbox")


def _judged(saga: Saga, patience: float) -> list[Finding]:
    return [
        Finding(check=name, id=str(saga.order_id), detail=detail)
        for name, judge in _COMPARISONS
        if (detail := judge(saga, patience)) is not None
    ]


def _merged(orders: Iterable[tuple[Any, ...]], payments: Iterable[tuple[Any, ...]]) -> Iterator[Saga]:
    """The sagas in both services' rows, which must both be sorted by the order's id."""
    left, right = map(OrderSide._make, orders), map(PaymentSide._make, payments)
    order, payment = next(left, None), next(right, None)
    while order is not None or payment is not None:
        if payment is None or (order is not None and order.order_id < payment.order_id):
            yield Saga(order=order, payment=None)
            order = next(left, None)
        elif order is None or payment.order_id < order.order_id:
            yield Saga(order=None, payment=payment)
            payment = next(right, None)
        else:
            yield Saga(order=order, payment=payment)
            order, payment = next(left, None), next(right, None)
