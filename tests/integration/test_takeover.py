"""The databases of original services are taken over, again and again, and brought back; the audit finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.messages import USER, cancel, order_event
from tests.support.original_databases import OriginalDatabases, original_databases
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

SAGA = Path(sys.executable).parent / "saga"
ENDS = (
    ("PAID", "APPROVED"),
    ("CANCELLED", "REFUNDED"),
    ("CANCELLED", "DECLINED"),
    ("FAILED", "DECLINED"),
    ("FAILED", "FAILED"),
)

_INSERTABLE = """SELECT column_name FROM information_schema.columns
    WHERE table_name = 'orders' AND is_nullable = 'NO' AND column_default IS NULL"""
_WAITING = "SELECT count(*) n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_SESSIONS = """SELECT count(*) n FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'saga migrate%%'"""


@pytest.fixture
def theirs(world: World) -> Iterator[OriginalDatabases]:
    with original_databases(world) as found:
        yield found


def migrate(world: World, theirs: OriginalDatabases, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The answer of `saga migrate` as JSON."""
    originals = {f"SAGA_ORIGINAL_{kind.upper()}_DATABASE_URL": theirs.dsn(kind) for kind in ("orders", "payments")}
    command = [str(SAGA), "migrate", *arguments, "--json"]
    done = subprocess.run(command, env=world.env | originals, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def wait_payment(world: World, order_id: str, status: str) -> None:
    def reached() -> bool:
        payment = world.find_payment(order_id)
        return payment is not None and payment["status"] == status

    until(reached, what=f"the payment is {status}")


def filled(theirs: OriginalDatabases, ends: tuple[tuple[str, str], ...] = ENDS) -> list[str]:
    order_ids = []
    for n, (order, payment) in enumerate(ends):
        order_ids.append(theirs.add_order(order, total=1000 + n))
        theirs.add_payment(order_ids[-1], payment, amount=1000 + n)
    return order_ids


def test_48_what_was_taken_over_is_audited_refunded_once_and_brought_back(
    world: World, theirs: OriginalDatabases
) -> None:
    order_ids = filled(theirs)
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
    wait_payment(world, order_id, "CANCELLED")
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
    wait_payment(world, order_id, "REFUNDED")
    assert world.books(order_id) == (999, 999)
    checked = migrate(world, theirs, "check")
    assert (checked["sums"]["refunded"], checked["underWay"]) == ({"count": 1, "amount": 999}, 0)


def test_an_import_that_is_killed_goes_on_when_it_is_run_again(world: World, theirs: OriginalDatabases) -> None:
    """A page of a thousand rows is one transaction. The second one waits for a lock when the command is killed."""
    rows = """INSERT INTO "Order" SELECT gen_random_uuid()::text, gen_random_uuid()::text, n, 'PAID', now(), now()
        FROM generate_series(1, 2500) n"""
    theirs.execute("orders", rows)
    [held] = theirs.execute("orders", """SELECT id FROM "Order" ORDER BY id OFFSET 1700 LIMIT 1""")
    taken = [str(row["column_name"]) for row in world.rows("orders", _INSERTABLE)]
    values = {"id": held["id"], "user_id": held["id"], "total": 1, "currency": "USD"}
    values |= {"coordinator": "choreography", "status": "PAID", "created_at": "now", "updated_at": "now"}
    assert {*values} == {*taken}
    with psycopg.connect(world.dsn("orders")) as holder:
        places = ", ".join(["%s"] * len(values))
        holder.execute(f"INSERT INTO orders ({', '.join(values)}) VALUES ({places})", [*values.values()])
        originals = {"SAGA_ORIGINAL_ORDERS_DATABASE_URL": theirs.dsn("orders")}
        killed = subprocess.Popen([str(SAGA), "migrate", "import", "orders"], env=world.env | originals)
        until(lambda: world.rows("orders", "SELECT count(*) n FROM orders")[0]["n"] == 1000, what="a page is there")
        until(lambda: world.rows("orders", _WAITING)[0]["n"] == 1, what="the next one waits")
        killed.kill()
        killed.wait()
        holder.rollback()
    until(lambda: theirs.execute("orders", _SESSIONS)[0]["n"] == 0, what="PostgreSQL has seen that it is gone")
    differ = migrate(world, theirs, "compare", "orders", code=1)
    assert (differ["agrees"], differ["ours"][0]["count"]) == (False, 1000)
    done = migrate(world, theirs, "import", "orders")
    assert (done["done"], done["agrees"]) == ({"there already": 1000, "new": 1500}, True)


def test_an_export_that_is_repeated_too_late_undoes_nothing(world: World, theirs: OriginalDatabases) -> None:
    """The original services have cancelled and refunded since what was brought back to them."""
    order_ids = filled(theirs, (("PAID", "APPROVED"), ("PAID", "APPROVED")))
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


def test_what_was_charged_by_both_services_is_named_and_not_taken_over(world: World, theirs: OriginalDatabases) -> None:
    order_ids = filled(theirs, (("PAID", "APPROVED"), ("PAID", "APPROVED")))
    migrate(world, theirs, "import", "orders")
    world.has_run("order")  # so that the payment's event counts as published
    world.start("payment", provider_decline_rate=0)
    world.publish(order_event("OrderCreated", order_ids[0], userId=USER, total=1000))
    wait_payment(world, order_ids[0], "APPROVED")
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


def test_an_amount_that_the_original_table_cannot_hold_is_named_and_nothing_is_brought_back(
    world: World, theirs: OriginalDatabases
) -> None:
    filled(theirs, (("PAID", "APPROVED"),))
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
    filled(theirs, (("PAID", "APPROVED"),))
    theirs.execute(kind, change)
    for arguments in (["--dry-run"], []):
        refused = migrate(world, theirs, "import", kind, *arguments, code=1)
        assert (refused["refusals"], refused["ours"]) == (1, [])
        assert told in refused["refused"][0]


def test_nothing_is_taken_over_while_a_service_is_connected(world: World, theirs: OriginalDatabases) -> None:
    filled(theirs, (("PAID", "APPROVED"),))
    originals = {"SAGA_ORIGINAL_ORDERS_DATABASE_URL": theirs.dsn("orders")}
    command = [str(SAGA), "migrate", "import", "orders"]

    def said() -> str:
        done = subprocess.run(
            command, env=world.env | originals, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    with psycopg.connect(theirs.dsn("orders")):
        assert "stop the original order service" in said()
    database = theirs.dsn("orders").rpartition("/")[2]
    with psycopg.connect(world.servers.admin_dsn, dbname=database):  # another user, whose sessions we may not see into
        assert "stop the original order service" in said()
    world.start("order")
    assert "stop it first" in said()
    assert world.rows("orders", "SELECT * FROM orders") == []
