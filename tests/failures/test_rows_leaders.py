"""RabbitMQ runs a queue that does nothing: processes say so, and the stack heals it (docs/failures.md, rows 17, 43)."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from embedded.rabbitmq import NODE
from embedded.supervisor import DEAD_AFTER
from tests.support.broker_node import in_broker, store
from tests.support.messages import BODY, create
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long


@contextmanager
def silent(world: World, queue: str) -> Iterator[None]:
    """The queue is there, and its leader answers nobody."""
    server = f"'{world.name}_{queue}'"
    in_broker(world.servers, "sys", "suspend", server)
    try:
        yield
    finally:
        in_broker(world.servers, "sys", "resume", server)


def broker_check(world: World, process: str) -> str:
    answer = httpx.get(f"http://127.0.0.1:{world.ports[process]}/readyz", timeout=5, trust_env=False)
    return str(answer.json()["checks"]["broker"])


def test_43_a_queue_that_takes_nothing_makes_its_publisher_unready_and_is_named(world: World) -> None:
    """What was to be set aside is kept, and set aside as soon as its queue takes messages again."""
    world.start("order")
    letters = "order-service.dead-letters"
    with silent(world, letters):
        world.publish(("orders.exchange", "order.create.requested", b"poison"))
        until(lambda: letters in broker_check(world, "order"), what="it is unready, and names the queue")
        assert world.log("order").count("queue_does_nothing") == 1
    world.wait_ready("order")
    # The queue took what was published while it was silent, too: unconfirmed, it was published again.
    found = until(world.dead_letters, what="it is a dead letter")
    assert {letter.body for letter in found} == {b"poison"}


def test_43_a_queue_that_gives_nothing_makes_its_reader_and_its_publishers_unready_and_is_named(world: World) -> None:
    world.start("order", "payment", "gateway")
    world.terminate("order")
    with silent(world, "order-service"):
        world.launch("order")

        def both_name_it() -> bool:
            assert world.request("POST", "/orders", json=BODY).status_code == 503
            return all("'order-service'" in broker_check(world, process) for process in ("order", "gateway"))

        until(both_name_it, what="both are unready, and name the queue")
    world.wait_ready("order")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_status(order_id, "PAID", "APPROVED")
    world.post()  # one that is confirmed makes the gateway ready
    world.wait_ready("gateway")


def test_17_queues_that_come_back_without_a_leader_elect_one(world: World) -> None:
    """RabbitMQ was killed before it had written down which queues it has: it starts them without a leader."""
    world.start("order", "payment", "gateway")
    (names,) = store(world.servers).glob("mnesia/*/quorum/*/names.dets")
    killed = world.servers.pids()["rabbitmq"]
    os.kill(killed, signal.SIGSTOP)
    names.unlink()
    os.kill(killed, signal.SIGKILL)
    until(lambda: "broker_connection_lost" in world.log("order"), what="the broker is gone")
    world.wait_ready("order")
    world.wait_ready("payment")
    log = store(world.servers).parent / "logs" / "rabbitmq.log"
    until(lambda: "without a leader, and elected one" in log.read_text(), within=DEAD_AFTER, what="it is healed")
    order_id = until(lambda: _accepted(world), what="orders are accepted")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest([order_id])
    assert world.servers.pids()["rabbitmq"] not in (None, killed)


def test_17_the_documented_command_has_a_queue_elect_a_leader(world: World) -> None:
    world.start("order")
    page = (Path(__file__).parents[2] / "docs" / "restoring.md").read_text()
    documented = re.search(r"eval '(\w+):(\w+)\((.+), node\(\)}\)\.'", page)
    assert documented, "docs/restoring.md names the command"
    module, function, member = documented.groups()
    queue = member.replace("%2F", world.name).replace("QUEUE", "order-service")
    in_broker(world.servers, module, function, f"{queue}, '{NODE}'}}")
    order_id = str(uuid4())
    world.publish(create(order_id))
    until(lambda: world.find_order(order_id), what="the queue goes on")


def _accepted(world: World) -> str:
    answer = world.request("POST", "/orders", json=BODY)
    return str(answer.json()["orderId"]) if answer.status_code == 202 else ""
