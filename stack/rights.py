"""Say who may do what at the databases and at the broker, once: every installation is given what stands here."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from choreography.topology import (
    BINDINGS,
    DEAD_LETTER_EXCHANGE,
    EVERY_EVENT,
    FEED_QUEUES,
    LATE_EVENTS,
    MIRROR_QUEUE,
    ORDER_QUEUE,
    PAYMENT_QUEUE,
    SHARED_EXCHANGES,
)
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, ROUTES, CommandType, EventType, Route

if TYPE_CHECKING:
    from models.migrations import DatabaseName
    from stack.addresses import Process

OPERATOR: Final = "saga"  # the broker's administrator: people, `saga` commands, the RabbitMQ UI


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What one process may do. Its user at the broker has the process's name, its role at a database the database's.

    It may declare, delete, publish to and read the queues and exchanges that have its `family` name, alone or before a
    dot, and declare the `exchanges` that its events go to.
    """

    database: DatabaseName | None = None
    family: str
    exchanges: tuple[str, ...] = ()
    publishes: tuple[Route, ...] = ()
    hears: tuple[Route, ...] = ()  # what it may bind its queues to

    @property
    def configure(self) -> str:
        return _names(self._family, *map(_exactly, self.exchanges))

    @property
    def write(self) -> str:
        return _names(self._family, *(_exactly(route.exchange) for route in self.publishes))

    @property
    def read(self) -> str:
        return _names(self._family, *(_exactly(route.exchange) for route in self.hears))

    @property
    def _family(self) -> str:
        return _exactly(self.family) + r"(\..+)?"

    @property
    def topics(self) -> Mapping[str, tuple[str, str]]:
        """For each exchange, what it may publish and what it may hear there: patterns of routing and binding keys."""
        return {
            exchange: (_keys(self.publishes, exchange), _keys(self.hears, exchange)) for exchange in SHARED_EXCHANGES
        }


def _service(database: DatabaseName | None, inbox: str, *exchanges: str) -> Rights:
    """A process that reads an inbox, and publishes the events of these exchanges, which it owns."""
    aside = Route(DEAD_LETTER_EXCHANGE, inbox)
    events = (*(ROUTES[event] for event in EventType), *LATE_EVENTS)
    return Rights(
        database=database,
        family=inbox,
        exchanges=exchanges,
        publishes=(*(route for route in events if route.exchange in exchanges), aside),
        hears=(*BINDINGS[inbox], *(LATE_EVENTS if inbox == MIRROR_QUEUE else ()), aside),
    )


RIGHTS: Final[Mapping[Process, Rights]] = {
    "order": _service("orders", ORDER_QUEUE, ORDERS_EXCHANGE),
    "payment": _service("payments", PAYMENT_QUEUE, PAYMENTS_EXCHANGE),
    "worker": _service(None, MIRROR_QUEUE),
    "gateway": Rights(
        family=FEED_QUEUES, publishes=tuple(ROUTES[command] for command in CommandType), hears=EVERY_EVENT
    ),
}

USERS: Final = (OPERATOR, *RIGHTS)


def definitions(password_hashes: Mapping[str, str], *, vhost: str = "/") -> dict[str, Any]:
    """Users, permissions and shared exchanges as RabbitMQ imports definitions.

    `password_hashes` are by user: the processes and the operator. A user without one is left out, and stays as it is.
    """
    users = [each for each in USERS if each in password_hashes]
    return {
        "users": [_user(name, password_hashes[name]) for name in users],
        "vhosts": [{"name": vhost}],
        "permissions": [_permission(name, vhost) for name in users],
        "topic_permissions": [each for name in users if name != OPERATOR for each in _topic_permissions(name, vhost)],
        "exchanges": [
            {"name": name, "vhost": vhost, "type": "topic", "durable": True, "auto_delete": False, "internal": False}
            | {"arguments": {}}
            for name in SHARED_EXCHANGES
        ],
    }


def password_hash(password: str) -> str:
    """A salted digest as RabbitMQ keeps it: nobody can tell the password from it."""
    salt = secrets.token_bytes(4)
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _user(name: str, hashed: str) -> dict[str, str]:
    return {
        "name": name,
        "password_hash": hashed,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator" if name == OPERATOR else "",
    }


def _permission(name: str, vhost: str) -> dict[str, str]:
    if name == OPERATOR:
        return {"user": name, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
    rights = _rights_of(name)
    return {
        "user": name,
        "vhost": vhost,
        "configure": rights.configure,
        "write": rights.write,
        "read": rights.read,
    }


def _topic_permissions(name: str, vhost: str) -> list[dict[str, str]]:
    topics = _rights_of(name).topics
    return [
        {"user": name, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
        for exchange, (write, read) in topics.items()
    ]


def _rights_of(name: str) -> Rights:
    return next(rights for process, rights in RIGHTS.items() if process == name)


def _keys(routes: Iterable[Route], exchange: str) -> str:
    return _names(*(_exactly(route.routing_key) for route in routes if route.exchange == exchange))


def _exactly(name: str) -> str:
    return re.sub(r"[^\w-]", r"\\\g<0>", name)


def _names(*patterns: str) -> str:
    """A pattern that fits one of these alone; RabbitMQ looks for a match anywhere."""
    return f"^({'|'.join(dict.fromkeys(patterns))})$" if patterns else "^$"


if __name__ == "__main__":  # deploy/rabbitmq/definitions.json, where start.sh puts digests in the places of the names
    print(json.dumps(definitions({name: f"@{name}@" for name in USERS}), indent=2))
