"""Both services and a reconciler on databases of their own, without any consumer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from temporalio.client import (
    Client,
)
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.book import Submission
from activities.ledger import Ledger
from activities.order_activities import OrderActivities
from activities.orders import ORDERS, Orders
from activities.payment_activities import PaymentActivities
from activities.payments import PAYMENTS, Payments
from activities.providers.simulated import SimulatedProvider
from models.database import Database
from models.ids import uuid7
from models.messages import Envelope
from models.order import Order
from models.payment import Payment, payment_id
from models.saga import (
    Coordinator,
    CreateOrderRequested,
    OrderCancelRequested,
    OrderCreated,
    OrderId,
    PaymentApproved,
    UserId,
)
from tests.support.messages import USER
from tests.support.provider_books import books
from tests.support.world import Servers
from workflows import worker
from workflows.naming import PAYMENT_TASK_QUEUE, SAGA_TASK_QUEUE
from workflows.reconciler import Reconciler
from workflows.sweep import Sweep, SweepReport
from workflows.worker import order_worker, saga_worker

DAY = 86_400.0
BINARIES = Path(sys.executable).parent
SWEEP = Sweep(payment_timeout=900, grace=60, payment_patience=300, compensation_patience=360)


class Nowhere:
    """An outlet that takes everything and publishes nothing."""

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None: ...

    def carries(self, seq: int) -> bool:
        return True


@dataclass
class Stage:
    """Both services on databases of their own, their steps behind Temporal's queues, and a saga worker."""

    client: Client
    order_database: Database
    payment_database: Database
    orders: Ledger[Order]
    payments: Ledger[Payment]
    charging: Payments

    async def sweep(self, sweep: Sweep = SWEEP) -> SweepReport:
        """Run one sweep. Returns its report."""
        return await self.client.execute_workflow(
            Reconciler.run, sweep, id=f"sweep-{uuid4()}", task_queue=SAGA_TASK_QUEUE
        )

    # what may fall through

    async def create(
        self, coordinator: Coordinator = Coordinator.CHOREOGRAPHY, method: str = "pm_card_visa"
    ) -> Submission:
        """Create an order that no other service has heard of. Returns its event."""
        order_id = OrderId(uuid7(datetime.now(UTC)))
        command = CreateOrderRequested(order_id=order_id, user_id=UserId(UUID(USER)), total=999, payment_method=method)
        applied = await self.orders.submit(entry_of(command, uuid4(), coordinator))
        assert applied.event
        created = OrderCreated(order_id=order_id, user_id=command.user_id, total=999, payment_method=method)
        return entry_of(created, applied.event.event_id, coordinator)

    async def begin(self, created: Submission) -> None:
        """Create the payment of the order, and do not charge it."""
        await self.payments.submit(created)

    async def charge(self, created: Submission) -> None:
        """Charge the order, and do not tell the order service."""
        await self.charging.apply(created, last_try=True)

    async def pay(self, created: Submission) -> None:
        await self.charge(created)
        message = PaymentApproved(order_id=created.message.order_id, transaction_id="t")
        await self.orders.submit(entry_of(message, uuid4(), created.coordinator))

    async def cancel(self, created: Submission) -> None:
        """Cancel the order, and do not tell the payment service."""
        message = OrderCancelRequested(order_id=created.message.order_id)
        await self.orders.submit(entry_of(message, uuid4(), created.coordinator))

    async def age(self, seconds: float = DAY, *, only: Submission | None = None) -> None:
        """Make all rows, or those of one order, older."""
        shift, which = f"- make_interval(secs => {seconds})", [id_of(only)] if only else None
        for database, table, key in (
            (self.order_database, "orders", "id"),
            (self.payment_database, "payments", "order_id"),
        ):
            await database.query(
                f"UPDATE {table} SET created_at = created_at {shift}, updated_at = updated_at {shift}"
                f" WHERE %(which)s::uuid[] IS NULL OR {key} = ANY(%(which)s)",
                {"which": which},
            )
            await database.query(
                f"UPDATE event_log SET occurred_at = occurred_at {shift}"
                " WHERE %(which)s::uuid[] IS NULL OR order_id = ANY(%(which)s)",
                {"which": which},
            )

    # what became of it

    async def statuses(self, created: Submission) -> tuple[str | None, str | None]:
        order = await self.order_database.query("SELECT status FROM orders WHERE id = %s", [id_of(created)])
        payment = await self.payment(created)
        return order[0]["status"] if order else None, payment["status"] if payment else None

    async def payment(self, created: Submission) -> dict[str, Any] | None:
        sql = "SELECT status, due, reason FROM payments WHERE order_id = %s"
        rows = await self.payment_database.query(sql, [id_of(created)])
        return rows[0] if rows else None

    async def cancel_reason(self, created: Submission) -> Any:
        rows = await self.order_database.query("SELECT cancel_reason FROM orders WHERE id = %s", [id_of(created)])
        return rows[0]["cancel_reason"]

    async def books(self, created: Submission) -> tuple[int, int]:
        """Captured and refunded money in the provider's books."""
        line = (await books(self.payment_database)).get(payment_id(created.message.order_id))
        return (line.captured, line.refunded) if line else (0, 0)

    async def events(self, created: Submission) -> list[tuple[str, UUID, str]]:
        """The type, cause and coordinator of each event in both event logs."""
        sql = "SELECT event_type, causation_id, coordinator FROM event_log WHERE order_id = %s ORDER BY seq"
        rows = [
            row
            for database in (self.order_database, self.payment_database)
            for row in await database.query(sql, [id_of(created)])
        ]
        return [(row["event_type"], row["causation_id"], row["coordinator"]) for row in rows]

    async def everything(self) -> list[Any]:
        """All rows that a step may change."""
        return [
            await database.query(f"SELECT * FROM {table} ORDER BY 1")
            for database, tables in (
                (self.order_database, ("orders", "event_log", "outbox")),
                (self.payment_database, ("payments", "event_log", "outbox", "provider_charges")),
            )
            for table in tables
        ]


