"""The databases of one test: what they hold of its orders, and whether everything is as it must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from audit.database_audit import Scope
from audit.findings import AuditReport
from audit.run import Places, audit
from tests.support.waiting import PATIENCE, until


class DatabasesOfTest(ABC):
    """Reads the databases `orders` and `payments` of one test."""

    @abstractmethod
    def dsn(self, role: str) -> str:
        """The address of a role's database."""

    @abstractmethod
    def waiting(self) -> int:
        """The number of messages that the services have still to handle."""

    def rows(self, role: str, sql: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn(role), row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(sql, params).fetchall()

    def order(self, order_id: str) -> dict[str, Any]:
        """The order's row. Fails while there is none."""
        order = self.find_order(order_id)
        assert order is not None, f"order {order_id} is not stored"
        return order

    def find_order(self, order_id: str) -> dict[str, Any] | None:
        rows = self.rows("orders", "SELECT * FROM orders WHERE id = %s", order_id)
        return rows[0] if rows else None

    def payment(self, order_id: str) -> dict[str, Any]:
        """The row of the order's payment. Fails while there is none."""
        payment = self.find_payment(order_id)
        assert payment is not None, f"no payment of order {order_id} is stored"
        return payment

    def find_payment(self, order_id: str) -> dict[str, Any] | None:
        rows = self.rows("payments", "SELECT * FROM payments WHERE order_id = %s", order_id)
        return rows[0] if rows else None

    def books(self, order_id: str) -> tuple[int, int]:
        """Captured and refunded money in the provider's own books."""
        payment = self.find_payment(order_id)
        rows = payment and self.rows("payments", "SELECT * FROM provider_charges WHERE payment_id = %s", payment["id"])
        return (rows[0]["captured"], rows[0]["refunded"]) if rows else (0, 0)

    def events(self, role: str, order_id: str) -> list[str]:
        rows = self.rows(role, "SELECT event_type FROM event_log WHERE order_id = %s ORDER BY seq", order_id)
        return [row["event_type"] for row in rows]

    def wait_status(self, order_id: str, order: str, payment: str | None = None, within: float = PATIENCE) -> None:
        """Wait until the order, and its payment, have these statuses."""

        def reached() -> bool:
            found, paid = self.find_order(order_id), self.find_payment(order_id)
            statuses = (found and found["status"], paid and paid["status"])
            assert statuses == (order, payment or statuses[1]), statuses
            return True

        until(reached, within=within, what=f"{order_id} is {order}, {payment}")

    def wait_payment(self, order_id: str, status: str) -> None:
        """Wait until the order's payment has this status, whatever its order has."""

        def reached() -> bool:
            payment = self.find_payment(order_id)
            return payment is not None and payment["status"] == status

        until(reached, what=f"the payment of {order_id} is {status}")

    def wait_at_rest(self, order_ids: Iterable[str] = (), within: float = 2 * PATIENCE) -> None:
        """Wait until nothing is under way any more, then prove the invariants of every order."""

        def at_rest() -> bool:
            pending = self.rows("orders", "SELECT count(*) n FROM orders WHERE status = 'PENDING_PAYMENT'")[0]["n"]
            known = {str(row["id"]) for row in self.rows("orders", "SELECT id FROM orders")}
            due = self.rows(
                "payments", "SELECT count(*) n FROM payments WHERE due IS NOT NULL OR status = 'PROCESSING'"
            )[0]["n"]
            outbox = sum(self.rows(r, "SELECT count(*) n FROM outbox")[0]["n"] for r in ("orders", "payments"))
            state = {"pending": pending, "due": due, "outbox": outbox, "unknown": len(set(order_ids) - known)}
            assert not any(state.values()), state
            assert self.waiting() == 0
            # The broker's counts lag a little, so a finding may pass. A real one stays.
            self.prove_invariants()
            return True

        until(at_rest, within=within, what="everything is at rest, and as it must be")

    def prove_invariants(self) -> None:
        """Prove section 5 of docs/specification.md from the databases alone, as `saga audit --at-rest` does."""
        report = self.audited()
        found = [finding for tally in report.tallies.values() for finding in tally.examples]
        assert report.exit_code == 0, (found, report.unread)

    def audited(self) -> AuditReport:
        """What `saga audit --at-rest` finds in the databases alone."""
        places = Places(orders_db=self.dsn("orders"), payments_db=self.dsn("payments"))
        return audit(places, Scope(at_rest=True, pause=0.0))
