"""`saga migrate` takes an original service's rows over and brings them back, and says what waits in queues."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractChannel

from tests.support.messages import cancel
from tests.support.original_databases import OriginalDatabases, original_databases
from tests.support.waiting import until
from tests.support.world import World

SAGA = Path(sys.executable).parent / "saga"


def saga(world: World, theirs: OriginalDatabases, *arguments: str, code: int = 0) -> str:
    """What the command prints."""
    originals = {f"SAGA_ORIGINAL_{kind.upper()}_DATABASE_URL": theirs.dsn(kind) for kind in ("orders", "payments")}
    command = [str(SAGA), *arguments]
    done = subprocess.run(command, env=world.env | originals, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_rows_go_over_and_back_and_the_totals_agree(world: World) -> None:
    with original_databases(world) as theirs:
        order_id = theirs.add_order("PAID", total=1250)
        theirs.add_payment(order_id, "APPROVED", amount=1250)

        planned = json.loads(saga(world, theirs, "migrate", "import", "orders", "--dry-run", "--json"))
        assert (planned["done"], planned["ours"]) == ({"new": 1}, [])
        assert "Both agree." in saga(world, theirs, "migrate", "import", "orders")
        assert "Both agree." in saga(world, theirs, "migrate", "import", "payments")
        assert world.order(order_id)["status"] == "PAID"
        assert json.loads(saga(world, theirs, "migrate", "compare", "payments", "--json"))["agrees"]

        assert "All of it holds." in saga(world, theirs, "migrate", "check")
        assert json.loads(saga(world, theirs, "migrate", "check", "--json"))["sums"]["kept"] == {
            "count": 1,
            "amount": 1250,
        }
        theirs.execute("orders", """DELETE FROM "Order" """)
        assert "They differ." in saga(world, theirs, "migrate", "compare", "orders", code=1)
        planned = json.loads(saga(world, theirs, "migrate", "export", "orders", "--dry-run", "--json"))
        assert (planned["theirs"], theirs.statuses("orders")) == ([], {})
        assert "Both agree." in saga(world, theirs, "migrate", "export", "orders")
        assert theirs.statuses("orders") == {order_id: "PAID"}


def asked(world: World, *arguments: str, code: int = 0) -> Any:
    """What the command answers as JSON."""
    command = [str(SAGA), *arguments]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_queue_of_an_original_service_is_removed_as_soon_as_it_is_empty(world: World, kind: str) -> None:
    async def declare(channel: AbstractChannel) -> None:
        await channel.declare_queue("their.queue", durable=True, arguments={"x-queue-type": kind})
        await channel.default_exchange.publish(Message(b"{}"), "their.queue")

    world.amqp(declare)
    until(lambda: asked(world, "migrate", "queues", "their.queue", "--json", code=1), what="the message waits")
    [kept] = asked(world, "migrate", "queues", "their.queue", "--remove", "--json", code=1)
    assert (kept["messages"], kept["removed"]) == (1, False)
    world.purge("their.queue")
    [removed] = asked(world, "migrate", "queues", "their.queue", "--remove", "--json")
    assert removed["removed"]
    assert "their.queue" not in world.queues()


def test_queues_are_removed_only_if_they_are_empty_and_nobody_reads_them(world: World) -> None:
    world.start("order")
    read = asked(world, "migrate", "queues", "--of", "order", "--remove", "--json", code=1)
    assert sum(queue["consumers"] for queue in read) > 0
    assert not any(queue["removed"] for queue in read)
    drained = asked(world, "migrate", "queues", "--of", "order", "--wait", "10", "--json")
    assert not any(queue["messages"] for queue in drained)
    world.terminate("order")
    world.publish(cancel(str(uuid4())))
    until(
        lambda: asked(world, "migrate", "queues", "--of", "order", "--remove", "--json", code=1), what="a message waits"
    )
    assert world.bindings("order-service")
    world.purge("order-service")
    removed = asked(world, "migrate", "queues", "--of", "order", "--remove", "--json")
    assert all(queue["removed"] for queue in removed)
    gone = asked(world, "migrate", "queues", "--of", "order", "--json")
    assert {queue["messages"] for queue in gone} == {None}
