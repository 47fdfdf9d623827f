"""Messages and dead letters of the version before are read as they were meant, and it reads those of today."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from choreography.dead_letter_json import as_json
from choreography.topology import DEAD_LETTER_EXCHANGE, ORDER_QUEUE
from models.message_types import CommandType, EventType, known_type
from models.messages import decode, parse
from models.saga import Coordinator
from tests.support.asyncapi import described, faults
from tests.support.version_before import VersionBefore
from tests.support.waiting import until
from tests.support.world import World
from tests.version_before.record import FILE

RECORDED: Final[dict[str, Any]] = json.loads(FILE.read_text())
MESSAGES: Final[list[dict[str, Any]]] = RECORDED["messages"]
LETTERS: Final[list[dict[str, Any]]] = RECORDED["deadLetters"]

# What the version before makes of a message: run with its modules, given the bodies as JSON.
READ: Final = """
import json
from models.messages import decode, parse
for body in json.load(sys.stdin):
    envelope = decode(json.dumps(body).encode())
    print(json.dumps([envelope.event_type, str(envelope.event_id), envelope.order_id, type(parse(envelope)).__name__]))
"""


def name_of(message: dict[str, Any]) -> str:
    return f"{message['body']['eventType']}-{message['body']['coordinator']}"


def test_there_is_a_message_of_every_type_and_of_both_coordinators() -> None:
    assert {message["body"]["eventType"] for message in MESSAGES} == {*CommandType, *EventType}
    assert {message["body"]["coordinator"] for message in MESSAGES} == {*Coordinator}


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_a_message_of_the_version_before_is_read_as_it_was_meant(message: dict[str, Any]) -> None:
    body = message["body"]
    envelope = decode(json.dumps(body).encode())
    assert type(parse(envelope)).__name__ == body["eventType"]
    assert known_type(body["eventType"]) == envelope.event_type
    assert (str(envelope.event_id), envelope.correlation_id) == (body["eventId"], body["correlationId"])
    assert (envelope.coordinator, envelope.order_id) == (body["coordinator"], body["payload"]["orderId"])
    assert (envelope.route and envelope.route.routing_key) == message["routingKey"]
    assert faults(described(), message["routingKey"], body) == []


def test_the_version_before_reads_the_messages_of_today(tmp_path: Path) -> None:
    """Those of docs/asyncapi.json, which the tests hold real ones against."""
    examples = [
        example["payload"]
        for message in described()["components"]["messages"].values()
        for example in message["examples"]
    ]
    assert {each["eventType"] for each in examples} == {*CommandType, *EventType}
    read = VersionBefore(tmp_path).run(READ, given=json.dumps(examples)).splitlines()
    assert [json.loads(line) for line in read] == [
        [each["eventType"], each["eventId"], each["payload"]["orderId"], each["eventType"]] for each in examples
    ]


def test_a_saga_goes_on_from_the_messages_of_the_version_before_and_takes_each_once(world: World) -> None:
    """Its commands and its events wait in the queues when this version starts."""
    world.has_run("order", "payment", "worker")
    of_one = next(m for m in MESSAGES if name_of(m) == "CreateOrderRequested-choreography")
    order_id = of_one["body"]["payload"]["orderId"]
    for _ in range(2):
        world.publish((of_one["exchange"], of_one["routingKey"], of_one["body"]))
    world.start("order", "payment")
    world.wait_status(order_id, "PAID", "APPROVED")
    mine = [m for m in MESSAGES if m["body"]["payload"]["orderId"] == order_id]
    world.publish(*((m["exchange"], m["routingKey"], m["body"]) for m in mine))
    until(lambda: world.order(order_id)["status"] == "CANCELLED", what="its cancellation is taken, too")
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest([order_id])
    assert world.dead_letters() == []
    assert world.books(order_id) == (999, 999)


def test_dead_letters_of_the_version_before_are_listed_as_it_listed_them(world: World) -> None:
    world.has_run("order")

    async def lay(channel: AbstractChannel) -> None:
        exchange = await channel.get_exchange(DEAD_LETTER_EXCHANGE, ensure=False)
        for each in LETTERS:
            letter = each["letter"]
            body = b64decode(letter["bodyBase64"]) if "bodyBase64" in letter else json.dumps(letter["body"]).encode()
            message = aio_pika.Message(body, headers=letter["headers"], message_id=letter["properties"]["message_id"])
            await exchange.publish(message, ORDER_QUEUE)

    world.amqp(lay)
    found = [as_json(record) for record in world.dead_letters()]
    told = {each["listed"]["id"]: each["listed"] for each in LETTERS}
    assert {each["id"] for each in found} == {*told}
    assert {each["reason"] for each in found} >= {"MALFORMED"}
    for each in found:
        assert {name: each[name] for name in told[each["id"]]} == told[each["id"]]
