"""Duplicates do no harm after everything that remembers them was purged (docs/failures.md, row 30)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.messages import USER, cancel, create, order_event, payment_event
from tests.support.operating import redrive
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long


def test_30_old_messages_redriven_after_all_that_remembers_them_was_purged_change_nothing(world: World) -> None:
    world.start("order", "payment", "gateway")
    paid = world.post(headers={"Idempotency-Key": "kept for a while"})
    refunded, declined, failed = world.post(), world.post("pm_card_chargeDeclined"), world.post("pm_error")
    world.wait_status(refunded, "PAID", "APPROVED")
    world.publish(cancel(refunded))
    world.wait_status(refunded, "CANCELLED", "REFUNDED")
    world.wait_status(paid, "PAID", "APPROVED")
    ids = [paid, refunded, declined, failed]
    world.wait_at_rest(ids)
    dead = [message for order_id in ids for message in old_messages(world, order_id)]
    bury(world, dead)
    until(lambda: len(world.dead_letters()) == len(dead), what="they are dead letters")

    for role, tables in {"orders": "idempotency_keys, outbox, event_log", "payments": "outbox, event_log"}.items():
        with psycopg.connect(world.dsn(role), autocommit=True) as connection:
            connection.execute(f"TRUNCATE {tables}")
    world.kill("order", "payment")  # and nothing is remembered in memory
    world.start("order", "payment")

    def ignored() -> int:
        return sum(world.log(name).count("message_ignored") for name in ("order", "payment"))

    before, ignored_before = all_rows(world), ignored()
    assert redrive(world).wait(timeout=60) == 0
    until(lambda: ignored() - ignored_before >= len(dead) and world.waiting() == 0, what="all are handled")
    until(lambda: world.dead_letters() == [], what="none has come back")
    assert all_rows(world) == before
    assert before["event_log"] == before["outbox"] == []
    assert [world.books(order_id) for order_id in ids] == [(999, 0), (999, 999), (0, 0), (0, 0)]


def old_messages(world: World, order_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Copies of all messages that brought an order to its status, each with its queue."""
    order, payment = world.order(order_id), world.payment(order_id)
    found = [
        ("order-service", create(order_id, order["payment_method"])),
        ("payment-service", order_event("OrderCreated", order_id, **created(order))),
    ]
    told = {
        "OrderCancelled": ("payment-service", {"reason": order["cancel_reason"]}),
        "PaymentApproved": ("order-service", {"transactionId": payment["transaction_id"]}),
        "PaymentDeclined": ("order-service", {"reason": payment["reason"]}),
        "PaymentFailed": ("order-service", {"error": payment["reason"]}),
    }
    for event_type in (*world.events("orders", order_id), *world.events("payments", order_id)):
        if event_type in told:
            queue, payload = told[event_type]
            make = order_event if event_type.startswith("Order") else payment_event
            found.append((queue, make(event_type, order_id, **payload)))
    if order["cancel_reason"] == "USER_REQUESTED":
        found.append(("order-service", cancel(order_id)))
    return [(queue, message) for queue, (_, _, message) in found]


def created(order: dict[str, Any]) -> dict[str, Any]:
    return {"userId": USER, "total": order["total"], "paymentMethod": order["payment_method"]}


def bury(world: World, messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Put messages among a service's dead letters."""
    world.publish(*(("dlx.exchange", queue, message) for queue, message in messages))


def all_rows(world: World) -> dict[str, list[dict[str, Any]]]:
    tables = {
        "orders": ("orders", "order_totals"),
        "payments": ("payments", "payment_sums", "provider_charges", "event_log", "outbox"),
    }
    return {
        table: world.rows(role, f"SELECT * FROM {table} ORDER BY 1, 2")
        for role, tables_of in tables.items()
        for table in tables_of
    }
