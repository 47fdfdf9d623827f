"""The databases of original services are taken over, again and again, and brought back; the audit finds nothing."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.messages import cancel, order_event
from tests.support.migrating import migrate
from tests.support.original_databases import OriginalDatabases, original_databases
from tests.support.world import World

pytestmark = pytest.mark.long

ENDS = (
    ("PAID", "APPROVED"),
    ("CANCELLED", "REFUNDED"),
    ("CANCELLED", "DECLINED"),
    ("FAILED", "DECLINED"),
    ("FAILED", "FAILED"),
)


@pytest.fixture
def theirs(world: World) -> Iterator[OriginalDatabases]:
    with original_databases(world) as found:
        yield found


def test_48_what_was_taken_over_is_audited_refunded_once_and_brought_back(
    world: World, theirs: OriginalDatabases
) -> None:
    order_ids = theirs.fill(ENDS)
    for kind in ("orders", "payments"):
        planned = migrate(world, theirs, "import", kind, "--dry-run")
        assert (planned["done"], planned["ours"]) == ({"new": len(ENDS)}, [])
        done = migrate(world, theirs, "import", kind)
        assert (done["done"], done["agrees"]) == ({"new": len(ENDS)}, True)
        again = migrate(world, theirs, "import", kind)
        assert (again["done"], again["agrees"]) == ({"there already": len(ENDS)}, True)
        migrate(world, theirs, "compare", kind)
    world.prove_invariants()

    # A user cancels here what was paid there, and orders are placed here.
    world.start("order", "payment", "gateway", provider_decline_rate=0)
    world.publish(cancel(order_ids[0]))
    world.wait_status(order_ids[0], "CANCELLED", "REFUNDED")
    assert world.books(order_ids[0]) == (1000, 1000)
    paid, declined = world.post(), world.post("pm_card_chargeDeclined")
    world.wait_status(paid, "PAID", "APPROVED")
    world.wait_status(declined, "CANCELLED", "DECLINED")
    world.wait_at_rest([*order_ids, paid, declined])
    assert world.request("GET", f"/orders/{order_ids[0]}").json()["status"] == "CANCELLED"
    world.terminate("order", "payment", "gateway")

    for kind in ("orders", "payments"):
        done = migrate(world, theirs, "export", kind)
        assert (done["done"], done["agrees"]) == ({"changed": 1, "new": 2, "there already": len(ENDS) - 1}, True)
        again = migrate(world, theirs, "export", kind)
        assert (again["done"], again["agrees"]) == ({"there already": len(ENDS) + 2}, True)
    assert theirs.statuses("orders") | {paid: "PAID", declined: "FAILED"} == theirs.statuses("orders")
    assert theirs.statuses("payments")[order_ids[0]] == "REFUNDED"

    # There the paid one is cancelled, and then all is taken over once more.
    theirs.execute("orders", """UPDATE "Order" SET status = 'CANCELLED', "updatedAt" = now() WHERE id = %s""", paid)
    theirs.execute(
        "payments", """UPDATE "Payment" SET status = 'REFUNDED', "updatedAt" = now() WHERE "orderId" = %s""", paid
    )
    for kind in ("orders", "payments"):
        done = migrate(world, theirs, "import", kind)
        assert (done["done"], done["agrees"]) == ({"there already": len(ENDS) + 1, "changed there since": 1}, True)
    world.prove_invariants()
    assert (world.order(paid)["status"], world.payment(paid)["status"]) == ("CANCELLED", "REFUNDED")
    assert world.books(paid) == (999, 999)


def test_48_a_payment_whose_order_was_cancelled_before_it_was_taken_over_is_given_back(
    world: World, theirs: OriginalDatabases
) -> None:
    """Our payment service had never heard of it, so that its tombstone said that nothing was charged."""
    order_id = theirs.add_order("CANCELLED")
    theirs.add_payment(order_id, "APPROVED")
    world.start("payment")
    event = order_event("OrderCancelled", order_id, reason="USER_REQUESTED")
    world.publish(event)
    world.wait_payment(order_id, "CANCELLED")
    world.terminate("payment")
    migrate(world, theirs, "import", "orders")
    faults = migrate(world, theirs, "check", code=1)["faults"]
    assert faults == {"money kept for an order that is off": {"count": 1, "orders": [order_id]}}
    done = migrate(world, theirs, "import", "payments")
    assert [*done["done"]] == ["to be refunded: its order was cancelled before its payment was known"]
    assert (world.payment(order_id)["due"], world.books(order_id)) == ("refund", (999, 0))
    # Whatever tells of the cancellation again has the refund made.
    world.start("payment")
    world.publish(event)
    world.wait_payment(order_id, "REFUNDED")
    assert world.books(order_id) == (999, 999)
    checked = migrate(world, theirs, "check")
    assert (checked["sums"]["refunded"], checked["underWay"]) == ({"count": 1, "amount": 999}, 0)


def test_an_amount_that_the_original_table_cannot_hold_is_named_and_nothing_is_brought_back(
    world: World, theirs: OriginalDatabases
) -> None:
    theirs.fill((("PAID", "APPROVED"),))
    theirs.execute(
        "orders", """ALTER TABLE "Order" ALTER "total" TYPE bigint; UPDATE "Order" SET "total" = 3000000000"""
    )
    migrate(world, theirs, "import", "orders")
    theirs.execute("orders", """DELETE FROM "Order"; ALTER TABLE "Order" ALTER "total" TYPE integer""")
    refused = migrate(world, theirs, "export", "orders", code=1)
    assert "2147483647" in refused["refused"][0]
    assert theirs.statuses("orders") == {}


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("orders", """UPDATE "Order" SET status = 'PENDING_PAYMENT'""", "PENDING_PAYMENT"),
        ("orders", """ALTER TABLE "Order" ALTER "total" TYPE numeric USING 9.99""", "9.99"),
        ("orders", """UPDATE "Order" SET "userId" = 'bob'""", "orders"),
        ("payments", """UPDATE "Payment" SET status = 'PROCESSING'""", "PROCESSING"),
    ],
)
def test_what_cannot_be_taken_over_is_named_and_nothing_is(
    world: World, theirs: OriginalDatabases, kind: str, change: str, told: str
) -> None:
    theirs.fill((("PAID", "APPROVED"),))
    theirs.execute(kind, change)
    for arguments in (["--dry-run"], []):
        refused = migrate(world, theirs, "import", kind, *arguments, code=1)
        assert (refused["refusals"], refused["ours"]) == (1, [])
        assert told in refused["refused"][0]


def test_nothing_is_taken_over_while_a_service_is_connected(world: World, theirs: OriginalDatabases) -> None:
    theirs.fill((("PAID", "APPROVED"),))

    def said() -> str:
        return str(migrate(world, theirs, "import", "orders", code=1))

    with psycopg.connect(theirs.dsn("orders")):
        assert "stop the original order service" in said()
    database = theirs.dsn("orders").rpartition("/")[2]
    with psycopg.connect(world.servers.admin_dsn, dbname=database):  # another user, whose sessions we may not see into
        assert "stop the original order service" in said()
    world.start("order")
    assert "stop it first" in said()
    assert world.rows("orders", "SELECT * FROM orders") == []
