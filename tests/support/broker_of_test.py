"""A virtual host that belongs to one test: publish into it, and count what its queues hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel
from yarl import URL

from choreography.dead_letters import DeadLetterRecord, DeadLetters
from choreography.topology import MIRROR_QUEUE
from tests.support import http

Result = TypeVar("Result")


class BrokerOfTest:
    """The virtual host `name`; `rabbitmq_api` is the address of the management API."""

    name: str
    amqp_url: str
    rabbitmq_api: str

    @cached_property
    def _http(self) -> httpx.Client:
        """One client for all requests, since each new client loads the machine's certificates."""
        return http.client(timeout=40)

    def publish(self, *messages: tuple[str, str, bytes | Mapping[str, Any]]) -> None:
        """Publish (exchange, routing key, body) in this order, confirmed."""

        async def send(channel: AbstractChannel) -> None:
            for exchange, routing_key, body in messages:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                target = await channel.get_exchange(exchange, ensure=False)
                message = aio_pika.Message(
                    data, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=str(uuid4())
                )
                await target.publish(message, routing_key)

        self.amqp(send)

    def amqp(self, act: Callable[[AbstractChannel], Awaitable[Result]]) -> Result:
        """Do something on a channel of its own."""

        async def run() -> Result:
            async with await aio_pika.connect(self.amqp_url) as connection:
                return await act(await connection.channel(on_return_raises=True))

        return asyncio.run(run())

    def import_definitions(self, wanted: Mapping[str, Any]) -> None:
        """Make users, permissions and exchanges, as an operator does."""
        self._rabbitmq("POST", "definitions", wanted)

    def amqp_url_as(self, user: str, password: str) -> str:
        """The virtual host's address for another user."""
        return str(URL(self.amqp_url).with_user(user).with_password(password))

    def dead_letters(self) -> list[DeadLetterRecord]:
        return asyncio.run(DeadLetters(self.amqp_url).all())

    def waiting(self) -> int:
        """The number of messages in the services' queues and retry queues, without dead letters and mirrors' events."""
        return sum(
            n for name, n in self.queues().items() if not name.endswith(".dead-letters") and name != MIRROR_QUEUE
        )

    def waiting_for_mirrors(self) -> int:
        """The number of events that may not be with their mirrors yet."""
        return self.queues().get(MIRROR_QUEUE, 0)  # until a worker has run, nothing waits for it

    def purge(self, queue: str) -> None:
        """Remove all messages that wait in a queue."""
        self._rabbitmq("DELETE", f"queues/{self.name}/{queue}/contents")

    def bindings(self, queue: str) -> set[tuple[str, str]]:
        """The bindings of a queue as pairs of exchange and routing key, without the default exchange."""
        found = self._rabbitmq("GET", f"queues/{self.name}/{queue}/bindings") or []
        return {(each["source"], each["routing_key"]) for each in found if each["source"]}

    def statistics(self, queue: str) -> Mapping[str, int]:
        """The broker's counts for a queue since its node started. They are some seconds old."""
        counted: Mapping[str, int] = self._rabbitmq("GET", f"queues/{self.name}/{queue}").get("message_stats", {})
        return counted

    def queues(self) -> dict[str, int]:
        """The number of messages in every queue. The counts lag a little."""
        found = self._rabbitmq("GET", f"queues/{self.name}?disable_stats=true&enable_queue_totals=true") or []
        return {queue["name"]: queue.get("messages", 0) for queue in found}

    def _rabbitmq(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, f"{self.rabbitmq_api}/{path}", json=body, timeout=20)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None
