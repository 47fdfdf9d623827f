"""Audit a system: first its databases, then what the broker and Temporal hold of the same sagas."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit.database_audit import DatabaseAudit, Scope, audit_alone
from audit.findings import AuditReport
from audit.snapshot import NotRead, Snapshot
from models.migrations import DatabaseName

if TYPE_CHECKING:
    from workflows.temporal_client import Protection

SAMPLE: Final = 200  # sagas whose timelines are read unless all are asked for


@dataclass(frozen=True, kw_only=True)
class Places:
    """The addresses of a system's stores, with passwords. A store with an empty address is left out.

    At least one of the two databases is known. The other one is that of an original service.
    """

    orders_db: str
    payments_db: str
    amqp: str = ""
    temporal: str = ""
    namespace: str = "default"
    protection: Protection | None = None  # of the way to Temporal


def audit(places: Places, scope: Scope, *, sample: int | None = SAMPLE) -> AuditReport:
    """Audit the system. The report has all findings, and the sources that could not be read; those raise no error.

    This only reads. `sample` is the number of sagas whose timelines are compared; None: all.
    """
    report = AuditReport()
    if not (places.orders_db and places.payments_db):
        _audit_alone(places, scope, report)
        return report
    with ExitStack() as stack:
        try:
            orders = stack.enter_context(Snapshot("orders", places.orders_db))
            payments = stack.enter_context(Snapshot("payments", places.payments_db))
            DatabaseAudit(orders=orders, payments=payments, scope=scope, report=report).run()
        except NotRead as error:
            # The findings so far are still true. The other checks need both databases.
            report.unread[error.source] = error.why
            report.left_out |= dict.fromkeys(("dead letters", "timelines"), "a database could not be read")
            return report
        _dead_letters(places, orders, scope, report)
        _timelines(places, orders, payments, scope, sample, report)
    return report


def _audit_alone(places: Places, scope: Scope, report: AuditReport) -> None:
    """What can be told of one service of ours, while the other one is an original service."""
    name: DatabaseName = "orders" if places.orders_db else "payments"
    others = ("payments",) if places.orders_db else ("orders", "dead letters")
    report.left_out |= dict.fromkeys(others, "SAGA_ORIGINAL_SERVICES names that service")
    report.left_out["timelines"] = "mirrors tell events of a service that is not ours"
    try:
        with Snapshot(name, places.orders_db or places.payments_db) as snapshot:
            audit_alone(name, snapshot, scope, report)
            if places.orders_db:
                _dead_letters(places, snapshot, scope, report)
    except NotRead as error:
        report.unread[error.source] = error.why


def _dead_letters(places: Places, orders: Snapshot, scope: Scope, report: AuditReport) -> None:
    if not places.amqp:
        report.left_out["dead letters"] = "the broker's address is not known"
        return
    from audit import dead_letter_audit

    try:
        asyncio.run(dead_letter_audit.check(orders, lambda: dead_letter_audit.all_of(places.amqp), scope, report))
    except NotRead as error:
        report.unread[error.source] = error.why


def _timelines(
    places: Places, orders: Snapshot, payments: Snapshot, scope: Scope, sample: int | None, report: AuditReport
) -> None:
    if not places.temporal or sample == 0:
        why = "Temporal's address is not known" if not places.temporal else "not asked for"
        report.left_out["timelines"] = why
        return
    from audit.timeline_audit import TimelineAudit

    asked = TimelineAudit(
        orders=orders,
        payments=payments,
        address=places.temporal,
        namespace=places.namespace,
        protection=places.protection,
        scope=scope,
        sample=sample,
        report=report,
    )
    try:
        asyncio.run(asked.run())
    except NotRead as error:
        report.unread[error.source] = error.why
