"""Find the orders that may have been forgotten."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from activities.stragglers import Place, Search, parameters, place_of, search_of
from models.conditions import ORDER_NOT_OFF, ORDER_OFF, ORDER_ORCHESTRATED, ORDER_WAITS
from models.database import Database

OVERDUE: Final = search_of("orders", ORDER_WAITS, at="created_at", order_id="id")
LATE: Final = search_of("orders", f"{ORDER_WAITS} AND NOT {ORDER_ORCHESTRATED}", at="created_at", order_id="id")
OFF: Final = search_of("orders", ORDER_OFF, at="updated_at", order_id="id")
NOT_OFF: Final = f"SELECT id FROM orders WHERE id = ANY(%s) AND {ORDER_NOT_OFF}"


class OrderStragglers:
    """Read-only searches of the order service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def overdue(self, search: Search) -> list[Place]:
        """Orders that still wait for their payment, by the time of their creation."""
        return [place_of(row) for row in await self._database.query(OVERDUE, parameters(search))]

    async def late(self, search: Search) -> list[Place]:
        """As `overdue`, of choreographed orders."""
        return [place_of(row) for row in await self._database.query(LATE, parameters(search))]

    async def off(self, search: Search) -> list[Place]:
        """Orders that are CANCELLED or FAILED, by the time at which they became so."""
        return [place_of(row) for row in await self._database.query(OFF, parameters(search))]

    async def not_off(self, order_ids: list[str]) -> list[str]:
        """Those of these orders that are known and neither CANCELLED nor FAILED, in the order given."""
        rows = await self._database.query(NOT_OFF, [[UUID(order_id) for order_id in order_ids]])
        found = {str(row["id"]) for row in rows}
        return [order_id for order_id in order_ids if order_id in found]
