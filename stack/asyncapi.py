"""Print docs/asyncapi.json from the routes and the messages themselves: `python -m stack.asyncapi`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, assert_never
from uuid import UUID

import msgspec

from choreography.topology import BINDINGS, MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE
from models.message_types import MESSAGE_TYPES, ROUTES, CommandType, EventType, MessageType
from models.messages import SCHEMA_VERSION, camel, envelope_of, wire_form
from models.money import MAX_TOTAL
from models.saga import (
    CancelReason,
    Coordinator,
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    OrderId,
    OrderPaid,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    UserId,
)
from models.texts import LONGEST_ID, PAYMENT_METHOD

_REF: Final = "#/components/schemas/{name}"
_HEADERS: Final[dict[str, Any]] = {
    "title": "Headers",
    "description": "Ours, all optional. Those that begin with `x-saga-` tell of retries, dead letters and replays.",
    "type": "object",
    "properties": {"traceparent": {"type": "string", "description": "The sender's trace (W3C Trace Context)."}},
}
_READERS: Final = {ORDER_QUEUE: "order service", PAYMENT_QUEUE: "payment service", MIRROR_QUEUE: "saga worker"}
_DESCRIPTION: Final = """\
What the parts of the system say to each other through RabbitMQ, and to whoever else wants to listen. Exchanges are
topic exchanges; messages are JSON and persistent, and a routing key stands for one type of message. Delivery is at
least once: a reader recognises what it has read by `eventId`. Fields that a reader doesn't know are to be ignored.

Events of orchestrated sagas (`coordinator` is `orchestration`) are told, too; nobody may react to them."""
# What is true of a field wherever it stands, beyond its type.
_RULES: Final[dict[str, dict[str, Any]]] = {
    "total": {"minimum": 1, "maximum": MAX_TOTAL, "description": "In minor units of the currency: 999 USD is 9.99."},
    "currency": {"pattern": "^[A-Z]{3}$", "description": "A code of ISO 4217."},
    "paymentMethod": {"pattern": PAYMENT_METHOD},
}
_ORDER: Final = OrderId(UUID("01990c4e-5f00-7000-8000-000000000001"))
_USER: Final = UserId(UUID("d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"))
_CARD: Final = "pm_card_visa"
EXAMPLES: Final[tuple[Message, ...]] = (
    CreateOrderRequested(order_id=_ORDER, user_id=_USER, total=999, payment_method=_CARD),
    OrderCancelRequested(order_id=_ORDER, reason=CancelReason.USER_REQUESTED),
    OrderCreated(order_id=_ORDER, user_id=_USER, total=999, payment_method=_CARD),
    OrderCancelled(order_id=_ORDER, reason=CancelReason.USER_REQUESTED, total=999, currency="USD"),
    OrderPaid(order_id=_ORDER),
    OrderFailed(order_id=_ORDER, reason="The provider refused"),
    PaymentApproved(order_id=_ORDER, transaction_id="txn_1"),
    PaymentDeclined(order_id=_ORDER, reason="Insufficient funds"),
    PaymentFailed(order_id=_ORDER, error="The provider refused"),
    PaymentCancelled(order_id=_ORDER),
    PaymentRefunded(order_id=_ORDER, transaction_id="txn_1"),
)


def document() -> dict[str, Any]:
    """The description of all messages, in AsyncAPI 3."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Payment saga: messages",
            "version": version("payment-saga"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {name.value: _channel(name) for name in MESSAGE_TYPES},
        "operations": {**_sending(), **_receiving()},
        "components": {"messages": {each.value: _message(each) for each in MESSAGE_TYPES}, "schemas": _schemas()},
    }


def sender_of(message: MessageType) -> str:
    """Which part of the system publishes messages of this type."""
    match message:
        case CommandType.CREATE_ORDER_REQUESTED | CommandType.ORDER_CANCEL_REQUESTED:
            return "gateway"
        case EventType.ORDER_CREATED | EventType.ORDER_CANCELLED | EventType.ORDER_PAID | EventType.ORDER_FAILED:
            return "order service"
        case (
            EventType.PAYMENT_APPROVED
            | EventType.PAYMENT_DECLINED
            | EventType.PAYMENT_FAILED
            | EventType.PAYMENT_CANCELLED
            | EventType.PAYMENT_REFUNDED
        ):
            return "payment service"
        case _ as never:
            assert_never(never)


