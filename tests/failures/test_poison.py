"""Messages that the driver can't decode, and forged dead letters, hold nobody up (docs/failures.md, rows 37 and 39)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64decode
from typing import Any
from uuid import uuid4

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractChannel

from audit.dead_letter_audit import all_of
from choreography.dead_letters import DeadLetterRecord
from tests.support import http
from tests.support.messages import ORDERS, PAYMENTS, USER, cancel, create, order_event, payment_event
from tests.support.poison import BROKEN, PLAIN, STRANGE
from tests.support.raw_amqp import RawMessage, publish
from tests.support.waiting import until
from tests.support.world import World


def raw(message: tuple[str, str, Any], values: bytes) -> RawMessage:
    exchange, routing_key, body = message
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawMessage(exchange=exchange, routing_key=routing_key.encode(), body=data, properties=values)


def letters(world: World, count: int) -> list[DeadLetterRecord]:
    found = world.dead_letters()
    assert len(found) == count, [(letter.reason, letter.error) for letter in found]
    return found


# 37


def test_37_what_the_driver_cannot_decode_is_a_dead_letter_and_its_neighbours_go_on(world: World) -> None:
    world.start("order", "payment")
    ids, poison = [], []
    for values in BROKEN.values():
        ids.append(str(uuid4()))
        poison += [
            raw(cancel(str(uuid4())), values),
            raw(create(ids[-1]), PLAIN),
            raw(order_event("OrderCreated", str(uuid4()), userId=USER, total=1), values),
        ]
    publish(world.amqp_url, poison)
    world.wait_at_rest(ids)
    found = until(lambda: letters(world, 2 * len(BROKEN)), what="each is a dead letter of its service")
    assert {letter.reason for letter in found} == {"MALFORMED"}
    for queue, at in (("order-service", 0), ("payment-service", 2)):
        assert [(letter.body, (letter.properties or b"")[:100_000]) for letter in found if letter.queue == queue] == [
            (sent.body, sent.properties[:100_000]) for sent in poison[at::3]
        ]
    for letter in found:
        cut = "of its properties the first 100000 are kept" in letter.error
        assert cut is (len(letter.properties or b"") == 100_000), letter.error
    world.kill("order", "payment")
    world.start("order", "payment")
    for name in ("order", "payment"):
        assert "broker_connection_lost" not in world.log(name)
        assert "decoded" in world.log(name)
    until(lambda: world.waiting() == 0, what="none has come back to its queue")
    assert len(letters(world, 2 * len(BROKEN))) == len(found)


def test_37_headers_that_a_stranger_wrote_stop_neither_retries_nor_dead_letters(world: World) -> None:
    world.start("order", "payment")
    early = [payment_event("PaymentApproved", str(uuid4()), transactionId="t") for _ in STRANGE]
    publish(world.amqp_url, (raw((ORDERS, "order.created", b"{"), values) for values in STRANGE.values()))
    publish(world.amqp_url, (raw(message, values) for message, values in zip(early, STRANGE.values(), strict=True)))
    found = until(lambda: letters(world, 2 * len(STRANGE)), what="all are dead letters")
    too_early = [letter for letter in found if letter.reason == "TOO_EARLY"]
    assert len(too_early) == len(STRANGE)
    assert {letter.attempts for letter in too_early} <= {4, 1_000_000}
    assert {letter.routing_key for letter in too_early} == {"payment.approved"}
    assert {letter.reason for letter in found} == {"TOO_EARLY", "MALFORMED"}


@pytest.mark.parametrize("size", [0, 20_000_000])
def test_37_a_body_of_any_size_is_a_dead_letter_as_it_came(world: World, size: int) -> None:
    world.start("order")
    publish(world.amqp_url, [raw((ORDERS, "order.cancel.requested", b"x" * size), BROKEN["a timestamp of all ones"])])
    publish(world.amqp_url, [raw((ORDERS, "order.cancel.requested", b"y" * size), PLAIN)])
    found = until(lambda: letters(world, 2), what="both are dead letters")
    assert [letter.body for letter in found] == [b"x" * size, b"y" * size]
    assert "broker_connection_lost" not in world.log("order")


def test_37_the_stream_of_an_order_goes_on_through_what_cannot_be_decoded(world: World) -> None:
    world.start("order", "payment", "gateway", provider_latency_ms=5000)
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_status(order_id, "PENDING_PAYMENT")
    url = f"http://127.0.0.1:{world.ports['gateway']}/api/orders/{order_id}/stream"
    with http.client(timeout=20) as client, client.stream("GET", url) as stream:
        lines = stream.iter_lines()
        assert "PENDING_PAYMENT" in next(line for line in lines if line.startswith("data:"))
        poison = [raw(order_event("OrderFailed", order_id), values) for values in BROKEN.values()]
        publish(world.amqp_url, [*poison, RawMessage(exchange=ORDERS, routing_key=b"order.\xff", body=b"{}")])
        assert any('"orderStatus":"PAID"' in line for line in lines)
    assert "feed_interrupted" not in world.log("gateway")
    assert "broker_connection_lost" not in world.log("gateway")


# 39


def test_39_letters_that_cannot_be_decoded_or_were_forged_are_listed_shown_and_discarded(world: World) -> None:
    world.has_run("worker")
    world.start("order")
    for name in ("order-service", "saga-mirror"):
        forged = [
            RawMessage(exchange="dlx.exchange", routing_key=name.encode(), body=name.encode(), properties=values)
            for values in (*BROKEN.values(), *STRANGE.values())
        ]
        publish(world.amqp_url, forged)
    order_id = str(uuid4())
    world.publish(payment_event("PaymentApproved", order_id, transactionId="t"))
    count = 2 * (len(BROKEN) + len(STRANGE)) + 1
    until(lambda: letters(world, count), what="all are there")
    world.publish(create(order_id))
    world.wait_status(order_id, "PENDING_PAYMENT")

    listed = json.loads(saga(world, "dead-letters", "list", "--json"))["data"]
    assert len(listed) == count
    for letter in (listed[0], listed[-1]):
        assert letter["queue"] in saga(world, "dead-letters", "show", letter["id"])
    assert len(asyncio.run(all_of(world.amqp_url))) == count, "the audit reads on"
    saga(world, "dead-letters", "redrive", "--all", "--reason", "TOO_EARLY")
    world.wait_status(order_id, "PAID")
    saga(world, "dead-letters", "discard", "--all", "--yes")
    assert until(lambda: world.dead_letters() == [], what="all are discarded")


def test_39_a_command_that_could_not_be_decoded_is_shown_raw_and_redriven_without_its_properties(world: World) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    values = BROKEN["a timestamp in microseconds"]
    publish(world.amqp_url, [raw(create(order_id), values)])
    (letter,) = until(lambda: letters(world, 1), what="it is a dead letter")
    shown = json.loads(saga(world, "dead-letters", "show", letter.id, "--json"))
    assert (b64decode(shown["properties"]), shown["orderId"], shown["reason"]) == (values, order_id, "MALFORMED")
    assert "\\x06" in saga(world, "dead-letters", "show", letter.id)
    saga(world, "dead-letters", "redrive", letter.id)
    world.wait_status(order_id, "PAID", "APPROVED")
    assert world.dead_letters() == []


def saga(world: World, *arguments: str) -> str:
    """The output of a command that must succeed."""
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), (arguments, done.stderr)
    return done.stdout


def test_37_an_expired_message_with_a_forged_death_stops_no_retry(world: World) -> None:
    """RabbitMQ would end in the middle of dead-lettering it, and no retry of any queue would ever come back."""
    world.start("order", "payment", "gateway")
    world.terminate("order")

    async def forge(channel: AbstractChannel) -> None:
        for exchange, key in (
            (ORDERS, "order.cancel.requested"),
            (ORDERS, "order.created"),
            (PAYMENTS, "payment.failed"),
        ):
            message = Message(b"{}", expiration=0.05, headers={"x-death": ["forged"]})
            await (await channel.get_exchange(exchange, ensure=False)).publish(message, key)

    world.amqp(forge)
    until(lambda: world.queues()["order-service"] == 0, what="they have expired")
    world.start("order")
    order_id = world.post("pm_timeout_then_approve")  # the first try of its charge has no answer
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest([order_id])
