"""Find the payments that may have been forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from activities.stragglers import Place, Search, parameters, place_of, search_of
from models.conditions import PAYMENT_DUE, PAYMENT_WITHOUT_MONEY
from models.database import Database
from models.lifecycle import Due, PaymentStatus, uncompensated

DUE: Final = search_of("payments", PAYMENT_DUE, at="updated_at", order_id="order_id")
ENDED: Final = search_of("payments", PAYMENT_WITHOUT_MONEY, at="updated_at", order_id="order_id")
OF_ORDERS: Final = "SELECT order_id, status, due FROM payments WHERE order_id = ANY(%s)"


class PaymentStragglers:
    """Read-only searches of the payment service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, search: Search) -> list[Place]:
        """Payments for which something is due at the provider, by the time of their last change."""
        return [place_of(row) for row in await self._database.query(DUE, parameters(search))]

    async def ended(self, search: Search) -> list[Place]:
        """Payments that ended without money, by the time at which they did."""
        return [place_of(row) for row in await self._database.query(ENDED, parameters(search))]

    async def uncompensated(self, cancelled: list[str]) -> list[str]:
        """Those of these cancelled or failed orders whose payment is not compensated, in the order given."""
        rows = await self._database.query(OF_ORDERS, [[UUID(order_id) for order_id in cancelled]])
        payments = {str(row["order_id"]): row for row in rows}
        return [order_id for order_id in cancelled if _uncompensated(payments.get(order_id))]


def _uncompensated(payment: Mapping[str, Any] | None) -> bool:
    if payment is None:
        return uncompensated(None, None)
    return uncompensated(PaymentStatus(payment["status"]), Due(payment["due"]) if payment["due"] else None)
