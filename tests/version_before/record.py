"""Record what the version before says on the wire: `python -m tests.version_before.record`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from models.message_types import ROUTES, CommandType, EventType
from tests.support.captures import capture, captured
from tests.support.ports import OFFSET
from tests.support.servers import running
from tests.support.temporal import TemporalServer
from tests.support.version_before import COMMIT, VersionBefore, empty_databases
from tests.support.waiting import until
from tests.support.world import World

FILE: Final = Path(__file__).with_name("messages.json")
DEAD_LETTERS: Final = "order-service.dead-letters"
NOBODYS: Final = str(UUID(int=1))  # an order that nobody has placed


def main() -> None:
    """Run sagas of every outcome through processes of the version before, and write what they published."""
    with TemporaryDirectory() as folder, running(Path(folder) / "servers", OFFSET) as servers:
        world, temporal = World(servers, Path(folder)), TemporalServer(Path(folder) / "temporal")
        before = VersionBefore(Path(folder) / "before")
        try:
            temporal.start()
            empty_databases(world)
            world.program = before.program
            world.start("order", "payment", "gateway", "worker", temporal_address=temporal.address)
            capture(world)
            orders = sagas(world)
            FILE.write_text(
                json.dumps(
                    {
                        "version": COMMIT,
                        "messages": first_of_each_kind(until(lambda: all_kinds(world), what="every message was sent")),
                        "deadLetters": dead_letters(world, before),
                    },
                    indent=1,
                )
                + "\n"
            )
            print(f"{FILE.name} has what {COMMIT} says of {len(orders)} orders")
        finally:
            world.close()
            temporal.kill()


def sagas(world: World) -> list[str]:
    """Orders of both coordinators that end in every way."""
    paid = [world.post(coordinator=each) for each in ("choreography", "orchestration")]
    ended = [world.post("pm_card_chargeDeclined"), world.post("pm_error")]
    slow = world.post("pm_slow")
    for order_id in paid:
        world.wait_status(order_id, "PAID", "APPROVED")
    until(lambda: world.find_payment(slow), what="the slow charge has begun")
    for order_id in (paid[0], slow):
        assert world.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
    return [*paid, *ended, slow]


_seen: Final[list[dict[str, Any]]] = []


def all_kinds(world: World) -> list[dict[str, Any]]:
    """Everything that was sent, once there is a message of every type, and one of an orchestrated saga."""
    _seen.extend(captured(world))
    types = {message["body"]["eventType"] for message in _seen}
    assert types >= {*CommandType, *EventType}, {*CommandType, *EventType} - types
    assert "orchestration" in {message["body"]["coordinator"] for message in _seen}
    return list(_seen)


def first_of_each_kind(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for message in messages:
        kinds.setdefault((message["body"]["eventType"], message["body"]["coordinator"]), message)
    return [kinds[kind] for kind in sorted(kinds)]


def dead_letters(world: World, before: VersionBefore) -> list[dict[str, Any]]:
    """A malformed message and one that came too early: as they lie in their queue, and as that version lists them."""
    route = ROUTES[EventType.PAYMENT_APPROVED]
    world.publish(*((route.exchange, route.routing_key, body) for body in (b"no envelope", too_early())))
    until(lambda: world.queues().get(DEAD_LETTERS) == 2, what="both are dead letters")
    arguments = ("dead-letters", "list", "--queue", "order-service", "--json")
    listed = subprocess.run([*before.program, *arguments], env=world.env, capture_output=True, text=True, check=True)
    letters = captured(world, DEAD_LETTERS, keep=True)
    pairs = zip(letters, json.loads(listed.stdout)["data"], strict=True)
    return [{"letter": letter, "listed": as_listed} for letter, as_listed in pairs]


def too_early() -> bytes:
    envelope = {
        "eventType": EventType.PAYMENT_APPROVED,
        "eventId": str(UUID(int=2)),
        "occurredAt": "2026-02-15T01:42:19Z",
        "correlationId": "c",
        "payload": {"orderId": NOBODYS, "transactionId": "tx_1"},
    }
    return json.dumps(envelope).encode()


if __name__ == "__main__":
    main()
