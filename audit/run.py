"""Audit a system: first its databases, then what the broker and Temporal hold of the same sagas."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit.database_audit import DatabaseAudit, Scope
from audit.findings import AuditReport
from audit.snapshot import NotRead, Snapshot

if TYPE_CHECKING:
    from workflows.temporal_client import Protection

SAMPLE: Final = 200  # sagas whose timelines are read unless all are asked for


@dataclass(frozen=True, kw_only=True)
class Places:
    """The addresses of a system's stores, with passwords. A store with an empty address is left out."""

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
    with ExitStack() as stack:
        try:
            orders = stack.enter_context(Snapshot("orders", places.orders_db))
            payments = stack.enter_context(Snapshot("payments", places.payments_db))
            DatabaseAudit(orders=orders, payments=payments, scope=scope, report=report).run()
        except NotRead as error:
            # The findings so far are still true. The other checks need both databases.
            report.unread[error.source] = error.why
            report.left_out |= dict.fromkeys(("dead dead_letter_audit", "timelines"), "a database could not be read")
            return report
        _dead_letters(places, orders, scope, report)
        _timelines(places, orders, payments, scope, sample, report)
    return report


def _dead_letters(places: Places, orders: Snapshot, scope: Scope, report: AuditReport) -> None:
    if not places.amqp:
        report.left_out["dead dead_letter_audit"] = "the broker's address is not known"
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
