"""Sagas for an audit to read, made by real messages through both ledgers, and databases to spoil."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from activities.book import Submission
from activities.ledger import Ledger
from activities.orders import ORDERS, Orders
from activities.payments import PAYMENTS, Payments
from activities.providers import ProviderUnavailable
from activities.providers.simulated import SimulatedProvider
from audit.run import Places
from choreography.reactions import order_reactions, payment_reactions
from models.database import Database
from models.ids import uuid7
from models.messages import Envelope, parse
from models.saga import Coordinator, CreateOrderRequested, Message, OrderCancelRequested, OrderId, UserId
from tests.support.world import Servers


async def _empty_outbox(database: Database) -> None:
    """Wait for a database that is being started again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(psycopg.OperationalError):
                await database.query("DELETE FROM outbox")
                return
            await asyncio.sleep(0.02)


@dataclass
class Wire:
    """An outlet that keeps the events until somebody delivers them."""

    events: list[Envelope] = field(default_factory=list)

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        self.events += [event for _, event in events]

    def carries(self, seq: int) -> bool:
        return True


class Sagas:
    """Both services on these databases, and the messages between them."""

    def __init__(self, orders: Database, payments: Database, provider: SimulatedProvider) -> None:
        self.wire = Wire()
        order_ledger, payment_ledger = Ledger(orders, ORDERS, self.wire), Ledger(payments, PAYMENTS, self.wire)
        self.running = [asyncio.create_task(each.run()) for each in (order_ledger, payment_ledger, provider)]
        self._databases = (orders, payments)
        self._reactions = (
            order_reactions(Orders(orders, order_ledger)),
            payment_reactions(Payments(payment_ledger, provider)),
        )

    async def tell(self, message: Message, coordinator: Coordinator = Coordinator.CHOREOGRAPHY) -> None:
        """Apply a command. Its events wait to be delivered."""
        await self._hear(Submission(message=message, event_id=uuid4(), correlation_id="c", coordinator=coordinator))

    async def deliver(self, *, published: bool = True) -> None:
        """Deliver all events, and those that follow from them, until none is left."""
        while self.wire.events:
            event = self.wire.events.pop(0)
            with suppress(ProviderUnavailable):  # what is due stays due
                await self._hear(
                    Submission(
                        message=parse(event),
                        event_id=event.event_id,
                        correlation_id=event.correlation_id,
                        coordinator=event.coordinator,
                    )
                )
        if published:
            for database in self._databases:
                await _empty_outbox(database)

    async def create(
        self,
        method: str = "pm_card_visa",
        coordinator: Coordinator = Coordinator.CHOREOGRAPHY,
        currency: str = "USD",
    ) -> OrderId:
        order_id, user_id = OrderId(uuid7(datetime.now(UTC))), UserId(UUID(int=7))
        command = CreateOrderRequested(
            order_id=order_id, user_id=user_id, total=999, currency=currency, payment_method=method
        )
        await self.tell(command, coordinator)
        return order_id

    async def place(
        self,
        method: str = "pm_card_visa",
        coordinator: Coordinator = Coordinator.CHOREOGRAPHY,
        currency: str = "USD",
    ) -> OrderId:
        """Create an order, and deliver everything until it stands still. Returns its id."""
        order_id = await self.create(method, coordinator, currency)
        await self.deliver()
        return order_id

    async def cancel(self, order_id: OrderId) -> None:
        await self.tell(OrderCancelRequested(order_id=order_id))

    async def _hear(self, entry: Submission) -> None:
        message: Any = entry.message
        for reactions in self._reactions:
            if step := reactions.get(type(message)):
                await step(entry, False)


def play(places: Places, act: Callable[[Sagas], Awaitable[Any]]) -> Any:
    """Run an act on both services, which are started before and stopped after it. Returns its result."""

    async def run() -> Any:
        orders, payments = Database(places.orders_db, name="o"), Database(places.payments_db, name="p")
        await asyncio.gather(orders.open(), payments.open())
        sagas = Sagas(orders, payments, SimulatedProvider(payments, latency=0, decline_rate=0, timeout=0.5))
        try:
            return await asyncio.wait_for(act(sagas), 120)
        finally:
            for task in sagas.running:
                task.cancel()
            await asyncio.gather(*sagas.running, return_exceptions=True)
            await asyncio.gather(orders.close(), payments.close())

    return asyncio.run(run())


TABLES = {
    "orders": ("orders", "event_log", "outbox", "order_totals"),
    "payments": ("payments", "event_log", "outbox", "payment_sums", "provider_charges"),
}


@contextmanager
def databases(servers: Servers, name: str) -> Iterator[Places]:
    """Two databases of this name for as long as they are needed."""

    def url(role: str) -> str:
        password = servers.database_passwords[role]
        return f"postgresql://{role}:{password}@127.0.0.1:{servers.postgres_port}/{role}_{name}"

    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        for role in TABLES:
            admin.execute(f"DROP DATABASE IF EXISTS {role}_{name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {role}_{name} OWNER {role} TEMPLATE {role}")
        try:
            yield Places(orders_db=url("orders"), payments_db=url("payments"))
        finally:
            for role in TABLES:
                admin.execute(f"DROP DATABASE {role}_{name} WITH (FORCE)")


class Kept:
    """A copy of all rows of both databases, to undo whatever a test does to them."""

    def __init__(self, places: Places) -> None:
        self._urls = {"orders": places.orders_db, "payments": places.payments_db}
        self._rows: dict[tuple[str, str], bytes] = {}
        for role, tables in TABLES.items():
            with psycopg.connect(self._urls[role]) as connection:
                for table in tables:
                    with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                        self._rows[role, table] = b"".join(map(bytes, copy))

    def put_back(self) -> None:
        for role, tables in TABLES.items():
            with psycopg.connect(self._urls[role]) as connection:
                connection.execute(f"TRUNCATE {', '.join(tables)}")
                for table in tables:
                    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                        copy.write(self._rows[role, table])


def execute(url: str, sql: str, *parameters: Any) -> int:
    """Change rows without the services. Returns the number of rows."""
    with psycopg.connect(url) as connection:
        return connection.execute(sql, parameters).rowcount


async def every_kind(sagas: Sagas) -> dict[str, OrderId]:
    ids = {
        "paid": await sagas.place(),
        "also paid": await sagas.place(coordinator=Coordinator.ORCHESTRATION),
        "declined": await sagas.place("pm_card_chargeDeclined"),
        "failed": await sagas.place("pm_error"),
        "refunded": await sagas.place(),
        "cancelled": await sagas.place("pm_unavailable"),
    }
    await sagas.cancel(ids["refunded"])
    await sagas.cancel(ids["cancelled"])
    await sagas.deliver()
    ids["overtaken"] = await sagas.create()
    await sagas.cancel(ids["overtaken"])
    sagas.wire.events.reverse()  # order.cancelled arrives first: a tombstone
    await sagas.deliver()
    return ids
