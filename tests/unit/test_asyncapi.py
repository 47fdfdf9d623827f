"""docs/asyncapi.json describes the messages as the code has them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from models.message_types import MESSAGE_TYPES, ROUTES, MessageType
from models.messages import decode, parse
from stack.asyncapi import page
from tests.support.asyncapi import FILE, described, faults

DOCUMENT = described()


def example_of(name: MessageType) -> dict[str, Any]:
    (example,) = DOCUMENT["components"]["messages"][name.value]["examples"]
    payload: dict[str, Any] = example["payload"]
    return payload


def test_the_document_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == page(), "run `python -m stack.asyncapi > docs/asyncapi.json`"


def test_every_message_has_a_channel_a_sender_and_a_schema() -> None:
    assert {*DOCUMENT["channels"]} == {name.value for name in MESSAGE_TYPES}
    assert {each["address"] for each in DOCUMENT["channels"].values()} == {r.routing_key for r in ROUTES.values()}
    senders = [each for each in DOCUMENT["operations"].values() if each["action"] == "send"]
    assert len(senders) == len(MESSAGE_TYPES)


@pytest.mark.parametrize("name", MESSAGE_TYPES)
def test_each_example_is_one_that_the_code_writes_and_reads(name: MessageType) -> None:
    example = example_of(name)
    assert faults(DOCUMENT, ROUTES[name].routing_key, example) == []
    assert isinstance(parse(decode(msgspec.json.encode(example))), MESSAGE_TYPES[name])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"eventType": "OrderPaid"}, "eventType"),
        ({"occurredAt": 5}, "occurredAt"),
        ({"coordinator": "nobody"}, "coordinator"),
        ({"payload": {"userId": "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f", "total": 0}}, "total"),
        ({"payload": {"total": 999}}, "userId"),
    ],
)
def test_what_is_no_such_message_is_noticed(change: dict[str, Any], told: str) -> None:
    (name,) = (each for each in MESSAGE_TYPES if each.value == "OrderCreated")
    found = faults(DOCUMENT, "order.created", example_of(name) | change)
    assert any(told in fault for fault in found), found