def entry_of(message: Any, event_id: UUID, coordinator: Coordinator) -> Submission:
    return Submission(message=message, event_id=event_id, correlation_id="trace-7", coordinator=coordinator)


def id_of(created: Submission) -> UUID:
    return created.message.order_id


def fresh_databases(servers: Servers, suffix: str) -> tuple[Database, Database]:
    """New databases of both services, named with this suffix. Older ones of that name are dropped."""

    def url(role: str) -> str:
        password = servers.database_passwords[role]
        return f"postgresql://{role}:{password}@127.0.0.1:{servers.postgres_port}/{role}_{suffix}"

    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        for role in ("orders", "payments"):
            admin.execute(f"DROP DATABASE IF EXISTS {role}_{suffix} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {role}_{suffix} OWNER {role} TEMPLATE {role}")
    return Database(url("orders"), name="orders"), Database(url("payments"), name="payments")


@asynccontextmanager
async def playing(servers: Servers, client: Client, *, away: bool = False) -> AsyncIterator[Stage]:
    of_orders, of_payments = fresh_databases(servers, "swept")
    orders, payments = Ledger(of_orders, ORDERS, Nowhere()), Ledger(of_payments, PAYMENTS, Nowhere())
    provider = SimulatedProvider(of_payments, latency=0.05, decline_rate=0, timeout=0.5)
    charging = Payments(payments, provider)
    order_steps = OrderActivities(of_orders, Orders(of_orders, orders)).all
    payment_steps = PaymentActivities(of_payments, charging).all
    workers = [
        saga_worker(client),
        order_worker(client, order_steps, limit=100, grace=0.0),
        Worker(client, task_queue=PAYMENT_TASK_QUEUE, activities=payment_steps),
    ]
    await asyncio.gather(of_orders.open(), of_payments.open())
    running = [asyncio.create_task(each.run()) for each in (orders, payments, provider)]
    working = workers[: 2 if away else 3]
    try:
        for each in working:
            await each.__aenter__()
        yield Stage(client, of_orders, of_payments, orders, payments, charging)
    finally:
        for each in reversed(working):
            await each.__aexit__(None, None, None)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(of_orders.close(), of_payments.close())


On = Callable[[Callable[[Stage], Awaitable[None]]], None]  # plays a test on a stage of its own


def play(servers: Servers, test: Callable[[Stage], Awaitable[None]], *options: str, away: bool = False) -> None:
    """Play a test on a development server; with `away`, nobody takes the payment service's steps."""

    async def run() -> None:
        async with await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(BINARIES / "temporal"), dev_server_extra_args=options
        ) as env:
            await worker.register(env.client)
            async with playing(servers, env.client, away=away) as stage:
                await asyncio.wait_for(test(stage), 120)

    asyncio.run(run())


def found(report: SweepReport) -> dict[str, int]:
    """How many stragglers each part of the sweep found, where it found any."""
    return {part: count for part, count in report.found.items() if count}
