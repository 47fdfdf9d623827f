"""The system of docker-compose.yml ends its sagas, opens no port too many, and survives kills and restarts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from models.payment import payment_id
from models.saga import OrderCreated, OrderId, PaymentApproved, event_id
from tests.support.containers import PUBLISHED, SETTINGS, Containers
from tests.support.messages import USER, envelope
from tests.support.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]  # the first test builds the images

COORDINATORS = ("choreography", "orchestration")
# Looks at all dead letters again and again, as an operator's page would.
LOOK = """
import asyncio, os
from choreography.dead_letters import DeadLetters
letters = DeadLetters(os.environ["SAGA_AMQP_URL"])
async def look():
    return [len(await letters.all()) for _ in range(30)]
print(asyncio.run(look())[-1])
"""
CONNECT = "import socket; socket.create_connection(('{host}', {port}), 2)"
SUPERUSER = (
    "import psycopg; psycopg.connect('postgresql://postgres:{password}@orders-db/{database}', connect_timeout=2)"
)


@pytest.mark.parametrize("coordinator", COORDINATORS)
@pytest.mark.parametrize(
    ("payment_method", "cancelled", "order", "payment", "reason"),
    [
        ("pm_card_visa", None, "PAID", "APPROVED", None),
        ("pm_card_chargeDeclined", None, "CANCELLED", "DECLINED", "PAYMENT_DECLINED"),
        ("pm_error", None, "FAILED", "FAILED", None),
        ("pm_card_visa", "PAID", "CANCELLED", "REFUNDED", "USER_REQUESTED"),
        ("pm_slow", "PENDING_PAYMENT", "CANCELLED", "CANCELLED", "USER_REQUESTED"),
        ("pm_unavailable", None, "CANCELLED", "CANCELLED", "PAYMENT_TIMEOUT"),
    ],
)
def test_a_saga_ends_as_it_does_without_containers(
    containers: Containers,
    coordinator: str,
    payment_method: str,
    cancelled: str | None,
    order: str,
    payment: str,
    reason: str | None,
) -> None:
    order_id = containers.post(payment_method, coordinator=coordinator)
    if cancelled:
        containers.wait_statuses(order_id, cancelled)
        assert containers.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
    containers.wait_statuses(order_id, order, payment)
    found = containers.request("GET", f"/orders/{order_id}").json()
    assert (found["coordinator"], found["cancelReason"]) == (coordinator, reason)


def test_only_the_gateway_and_the_web_pages_are_published_and_only_on_loopback(containers: Containers) -> None:
    published = {
        (name, inside, outside["HostIp"], int(outside["HostPort"]))
        for name, container in containers.inspect().items()
        for inside, bindings in container["NetworkSettings"]["Ports"].items()
        for outside in bindings or ()
    }
    gateway, rabbitmq, temporal = (containers.ports[name] for name in PUBLISHED)
    assert published == {
        ("gateway", "3000/tcp", "127.0.0.1", gateway),
        ("rabbitmq", "15672/tcp", "127.0.0.1", rabbitmq),
        ("temporal", "8233/tcp", "127.0.0.1", temporal),
    }
    assert httpx.get(f"http://127.0.0.1:{gateway}/docs").status_code == 200
    assert "RabbitMQ" in httpx.get(f"http://127.0.0.1:{rabbitmq}/").text
    assert httpx.get(f"http://127.0.0.1:{temporal}/").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{temporal}/", headers={"Host": "evil.example"}).status_code == 421
    foreign = {"Origin": "http://evil.example", "Authorization": "Bearer x"}
    assert httpx.post(f"http://127.0.0.1:{temporal}/api/v1/namespaces", headers=foreign).status_code == 403


def test_the_gateway_reaches_every_part(containers: Containers) -> None:
    parts = containers.request("GET", "/console/parts").json()["parts"]
    assert len(parts) == 7
    assert {part["name"]: part["state"] for part in parts if part["state"] != "ok"} == {}


def test_nothing_runs_as_root(containers: Containers) -> None:
    for name, container in containers.inspect().items():
        lines = containers.command("docker", "top", container["Id"], "-eo", "pid,uid").splitlines()[1:]
        assert lines, name
        assert all(line.split()[1] != "0" for line in lines), (name, lines)
        assert container["HostConfig"]["CapDrop"] == ["ALL"], name
        assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", name


def test_a_database_is_reached_by_its_own_service_in_its_own_role_alone(containers: Containers) -> None:
    for stranger in ("gateway", "payment"):
        refused = containers.execute(stranger, "python", "-c", CONNECT.format(host="orders-db", port=5432), check=False)
        assert "gaierror" in refused, stranger  # it has not even a name there
    containers.execute("order", "python", "-c", CONNECT.format(host="orders-db", port=5432))
    for database in ("orders", "postgres"):
        attempt = SUPERUSER.format(password=SETTINGS["SAGA_SUPERUSER_PASSWORD"], database=database)
        assert "no pg_hba.conf entry" in containers.execute("order", "python", "-c", attempt, check=False)
    (role,) = containers.rows("orders", "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = 'orders'")
    assert role == {"rolsuper": False, "rolcreaterole": False}


def test_a_dead_letter_survives_any_number_of_looks_and_is_redriven(containers: Containers) -> None:
    order_id, create_id = OrderId(uuid4()), uuid4()
    # What the payment service is going to say, said before anybody knows the order.
    approved_id = event_id(order_id, PaymentApproved, event_id(order_id, OrderCreated, create_id))
    approved = {"orderId": str(order_id), "transactionId": f"txn_{payment_id(order_id).hex}"}
    containers.publish_message("payment.approved", envelope("PaymentApproved", approved, eventId=str(approved_id)))
    containers.publish_message("payment.approved", b"poison")

    def letters() -> dict[tuple[str, str], Any]:
        found = json.loads(containers.saga("dead-letters", "list", "--json"))["data"]
        return {(letter["queue"], letter["reason"]): letter for letter in found}

    retried = ("order-service", "TOO_EARLY")
    expected = {retried, ("order-service", "MALFORMED"), ("saga-mirror", "MALFORMED")}
    until(lambda: letters().keys() == expected, what="one is retried in vain, one can't be read by anybody")
    assert letters()[retried]["attempts"] == 3
    # RabbitMQ 4 drops what has come back 20 times, unless the queue says otherwise.
    assert containers.python(LOOK).strip() == "3"

    create = {"orderId": str(order_id), "userId": USER, "total": 5, "paymentMethod": "pm_slow"}
    containers.publish_message(
        "order.create.requested", envelope("CreateOrderRequested", create, eventId=str(create_id))
    )
    containers.wait_statuses(str(order_id), "PENDING_PAYMENT")
    containers.saga("dead-letters", "redrive", letters()[retried]["id"])
    containers.wait_statuses(str(order_id), "PAID")
    containers.saga("dead-letters", "discard", "--all", "--yes")
    until(lambda: letters() == {}, what="no dead letter is left")
    containers.wait_statuses(str(order_id), "PAID", "APPROVED")
    containers.wait_at_rest([str(order_id)])


def test_an_operators_commands_reach_every_server(containers: Containers) -> None:
    order_id = containers.post("pm_card_visa")
    containers.wait_statuses(order_id, "PAID", "APPROVED")
    assert order_id in containers.execute("gateway", "saga", "order", "list")
    for service in ("order", "payment"):
        assert order_id in containers.saga("events", "list", "--order", order_id, "--service", service)
    containers.saga("events", "replay", "--order", order_id, "--yes")
    containers.wait_at_rest([order_id])


@pytest.mark.parametrize("victim", ["order", "payment", "worker", "orders-db", "payments-db", "rabbitmq", "temporal"])
def test_whatever_is_killed_in_mid_flight_comes_back_and_nothing_is_lost(containers: Containers, victim: str) -> None:
    methods = ("pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_error", None)
    with ThreadPoolExecutor(8) as pool:
        order_ids = list(pool.map(containers.post, methods * 8))
        for cancelled in order_ids[::5]:
            containers.request("PATCH", f"/orders/{cancelled}/cancel")
        containers.kill_container(victim)
    containers.wait_at_rest(order_ids, within=240)
    until(lambda: containers.waiting_for_mirrors() == 0, what="every event has reached its mirror")
    until(lambda: set(containers.health().values()) == {"healthy"}, what="every container is healthy again")


def test_the_volumes_keep_everything_across_down_and_up(containers: Containers) -> None:
    order_id = containers.post("pm_card_visa")
    containers.wait_statuses(order_id, "PAID", "APPROVED")

    def told_by_its_workflow() -> Any:
        told = containers.request("GET", f"/orders/{order_id}/timeline").json()
        assert told["source"] == "workflow"
        return told

    timeline = until(told_by_its_workflow, what="its workflow tells the timeline")
    containers.publish_message("payment.approved", b"poison")
    until(lambda: "MALFORMED" in containers.saga("dead-letters", "list"))
    containers.compose("down")
    assert containers.inspect() == {}
    containers.up()
    assert containers.statuses(order_id) == ("PAID", "APPROVED")
    assert until(told_by_its_workflow, what="its workflow still tells the timeline") == timeline
    assert "MALFORMED" in containers.saga("dead-letters", "list")
    containers.saga("dead-letters", "discard", "--all", "--yes")
    containers.wait_at_rest([order_id])
