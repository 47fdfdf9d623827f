"""Audit one service's database by itself, as that service can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.checks import CHECKS
from audit.database_audit import Scope, query_database
from audit.findings import AuditReport, Query
from audit.snapshot import Snapshot
from models.migrations import DatabaseName


def audit_own_database(service: DatabaseName, url: str, scope: Scope | None = None) -> Mapping[str, Any]:
    """Each check that this database is enough for, with its violations. Reads and changes nothing. Raises NotRead."""
    report = AuditReport()
    with Snapshot(service, url) as snapshot:
        snapshot.take()
        query_database(service, snapshot, scope or Scope(), report)
        waiting = snapshot.number("SELECT count(*) FROM outbox")
        snapshot.leave()
    checks = []
    for check in CHECKS:
        if isinstance(check.find, Query) and check.find.service == service:
            tally = report.tallies.get(check.name)
            checks.append(
                {
                    "check": check.name,
                    "invariant": check.invariant,
                    "violations": tally.violations if tally else 0,
                    "examples": [{"id": each.id, "detail": each.detail} for each in tally.examples] if tally else [],
                }
            )
    return {"checks": checks, "waiting": waiting}