def _channel(name: MessageType) -> dict[str, Any]:
    exchange, routing_key = ROUTES[name]
    binding = {
        "is": "routingKey",
        "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
        "bindingVersion": "0.3.0",
    }
    return {
        "address": routing_key,
        "title": f"{exchange}, {routing_key}",
        "messages": {name.value: {"$ref": f"#/components/messages/{name.value}"}},
        "bindings": {"amqp": binding},
    }


def _operation(name: MessageType, *, action: str, who: str, verb: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name.value}"},
        "title": f"The {who} {verb} {name.value}",
        "tags": [{"name": who}],
        "messages": [{"$ref": f"#/channels/{name.value}/messages/{name.value}"}],
    }


def _sending() -> dict[str, Any]:
    return {
        f"send{name.value}": _operation(name, action="send", who=sender_of(name), verb="sends")
        for name in MESSAGE_TYPES
    }


def _receiving() -> dict[str, Any]:
    operations = {}
    for queue, who in _READERS.items():
        for name, route in ROUTES.items():
            if route in BINDINGS[queue] or (queue == MIRROR_QUEUE and isinstance(name, EventType)):
                operation = _operation(name, action="receive", who=who, verb="reads")
                by = "".join(word.capitalize() for word in who.split())
                operations[f"receive{name.value}By{by}"] = {**operation, "description": f"From the queue `{queue}`."}
    return operations


def _message(name: MessageType) -> dict[str, Any]:
    (example,) = (each for each in EXAMPLES if type(each) is MESSAGE_TYPES[name])
    return {
        "name": name.value,
        "title": name.value,
        "summary": (MESSAGE_TYPES[name].__doc__ or "").strip(),
        "contentType": "application/json",
        "correlationId": {"location": "$message.payload#/correlationId"},
        "headers": {"$ref": _REF.format(name="Headers")},
        "payload": {
            "allOf": [
                {"$ref": _REF.format(name="Envelope")},
                {
                    "type": "object",
                    "properties": {
                        "eventType": {"const": name.value},
                        "payload": {"$ref": _REF.format(name=name.value)},
                    },
                },
            ]
        },
        "examples": [{"name": "one", "payload": _as_sent(example)}],
        "bindings": {"amqp": {"messageType": name.value, "bindingVersion": "0.3.0"}},
    }


def _as_sent(message: Message) -> dict[str, Any]:
    return wire_form(
        envelope_of(
            message,
            event_id=UUID("7d444840-9dc0-51d1-b245-5ffdce74fad2"),
            occurred_at=datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC),
            correlation_id="shop-4711",
        )
    )


def _schemas() -> dict[str, Any]:
    _, found = msgspec.json.schema_components([*MESSAGE_TYPES.values()], ref_template=_REF)
    return {
        "Envelope": _envelope(),
        "Headers": _HEADERS,
        **{name: _on_the_wire(name, schema) for name, schema in found.items()},
    }


def _on_the_wire(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a class, as its values travel: names in camel case, and what only the wire knows."""
    if "properties" not in schema:
        return {"type": "string", **schema}
    fields = {camel(field): each | _RULES.get(camel(field), {}) for field, each in schema["properties"].items()}
    required = [camel(field) for field in schema["required"]]
    if name == CreateOrderRequested.__name__:
        required.remove("orderId")
        fields["orderId"]["description"] = (
            "An original gateway sends none; its orders get one derived from the eventId."
        )
    if name == OrderCancelled.__name__:
        fields["cancelledAt"] = {"type": "string", "format": "date-time"}
    return {**schema, "properties": fields, "required": required}


def _envelope() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
    nothing = "; `null` is the same as leaving it out."
    return {
        "title": "Envelope",
        "description": "What every message says. The original services send and read the first five fields.",
        "type": "object",
        "required": ["eventType", "eventId", "occurredAt", "payload"],
        "properties": {
            "eventType": {"enum": [name.value for name in MESSAGE_TYPES]},
            "eventId": {**text, "description": "The same however often the message is delivered."},
            "occurredAt": {"type": "string", "format": "date-time"},
            "correlationId": {
                "type": ["string", "null"],
                "maxLength": LONGEST_ID,
                "description": "Traces a saga; without one the AMQP property stands in, then the eventId.",
            },
            "payload": {"type": "object"},
            "causationId": {"type": ["string", "null"], "description": f"The eventId that this one answers{nothing}"},
            "schemaVersion": {"type": ["integer", "null"], "description": f"At present {SCHEMA_VERSION}{nothing}"},
            "coordinator": {
                "enum": [*(each.value for each in Coordinator), None],
                "description": f"Who sequences the saga{nothing}",
            },
        },
    }


def page() -> str:
    """docs/asyncapi.json, as it must be committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
