"""Keep a connection to RabbitMQ: reconnect with bounded, growing delays, and declare the topology anew each time."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, DeliveryMode
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError

from choreography.topology import Topology, declare

log = structlog.get_logger()

OnConnect: TypeAlias = Callable[[AbstractConnection], Awaitable[None]]

_FIRST_DELAY: Final = 0.1  # seconds
_LONGEST_DELAY: Final = 2.0  # seconds


class BrokerUnavailable(Exception):
    """RabbitMQ did not confirm: the message may or may not have arrived. Publishing it again is safe."""


class Unroutable(BrokerUnavailable):
    """RabbitMQ has no queue for the message; it was not stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A message to publish; `mandatory` says that it must reach at least one queue; `expiration` is in seconds."""

    body: bytes
    exchange: str
    routing_key: str
    message_id: str
    correlation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    expiration: float | None = None


class Broker:
    """A connection to RabbitMQ that comes back by itself, with a channel for confirmed publishing."""

    def __init__(self, url: str, *, name: str, topology: Topology) -> None:
        self.topology = topology
        self._url = url
        self._name = name
        self._on_connect: list[OnConnect] = []
        self._channel: AbstractChannel | None = None
        self._lost = asyncio.Event()
        self._ready = asyncio.Event()
        self._incomplete = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._channel is not None and not self._lost.is_set()

    def on_connect(self, hook: OnConnect) -> None:
        """Have this called with every new connection, before the connection counts as made."""
        self._on_connect.append(hook)

    async def wait_connected(self, timeout: float) -> None:
        """Return once there is a usable connection. Raises BrokerUnavailable after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._ready.wait(), timeout)
        except TimeoutError:
            raise BrokerUnavailable(f"RabbitMQ could not be reached within {timeout:g} s") from None

    def lose(self, *_: object) -> None:
        """Give the connection up, so that it is made anew: something on it has broken."""
        self._lost.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delay = _FIRST_DELAY
        while True:
            try:
                await self._stay_connected()
                delay = _FIRST_DELAY
            except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
                log.warning(
                    "broker_unavailable", connection=self._name, error=_describe(error), retry_in=round(delay, 2)
                )
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _stay_connected(self) -> None:
        self._lost = asyncio.Event()
        connection = await aio_pika.connect(
            self._url, timeout=5, client_properties={"connection_name": self._name}, heartbeat=10
        )
        try:
            connection.close_callbacks.add(self.lose)
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            channel.close_callbacks.add(self.lose)
            await declare(channel, self.topology)
            self._channel = channel
            for hook in self._on_connect:
                await hook(connection)
            self._ready.set()
            log.info("broker_connected", connection=self._name)
            await self._keep_topology(channel)
            log.warning("broker_connection_lost", connection=self._name)
        finally:
            self._channel = None
            self._ready.clear()
            with suppress(AMQPError, OSError, TimeoutError, RuntimeError):
                await asyncio.wait_for(connection.close(), 2)

    async def _keep_topology(self, channel: AbstractChannel) -> None:
        """Until the connection is lost, declare anew what somebody has deleted, at most once a second."""
        lost = asyncio.create_task(self._lost.wait())
        try:
            while not lost.done():
                incomplete = asyncio.create_task(self._incomplete.wait())
                await asyncio.wait((lost, incomplete), return_when=asyncio.FIRST_COMPLETED)
                incomplete.cancel()
                if not lost.done():
                    await declare(channel, self.topology)
                    self._incomplete.clear()
                    await asyncio.wait((lost,), timeout=1)
        finally:
            lost.cancel()

    async def publish(self, message: Outgoing, *, timeout: float = 10.0) -> None:
        """Publish; confirmed on return. Raises Unroutable, or BrokerUnavailable after `timeout` seconds."""
        channel = self._channel
        if channel is None or self._lost.is_set():
            raise BrokerUnavailable("there is no connection to RabbitMQ")
        try:
            await publish_confirmed(channel, message, timeout=timeout)
        except Unroutable:
            self._incomplete.set()
            raise

    async def publish_all(self, messages: Sequence[Outgoing]) -> list[BrokerUnavailable | None]:
        """Publish in the given order with pipelined confirms; for each message, what went wrong, or None."""
        results = await asyncio.gather(*map(self.publish, messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, BrokerUnavailable):
                raise result
        return [result if isinstance(result, BrokerUnavailable) else None for result in results]


async def publish_confirmed(channel: AbstractChannel, message: Outgoing, *, timeout: float = 10.0) -> None:
    """Publish on a channel that confirms. Raises Unroutable, or BrokerUnavailable after `timeout` seconds."""
    amqp_message = aio_pika.Message(
        message.body,
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        headers=message.headers,
        expiration=message.expiration,
    )
    try:
        underlay = await channel.get_underlay_channel()
        await underlay.basic_publish(
            message.body,
            exchange=message.exchange,
            routing_key=message.routing_key,
            properties=amqp_message.properties,
            mandatory=message.mandatory,
            timeout=timeout,
        )
    except PublishError as error:
        where = f"exchange {message.exchange!r} with routing key {message.routing_key!r}"
        raise Unroutable(f"no queue is bound to {where}") from error
    except DeliveryError as error:
        raise BrokerUnavailable(f"RabbitMQ rejected the message: {_describe(error)}") from error
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerUnavailable(f"RabbitMQ gave no confirm: {_describe(error)}") from error
    except (TypeError, ValueError, struct.error) as error:
        # A message that AMQP cannot carry fails alone; it must not take its publisher down.
        raise BrokerUnavailable(f"it cannot be written as an AMQP message: {_describe(error)}") from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
