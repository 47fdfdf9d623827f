"""The databases of the original services, as their README and what was seen of them tell: tables made by Prisma."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from tests.support.messages import USER
from tests.support.world import World

_TABLES: Final = {
    "orders": """
        CREATE TYPE "OrderStatus" AS ENUM ('PENDING_PAYMENT', 'PAID', 'CANCELLED', 'FAILED');
        CREATE TABLE "Order" ("id" text PRIMARY KEY, "userId" text NOT NULL, "total" integer NOT NULL,
            "status" "OrderStatus" NOT NULL DEFAULT 'PENDING_PAYMENT',
            "createdAt" timestamp(3) NOT NULL DEFAULT current_timestamp, "updatedAt" timestamp(3) NOT NULL);
        CREATE TABLE "_prisma_migrations" ("id" text PRIMARY KEY, "checksum" text NOT NULL);""",
    "payments": """
        CREATE TYPE "PaymentStatus" AS ENUM
            ('PROCESSING', 'APPROVED', 'DECLINED', 'FAILED', 'REFUNDED', 'CANCELLED');
        CREATE TABLE "Payment" ("id" text PRIMARY KEY, "orderId" text NOT NULL UNIQUE, "amount" integer NOT NULL,
            "status" "PaymentStatus" NOT NULL DEFAULT 'PROCESSING',
            "createdAt" timestamp(3) NOT NULL DEFAULT current_timestamp, "updatedAt" timestamp(3) NOT NULL);
        CREATE TABLE "_prisma_migrations" ("id" text PRIMARY KEY, "checksum" text NOT NULL);""",
}


class OriginalDatabases:
    """Both databases of the original services beside a world's own."""

    def __init__(self, world: World) -> None:
        self._world = world

    def dsn(self, kind: str) -> str:
        return self._world.dsn(kind).replace(f"/{kind}_", f"/original_{kind}_")

    @property
    def environ(self) -> dict[str, str]:
        """Where `saga migrate` finds them."""
        return {f"SAGA_ORIGINAL_{kind.upper()}_DATABASE_URL": self.dsn(kind) for kind in ("orders", "payments")}

    def fill(self, ends: Sequence[tuple[str, str]]) -> list[str]:
        """Add an order and a payment of each of these statuses, the first of 1000; the orders' ids."""
        order_ids = []
        for n, (order, payment) in enumerate(ends):
            order_ids.append(self.add_order(order, total=1000 + n))
            self.add_payment(order_ids[-1], payment, amount=1000 + n)
        return order_ids

    def execute(self, kind: str, statement: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn(kind), row_factory=dict_row, connect_timeout=5) as connection:
            cursor = connection.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def add_order(self, status: str, *, total: int = 999, order_id: str | None = None) -> str:
        order_id = order_id or str(uuid4())
        columns = '("id", "userId", "total", "status", "updatedAt")'
        values = (order_id, USER, total, status)
        self.execute("orders", f'INSERT INTO "Order" {columns} VALUES (%s, %s, %s, %s, now())', *values)
        return order_id

    def add_payment(self, order_id: str, status: str, *, amount: int = 999) -> str:
        payment_id = str(uuid4())
        columns = '("id", "orderId", "amount", "status", "updatedAt")'
        values = (payment_id, order_id, amount, status)
        self.execute("payments", f'INSERT INTO "Payment" {columns} VALUES (%s, %s, %s, %s, now())', *values)
        return payment_id

    def statuses(self, kind: str) -> dict[str, str]:
        """By the order's id."""
        key, table = ("id", "Order") if kind == "orders" else ("orderId", "Payment")
        return {row[key]: row["status"] for row in self.execute(kind, f'SELECT * FROM "{table}"')}


@contextmanager
def original_databases(world: World, kinds: Sequence[str] = ("orders", "payments")) -> Iterator[OriginalDatabases]:
    """Fresh ones, with their tables; dropped in the end."""
    with psycopg.connect(world.servers.admin_dsn, autocommit=True) as admin:
        for kind in kinds:
            admin.execute(f"CREATE DATABASE original_{kind}_{world.name} OWNER {kind}")
        found = OriginalDatabases(world)
        for kind in kinds:
            found.execute(kind, _TABLES[kind])
        try:
            yield found
        finally:
            for kind in kinds:
                admin.execute(f"DROP DATABASE original_{kind}_{world.name} WITH (FORCE)")
