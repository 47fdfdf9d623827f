"""Sagas whose events were removed still work for steps, workflows, the reconciler, the gateway and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest
from typer.testing import CliRunner

from activities.book import Book, Submission
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from activities.retention import Retention
from api.gateway.orchestration import Orchestration
from audit.checks import TIMELINES_EQUAL
from audit.database_audit import Scope
from audit.run import Places, audit
from cli.app import app
from models.database import Database
from models.ids import uuid7
from models.saga import Coordinator, CreateOrderRequested, OrderId, UserId, derived_id
from tests.support.audited import execute
from tests.support.messages import USER
from tests.support.steps import Services, answer_to, cancel_step, create_step, services
from tests.support.sweeping import SWEEP, Stage, found, id_of, play
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World
from workflows.naming import workflow_id
from workflows.sweep import Part

BOOKS: dict[str, Book[Any]] = {"orders": ORDERS, "payments": PAYMENTS}


async def remove(database: Database, role: str) -> None:
    """Remove everything that was published long ago, as a sweep does."""
    await database.query("DELETE FROM outbox")
    assert (await Retention(database, BOOKS[role], events=0.0).sweep()).events > 0


# Steps


@pytest.fixture
def on(servers: Servers) -> Callable[[Callable[[Services, Database], Awaitable[None]]], None]:
    def play_steps(test: Callable[[Services, Database], Awaitable[None]]) -> None:
        async def run() -> None:
            async with services(servers) as each:
                password = servers.database_passwords["payments"]
                url = f"postgresql://payments:{password}@127.0.0.1:{servers.postgres_port}/payments_steps"
                of_payments = Database(url, name="payments")
                await of_payments.open()
                try:
                    await asyncio.wait_for(test(each, of_payments), 120)
                finally:
                    await of_payments.close()

        asyncio.run(run())

    return play_steps


On = Callable[[Callable[[Services, Database], Awaitable[None]]], None]


def beyond_tracing(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An answer without what no row tells: the correlation id, and the reason for which an order failed."""
    kept = []
    for event in events:
        rest = {name: value for name, value in event.items() if name != "correlationId"}
        if event["eventType"] == "OrderFailed":
            rest["payload"] = {"orderId": event["payload"]["orderId"]}
        kept.append(rest)
    return kept


@pytest.mark.parametrize(
    ("payment_method", "settle"),
    [("pm_card_visa", "pay_order"), ("pm_card_chargeDeclined", "decline_order"), ("pm_error", "fail_order")],
)
def test_a_step_repeated_after_the_removal_answers_as_it_did_before(on: On, payment_method: str, settle: str) -> None:
    async def act(on_steps: Services, of_payments: Database) -> None:
        create, orders, payments = create_step(payment_method), on_steps.orders, on_steps.payments
        created = await on_steps.run(orders.create_order, create)
        charged = await on_steps.run(payments.charge_payment, answer_to(created))
        settled = await on_steps.run(getattr(orders, settle), answer_to(charged))
        await remove(on_steps.order_database, "orders")
        await remove(of_payments, "payments")
        again = [
            await on_steps.run(orders.create_order, create),
            await on_steps.run(payments.charge_payment, answer_to(created)),
            await on_steps.run(getattr(orders, settle), answer_to(charged)),
        ]
        assert [each.decision for each in again] == ["stale"] * 3
        assert [each.status for each in again] == [settled.status, charged.status, settled.status]
        before = [beyond_tracing(each.events) for each in (created, charged, settled)]
        assert [beyond_tracing(each.events) for each in again] == before
        order_id = create.payload["orderId"]
        assert beyond_tracing(await orders.read_order_events(order_id)) == before[0] + before[2]
        assert beyond_tracing(await payments.read_payment_events(order_id)) == before[1]
        assert await on_steps.order_database.query("SELECT FROM event_log") == []

    on(act)


def test_compensations_repeated_after_the_removal_answer_as_they_did_before(on: On) -> None:
    async def act(on_steps: Services, of_payments: Database) -> None:
        charge = await on_steps.create()
        approved = await on_steps.run(on_steps.payments.charge_payment, charge)
        await on_steps.run(on_steps.orders.pay_order, answer_to(approved))
        cancel = cancel_step(charge.payload["orderId"])
        cancelled = await on_steps.run(on_steps.orders.cancel_order, cancel)
        refunded = await on_steps.run(on_steps.payments.cancel_payment, answer_to(cancelled))
        await remove(on_steps.order_database, "orders")
        await remove(of_payments, "payments")
        again = await on_steps.run(on_steps.orders.cancel_order, cancel)
        assert beyond_tracing(again.events) == beyond_tracing(cancelled.events)
        again = await on_steps.run(on_steps.payments.cancel_payment, answer_to(cancelled))
        assert beyond_tracing(again.events) == beyond_tracing(refunded.events)

    on(act)


