"""A swap of a service is broken off, repeated, or done in the wrong order: it is refused, or nothing is lost by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.messages import USER, cancel, create, order_event
from tests.support.migrating import migrate, our_queues, saga
from tests.support.original_databases import OriginalDatabases, original_databases
from tests.support.original_services import OriginalPaymentService, Wiring
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

SAGA = Path(sys.executable).parent / "saga"
_INSERT = """INSERT INTO orders (id, user_id, total, currency, coordinator, status, created_at, updated_at)
    VALUES (%s, %s, %s, 'USD', 'choreography', 'PAID', now(), now())"""
_WAITING = "SELECT count(*) n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_SESSIONS = """SELECT count(*) n FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'saga migrate%%'"""


@pytest.fixture
def theirs(world: World) -> Iterator[OriginalDatabases]:
    with original_databases(world) as found:
        yield found


def test_48_an_import_that_is_killed_goes_on_when_it_is_run_again(world: World, theirs: OriginalDatabases) -> None:
    """A page of a thousand rows is one transaction. The second one waits for a lock when the command is killed."""
    rows = """INSERT INTO "Order" SELECT gen_random_uuid()::text, gen_random_uuid()::text, n, 'PAID', now(), now()
        FROM generate_series(1, 2500) n"""
    theirs.execute("orders", rows)
    # Another transaction is about to insert one of the second page's orders, so that the import has to wait for it.
    take = 'SELECT id::uuid, "userId"::uuid, total FROM "Order" ORDER BY id OFFSET 1700 LIMIT 1'
    [held] = theirs.execute("orders", take)
    with psycopg.connect(world.dsn("orders")) as holder:
        holder.execute(_INSERT, [*held.values()])
        killed = subprocess.Popen([str(SAGA), "migrate", "import", "orders"], env=world.env | theirs.environ)
        until(
            lambda: world.rows("orders", "SELECT count(*) n FROM orders")[0]["n"] == 1000,
            within=180,
            what="a page is there",
        )
        until(lambda: world.rows("orders", _WAITING)[0]["n"] == 1, what="the next one waits")
        assert "others are connected" in migrate(world, theirs, "import", "orders", code=1), "two at once"
        killed.kill()
        killed.wait()
        holder.rollback()
    until(lambda: theirs.execute("orders", _SESSIONS)[0]["n"] == 0, what="PostgreSQL has seen that it is gone")
    differ = migrate(world, theirs, "compare", "orders", code=1)
    assert (differ["agrees"], differ["ours"][0]["count"]) == (False, 1000)
    done = migrate(world, theirs, "import", "orders")
    assert (done["done"], done["agrees"]) == ({"there already": 1000, "new": 1500}, True)


def test_48_an_export_that_is_repeated_too_late_undoes_nothing(world: World, theirs: OriginalDatabases) -> None:
    """The original services have cancelled and refunded since what was brought back to them."""
    order_ids = theirs.fill((("PAID", "APPROVED"), ("PAID", "APPROVED")))
    for kind in ("orders", "payments"):
        migrate(world, theirs, "import", kind)
    theirs.execute("orders", """UPDATE "Order" SET status = 'CANCELLED' WHERE id = %s""", order_ids[0])
    theirs.execute("payments", """UPDATE "Payment" SET status = 'REFUNDED' WHERE "orderId" = %s""", order_ids[0])
    for kind, status in (("orders", "CANCELLED"), ("payments", "REFUNDED")):
        done = migrate(world, theirs, "export", kind)
        assert (done["done"], done["agrees"]) == ({"gone on there since": 1, "there already": 1}, False)
        assert theirs.statuses(kind)[order_ids[0]] == status
    checked = migrate(world, theirs, "check")
    assert checked["behind"] == {"orders with another status there": 1, "payments with another status there": 1}


def test_48_what_was_charged_by_both_services_is_named_and_not_taken_over(
    world: World, theirs: OriginalDatabases
) -> None:
    order_ids = theirs.fill((("PAID", "APPROVED"), ("PAID", "APPROVED")))
    migrate(world, theirs, "import", "orders")
    world.has_run("order")  # so that the payment's event counts as published
    world.start("payment", provider_decline_rate=0)
    world.publish(order_event("OrderCreated", order_ids[0], userId=USER, total=1000))
    world.wait_payment(order_ids[0], "APPROVED")
    world.terminate("payment")
    refused = migrate(world, theirs, "import", "payments", code=1)
    assert refused["refusals"] == 1
    assert "charged twice" in refused["refused"][0]
    assert migrate(world, theirs, "check", code=1)["faults"] == {
        "charged twice": {"count": 1, "orders": [order_ids[0]]}
    }
    refused = migrate(world, theirs, "export", "payments", code=1)
    assert "charged twice" in refused["refused"][0]
    # One of the charges is given back by hand.
    theirs.execute("payments", """UPDATE "Payment" SET status = 'REFUNDED' WHERE "orderId" = %s""", order_ids[0])
    done = migrate(world, theirs, "import", "payments")
    assert done["done"] == {"gone on here since": 1, "new": 1}
    checked = migrate(world, theirs, "check")
    assert (checked["sums"]["captured"]["count"], checked["sums"]["kept"]) == (3, checked["sums"]["paid orders"])


def queues(world: World, theirs: OriginalDatabases, names: str) -> list[dict[str, Any]]:
    """The state of these queues, whatever it is."""
    found: list[dict[str, Any]] = saga(world, theirs, f"migrate queues {names}")[1]
    return found


@pytest.mark.parametrize("acknowledges_first", [False, True])
def test_48_a_payment_service_that_is_stopped_in_the_middle_of_a_charge_is_not_replaced(
    world: World, theirs: OriginalDatabases, acknowledges_first: bool
) -> None:
    order_id = theirs.add_order("PENDING_PAYMENT", total=1000)
    slow = Wiring(acknowledges_first=acknowledges_first, charge_takes=60)
    with OriginalPaymentService(world, theirs, slow) as service:
        world.publish(order_event("OrderCreated", order_id, userId=USER, total=1000))
        until(lambda: theirs.statuses("payments") == {order_id: "PROCESSING"}, what="it charges")
        names = " ".join(service.queue_names)
    for arguments in (["--dry-run"], []):
        refused = migrate(world, theirs, "import", "payments", *arguments, code=1)
        assert "PROCESSING" in refused["refused"][0]
    until(lambda: not any(queue["consumers"] for queue in queues(world, theirs, names)), what="it reads no more")
    # If it acknowledges first, the message is gone: the order has to be cancelled there. Else it goes on.
    waiting = migrate(world, theirs, "queues", names, "--remove", code=int(not acknowledges_first))
    assert sum(queue["messages"] or 0 for queue in waiting) == int(not acknowledges_first)
    with OriginalPaymentService(world, theirs) as service:
        if acknowledges_first:
            world.publish(order_event("OrderCancelled", order_id))
        ended = "DECLINED" if acknowledges_first else "APPROVED"
        until(lambda: theirs.statuses("payments") == {order_id: ended}, what="it has come to its end")
        assert service.charged[order_id] == int(not acknowledges_first)
    assert migrate(world, theirs, "import", "payments")["done"] == {"new": 1}


def test_48_an_order_that_is_cancelled_in_the_middle_of_a_swap_is_refunded(
    world: World, theirs: OriginalDatabases
) -> None:
    """Our order service runs on while nobody reads what is for the payment service."""
    [early, late] = theirs.fill((("PAID", "APPROVED"), ("PAID", "APPROVED")))
    migrate(world, theirs, "import", "orders")
    world.start("order")
    with OriginalPaymentService(world, theirs) as service:
        names = " ".join(service.queue_names)
    # Before its queues are removed: what waits there has to be done by the original service.
    world.publish(cancel(early))
    until(lambda: migrate(world, theirs, "queues", names, code=1), what="the cancellation waits there")
    migrate(world, theirs, "queues", names, "--remove", code=1)
    with service:
        until(lambda: theirs.statuses("payments")[early] == "REFUNDED", what="it is given back there")
    migrate(world, theirs, "import", "payments")
    migrate(world, theirs, "queues", names, "--remove")
    # After that it waits for our payment service.
    world.publish(cancel(late))
    until(lambda: world.order(late)["status"] == "CANCELLED", what="it is cancelled")
    world.start("payment")
    world.wait_payment(late, "REFUNDED")
    world.wait_at_rest([early, late])
    checked = migrate(world, theirs, "check")
    assert (checked["sums"]["refunded"], checked["underWay"]) == ({"count": 2, "amount": 2001}, 0)


def test_48_nothing_is_brought_back_while_messages_wait_or_orders_are_under_way(
    world: World, theirs: OriginalDatabases
) -> None:
    world.start("order")
    order_id = theirs.add_order("PAID")
    theirs.execute("orders", 'DELETE FROM "Order"')
    world.publish(create(order_id))
    until(lambda: world.find_order(order_id), what="it is stored")
    world.terminate("order")
    refused = migrate(world, theirs, "export", "orders", code=1)
    assert sorted(why.partition(": ")[2] for why in refused["refused"]) == [
        "an event of it waits to be published; let it come to its end first",
        "it is PENDING_PAYMENT; let it come to its end first",
    ]
    assert theirs.statuses("orders") == {}
    world.publish(cancel(order_id))
    until(lambda: migrate(world, theirs, "queues", "--of order", code=1), what="a message waits")
    left = migrate(world, theirs, "queues", "--of order", "--remove", code=1)
    assert {queue["name"] for queue in left} == {*our_queues(world, "order")}
    assert not any(queue["removed"] for queue in left)
    world.start("order", "payment")
    world.wait_status(order_id, "CANCELLED")
    world.wait_at_rest([order_id])
    world.terminate("order", "payment")
    assert migrate(world, theirs, "export", "orders")["done"] == {"new": 1}
    assert all(queue["removed"] for queue in migrate(world, theirs, "queues", "--of order", "--remove"))


def test_48_a_refund_that_an_original_service_has_lost_is_made_after_the_swap(
    world: World, theirs: OriginalDatabases
) -> None:
    """It charges an order whose cancellation has overtaken it."""
    [order_id] = theirs.fill((("CANCELLED", "APPROVED"),))
    lost = {"money kept for an order that is off": {"count": 1, "orders": [order_id]}}
    assert migrate(world, theirs, "check", code=1)["faults"] == lost
    for kind in ("orders", "payments"):
        migrate(world, theirs, "import", kind)
    world.start("order", "payment")
    assert world.payment(order_id)["status"] == "APPROVED"
    world.publish(order_event("OrderCancelled", order_id, reason="USER_REQUESTED"))  # as the reconciler does
    world.wait_payment(order_id, "REFUNDED")
    assert migrate(world, theirs, "check")["sums"]["kept"] == {"count": 0, "amount": 0}
