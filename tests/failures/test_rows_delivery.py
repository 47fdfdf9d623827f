"""Several relays publish in order, and a redrive applies each message once (docs/failures.md, rows 11 and 15)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import pytest
from aio_pika.abc import AbstractChannel

from models.saga import derived_id
from tests.support.listener import all_that_was_heard, hear_everything
from tests.support.messages import METHODS, cancel, create, payment_event
from tests.support.operating import redrive
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long


# 11


def test_11_three_instances_of_every_service_publish_each_orders_events_in_order(world: World) -> None:
    """All six instances relay, and one after the other dies with events that are committed and not published."""
    hear_everything(world)
    orders, payments = [[f"{name}{n}" for n in ("", 2, 3)] for name in ("order", "payment")]
    world.env["SAGA_RELAY_GRACE"] = "0.05"  # relays and fast paths are after the same events
    world.start(orders[0], payments[0], crash_at="ledger.committed:6")
    world.start(orders[1], payments[1], crash_at="publisher.confirmed:6")
    world.start(orders[2], payments[2], batch_limit=5)
    ids = [str(uuid4()) for _ in range(150)]
    for some in range(0, len(ids), 15):
        batch = ids[some : some + 15]
        world.publish(*(create(order_id, METHODS[n % 4]) for n, order_id in enumerate(batch)))
        world.publish(*map(cancel, batch[::3]))
    for name in (*orders[:2], *payments[:2]):
        world.wait_dead(name)
        world.start(name)
    heard: list[dict[str, Any]] = []

    def at_rest() -> bool:
        heard.extend(all_that_was_heard(world))  # copies wait in a queue, and at rest none may
        world.wait_at_rest(ids, within=10)
        return True

    until(at_rest, within=240, what="all is at rest")
    for role, prefix in (("orders", "Order"), ("payments", "Payment")):
        published = first_hearings(heard, prefix)
        logged = world.rows(role, "SELECT order_id, event_id FROM event_log ORDER BY order_id, seq")
        assert published == {
            str(order_id): [str(row["event_id"]) for row in rows]
            for order_id, rows in groupby(logged, lambda row: row["order_id"])
        }


def first_hearings(heard: Sequence[dict[str, Any]], prefix: str) -> dict[str, list[str]]:
    """The ids of one service's events for each order, in the order in which they were first heard."""
    found: dict[str, list[str]] = {}
    for event in heard:
        known = found.setdefault(event["payload"]["orderId"], []) if event["eventType"].startswith(prefix) else None
        if known is not None and event["eventId"] not in known:
            known.append(event["eventId"])
    return found


# 15


def test_15_a_redrive_interrupted_by_kill_9_and_repeated_twice_at_once_applies_each_once(world: World) -> None:
    world.env["SAGA_RETRY_DELAYS"] = "0.05"
    world.start("order")
    ids = [str(uuid4()) for _ in range(300)]
    creations = {order_id: str(uuid4()) for order_id in ids}
    world.publish(*(early_approval(order_id, creation) for order_id, creation in creations.items()))
    until(lambda: letters(world) == len(ids), what="all approvals of unknown orders are dead letters")
    world.publish(*(create(order_id, event_id=creation) for order_id, creation in creations.items()))
    until(lambda: count(world, "PENDING_PAYMENT") == len(ids), what="now the orders are known")

    first = redrive(world)
    until(lambda: count(world, "PAID") > 0, what="some are redriven")
    first.kill()
    assert first.wait() == -9
    left = letters(world)
    assert 0 < left < len(ids), "it was to be interrupted in the middle"

    for each in [redrive(world), redrive(world)]:
        assert each.wait(timeout=60) == 0
    # A letter that one redrive held while the other came by is in its queue again.
    assert redrive(world).wait(timeout=60) == 0
    until(lambda: count(world, "PAID") == len(ids), what="every order is paid")
    until(lambda: letters(world) == 0, what="no dead letter is left")
    world.start("payment")
    world.wait_at_rest(ids)
    paid = world.rows("orders", "SELECT count(*) AS n FROM event_log WHERE event_type = 'OrderPaid'")
    assert paid[0]["n"] == len(ids)


def early_approval(order_id: str, creation: str) -> tuple[str, str, dict[str, Any]]:
    """The approval that the payment service is going to log for this order, under the same id."""
    created = derived_id(UUID(order_id), "OrderCreated", creation)
    approved = derived_id(UUID(order_id), "PaymentApproved", str(created))
    exchange, routing_key, message = payment_event("PaymentApproved", order_id, transactionId="t")
    return exchange, routing_key, message | {"eventId": str(approved)}


def letters(world: World) -> int:
    """The number of dead letters of the order service, including those that a redrive holds."""

    async def ask(channel: AbstractChannel) -> int:
        queue = await channel.declare_queue("order-service.dead-letters", passive=True)
        return queue.declaration_result.message_count or 0

    found: int = world.amqp(ask)
    return found


def count(world: World, status: str) -> int:
    found: int = world.rows("orders", "SELECT count(*) AS n FROM orders WHERE status = %s", status)[0]["n"]
    return found