def test_events_missing_without_a_removal_are_not_made_up(on: On) -> None:
    async def act(on_steps: Services, _: Database) -> None:
        charge = await on_steps.create()
        await on_steps.order_database.query("DELETE FROM event_log")
        assert await on_steps.orders.read_order_events(charge.payload["orderId"]) == []

    on(act)


# Workflows


def test_an_orchestrated_order_cancelled_after_the_removal_is_refunded(servers: Servers) -> None:
    async def test(stage: Stage) -> None:
        orchestration = Orchestration(stage.client, payment_timeout=900, retry_delays=(0.1,))
        order_id = OrderId(uuid7(datetime.now(UTC)))
        command = CreateOrderRequested(order_id=order_id, user_id=UserId(UUID(USER)), total=999)
        event_id = derived_id(order_id, "CreateOrderRequested")
        await orchestration.start(command, event_id=event_id, correlation_id="c")
        assert await stage.client.get_workflow_handle(workflow_id(order_id)).result() == "PAID"
        await remove(stage.order_database, "orders")
        await remove(stage.payment_database, "payments")

        await orchestration.cancel(order_id, correlation_id="c")
        assert await stage.client.get_workflow_handle(workflow_id(order_id)).result() == "CANCELLED"
        of_order = Submission(
            message=command, event_id=event_id, correlation_id="c", coordinator=Coordinator.ORCHESTRATION
        )
        assert await stage.statuses(of_order) == ("CANCELLED", "REFUNDED")
        assert await stage.books(of_order) == (999, 999)
        assert [event[0] for event in await stage.events(of_order)] == ["OrderCancelled", "PaymentRefunded"]

    play(servers, test)


@pytest.mark.parametrize("removed", [("orders",), ("payments",), ("orders", "payments")])
def test_the_reconciler_refunds_a_cancelled_order_whose_events_are_gone(
    servers: Servers, removed: tuple[str, ...]
) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.pay(created)
        await stage.cancel(created)
        await stage.age()
        for role in removed:
            await remove(stage.order_database if role == "orders" else stage.payment_database, role)
        report = await stage.sweep()
        assert await stage.statuses(created) == ("CANCELLED", "REFUNDED")
        assert await stage.books(created) == (999, 999)
        assert (found(report), report.left, report.troubles) == ({Part.CANCELLED.value: 1}, 0, [])
        assert found(await stage.sweep(SWEEP)) == {}

    play(servers, test)


def test_the_reconciler_pays_an_order_whose_payments_events_are_gone(servers: Servers) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.charge(created)
        await stage.age()
        await remove(stage.payment_database, "payments")
        report = await stage.sweep()
        assert await stage.statuses(created) == ("PAID", "APPROVED")
        assert (report.left, [each.order_id for each in report.stragglers]) == (0, [str(id_of(created))])

    play(servers, test)


# The whole system


@dataclass
class Kept:
    """A system that removes events older than an hour, four times a second."""

    world: World
    temporal: TemporalServer
    places: Places

    def place(self, coordinator: str, **headers: str) -> str:
        body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa", "coordinator": coordinator}
        answer = self.world.request("POST", "/orders", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])

    def outlive(self, order_id: str) -> None:
        """Make this order older than the retention, and wait until its events are gone."""
        for role, book in BOOKS.items():
            url, older = self.world.dsn(role), "- interval '2 hours'"
            aged = f"created_at = created_at {older}, updated_at = updated_at {older}"
            execute(url, f"UPDATE event_log SET occurred_at = occurred_at {older} WHERE order_id = %s", order_id)
            execute(url, f"UPDATE {role} SET {aged} WHERE {book.key} = %s", order_id)
        until(lambda: not self.logged(order_id), what="its events are removed")

    def remove(self) -> None:
        """Remove at once what a sweep would remove an hour later."""

        async def sweep(role: str) -> None:
            database = Database(self.world.dsn(role), name="retention")
            await database.open()
            try:
                await Retention(database, BOOKS[role], events=0.0).sweep()
            finally:
                await database.close()

        for role in BOOKS:
            # An event that may not be published yet is not removed.
            until(lambda: not self.world.rows(role, "SELECT FROM outbox"), what=f"the outbox of the {role} is empty")  # noqa: B023
            asyncio.run(sweep(role))

    def logged(self, order_id: str) -> list[str]:
        return [event for role in BOOKS for event in self.world.events(role, order_id)]

    def timeline(self, order_id: str) -> Any:
        return self.world.request("GET", f"/orders/{order_id}/timeline")

    def proves_right(self) -> bool:
        report = audit(self.places, Scope(grace=0.0, pause=0.2), sample=None)
        return (report.tallies, report.unread, report.seen["timelines"] > 0) == ({}, {}, True)


@pytest.fixture(scope="module")
def kept(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder: Path = tmp_path_factory.mktemp("kept")
    temporal, world = TemporalServer(folder / "temporal"), World(servers, folder)
    try:
        temporal.start()
        world.env |= {
            "SAGA_TEMPORAL_ADDRESS": temporal.address,
            "SAGA_COMPENSATION_TIMEOUT": "1",
            "SAGA_EVENT_LOG_RETENTION": "3600",
            "SAGA_IDEMPOTENCY_RETENTION": "3600",
            "SAGA_RETENTION_INTERVAL": "0.25",
        }
        world.start("order", "payment", "gateway", "worker")
        places = Places(
            orders_db=world.dsn("orders"),
            payments_db=world.dsn("payments"),
            amqp=world.amqp_url,
            temporal=temporal.address,
        )
        yield Kept(world, temporal, places)
    finally:
        world.close()
        temporal.kill()


CLOSED = "WorkflowType != 'Reconciler' AND ExecutionStatus = 'Completed'"


def test_a_saga_is_told_and_cancelled_after_its_events_are_gone(kept: Kept) -> None:
    sagas = {name: kept.place(name) for name in ("choreography", "orchestration")}
    kept.world.wait_at_rest(sagas.values())
    until(lambda: kept.temporal.count(CLOSED) == 2, what="the workflows have closed")
    kept.remove()
    for order_id in sagas.values():
        assert kept.world.request("GET", f"/orders/{order_id}").json()["status"] == "PAID"
        told = kept.timeline(order_id).json()
        assert told["source"] == "workflow"
        assert types_of(told) == ["OrderCreated", "PaymentApproved", "OrderPaid"]
    assert kept.proves_right()

    for order_id in sagas.values():
        assert kept.world.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
        kept.world.wait_status(order_id, "CANCELLED", "REFUNDED")
        assert kept.world.books(order_id) == (999, 999)
        assert kept.logged(order_id) == ["OrderCancelled", "PaymentRefunded"]
    until(lambda: kept.temporal.count(CLOSED) == 4, what="their successors have closed")
    assert [types_of(kept.timeline(order_id).json())[-2:] for order_id in sagas.values()] == [
        ["OrderCancelled", "PaymentRefunded"]
    ] * 2
    assert kept.proves_right()

    execute(kept.places.orders_db, "DELETE FROM event_log WHERE order_id = %s", sagas["choreography"])
    report = audit(kept.places, Scope(grace=0.0, pause=0.2), sample=None)
    assert [each.id for each in report.tallies[TIMELINES_EQUAL].examples] == [sagas["choreography"]]


def types_of(timeline: Any) -> list[str]:
    return [entry["eventType"] for entry in timeline["entries"]]


def test_an_idempotency_key_stands_for_its_order_until_it_is_removed(kept: Kept) -> None:
    key = {"Idempotency-Key": "7f3c"}
    first = kept.place("choreography", **key)
    assert kept.place("choreography", **key) == first
    execute(kept.places.orders_db, "UPDATE idempotency_keys SET created_at = created_at - interval '2 hours'")
    until(lambda: kept.world.rows("orders", "SELECT FROM idempotency_keys") == [], what="the key is removed")
    assert kept.place("choreography", **key) != first


def test_without_its_workflow_an_order_whose_events_are_gone_says_so(kept: Kept) -> None:
    order_id = kept.place("choreography")
    kept.world.wait_status(order_id, "PAID", "APPROVED")
    kept.outlive(order_id)
    until(lambda: kept.timeline(order_id).status_code == 200, what="its workflow tells")
    kept.temporal.kill()
    answer = kept.timeline(order_id)
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        f"The events of order {order_id} are kept no longer; the order itself is at /api/orders/{order_id}"
    )
    assert kept.world.request("GET", f"/orders/{order_id}/stream").json() == {
        **answer.json(),
        "instance": f"/api/orders/{order_id}/stream",
        "correlationId": ANY,
    }
    assert kept.world.request("GET", f"/orders/{order_id}").json()["status"] == "PAID"

    environ = {
        "SAGA_ORDER_SERVICE_URL": f"http://127.0.0.1:{kept.world.ports['order']}",
        "SAGA_PAYMENT_SERVICE_URL": f"http://127.0.0.1:{kept.world.ports['payment']}",
        "SAGA_INTERNAL_TOKEN": "internal",
    }
    for command in ("list", "replay"):
        result = CliRunner().invoke(app, ["events", command, "--order", order_id], env=environ)
        assert result.exit_code == 0, result.output
        assert "its events may be kept no longer" in result.stdout
