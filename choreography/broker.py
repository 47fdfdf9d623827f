"""Keep a connection to RabbitMQ: reconnect with bounded, growing delays, and declare our own topology repeatedly."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed
from aiormq.exceptions import AuthenticationError, ConnectionNotAllowed, ProbableAuthenticationError
from pamqp.commands import Basic

from choreography import connection_errors
from choreography.confirms import ConfirmedPublishing, describe
from choreography.connecting import connect_to, nodes
from choreography.declaring import declare
from choreography.outgoing_message import BrokerUnavailable, NotStored, NotTaken, OutgoingMessage, Unread, Unroutable
from choreography.readers import Readers
from choreography.topology import Topology, readers
from choreography.traces import SendingTraces
from choreography.unconfirmed import Unconfirmed
from models import tls

log = structlog.get_logger()

OnConnect: TypeAlias = Callable[[AbstractConnection], Awaitable[None]]

_FIRST_DELAY: Final = 0.1  # seconds
_LONGEST_DELAY: Final = 2.0  # seconds
_STEADY: Final = 5.0  # seconds; if a connection is lost sooner, the delay before the next one grows on
# User, password or virtual host are wrong. The connection is retried all the same: the user may be made later.
_REFUSED: Final = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)


class Broker:
    """A connection to RabbitMQ that is made again when it is lost, with a channel for confirmed publishing.

    `url` may name the nodes of a cluster, separated by commas. Each new connection is tried at the next node. The
    topology is declared with each connection and every `declare_every` seconds, because RabbitMQ does not report a
    missing binding.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        topology: Topology,
        declare_every: float = 15.0,
        traces: SendingTraces | None = None,
    ) -> None:
        self.topology = topology
        self._traces = traces
        self._declare_every = declare_every
        self._turn = itertools.cycle(nodes(url))
        self._name = name
        self._on_connect: list[OnConnect] = []
        self._publishing: ConfirmedPublishing | None = None
        self._readers: Readers | None = None
        self._unconfirmed = Unconfirmed()
        self._lost = asyncio.Event()
        self._cause = ""
        self._incomplete = asyncio.Event()
        self._trouble: str | None = None  # why there is no connection

    @property
    def connected(self) -> bool:
        return self._publishing is not None and not self._lost.is_set()

    @property
    def standing(self) -> str:
        """`ok` if it is connected and RabbitMQ takes what is published; else the reason why not, for an operator."""
        if self.connected:
            return self._unconfirmed.standing or "ok"
        return f"not connected: {self._trouble}" if self._trouble else "not connected"

    def on_connect(self, hook: OnConnect) -> None:
        """Call `hook` with every new connection, before `connected` becomes true."""
        self._on_connect.append(hook)

    def lose(self, *about: object) -> None:
        """Give up the connection, so that a new one is made. `about` may say what has broken."""
        if not self._lost.is_set():
            self._cause = _cause(about)
        self._lost.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delay = _FIRST_DELAY
        now = asyncio.get_running_loop().time
        while True:
            node, began = next(self._turn), now()
            try:
                with connection_errors.named():
                    await self._stay_connected(node)
                if now() - began >= _STEADY:
                    delay = _FIRST_DELAY
                log.warning(
                    "broker_connection_lost",
                    node=_place(node),
                    connection=self._name,
                    error=self._cause,
                    after=round(now() - began, 1),
                    retry_in=round(delay, 2),
                )
            except connection_errors.LOST as error:
                # What the broker says itself is no secret, for example that others declared a queue differently.
                fault = tls.BROKER.explain(str(error))
                self._trouble = describe(error) if isinstance(error, ChannelClosed) else fault
                log.warning(
                    "broker_refuses_us: check SAGA_AMQP_URL" if isinstance(error, _REFUSED) else "broker_unavailable",
                    node=_place(node),
                    connection=self._name,
                    error=fault or describe(error),
                    retry_in=round(delay, 2),
                )
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _stay_connected(self, node: str) -> None:
        self._lost = asyncio.Event()
        connection = await connect_to(node, timeout=5, client_properties={"connection_name": self._name})
        try:
            connection.close_callbacks.add(self.lose)
            channel = await connection.channel(publisher_confirms=True)
            channel.close_callbacks.add(self.lose)
            earlier: set[str] = set()
            await declare(channel, self.topology, earlier)
            self._publishing = ConfirmedPublishing(await channel.get_underlay_channel(), self._traces)
            self._readers = Readers(connection, self.topology.readers)
            for hook in self._on_connect:
                await hook(connection)
            log.info("broker_connected", node=_place(node), connection=self._name)
            await self._keep_topology(channel, earlier)
        finally:
            self._publishing = self._readers = None
            with suppress(*connection_errors.LOST), connection_errors.named():
                await asyncio.wait_for(connection.close(), 2)

    async def _keep_topology(self, channel: AbstractChannel, earlier: set[str]) -> None:
        """Declare again what somebody may have deleted, at most once a second, until the connection is lost."""
        lost = asyncio.create_task(self._lost.wait())
        try:
            while not lost.done():
                incomplete = asyncio.create_task(self._incomplete.wait())
                await asyncio.wait((lost, incomplete), timeout=self._declare_every, return_when=asyncio.FIRST_COMPLETED)
                incomplete.cancel()
                if not lost.done():
                    await declare(channel, self.topology, earlier)
                    self._incomplete.clear()
                    await asyncio.wait((lost,), timeout=1)
        finally:
            lost.cancel()

    async def publish(self, message: OutgoingMessage, *, timeout: float = 10.0) -> None:
        """Publish a message, confirmed on return. Raises Unroutable, or BrokerUnavailable after `timeout` seconds."""
        (error,) = await self.publish_all([message], timeout=timeout)
        if error is not None:
            raise error

    async def publish_all(
        self, messages: Sequence[OutgoingMessage], *, timeout: float = 10.0
    ) -> list[BrokerUnavailable | None]:
        """Publish in this order, with pipelined confirms. Returns for each message its error, or None."""
        # Look for readers first. A reader that comes in between then gets the message twice; else it might get none.
        unread = await self.unread(message.routing_key for message in messages if message.mandatory)
        publishing = self._publishing
        if publishing is None or self._lost.is_set():
            return [NotStored("there is no connection to RabbitMQ")] * len(messages)
        sent = asyncio.get_running_loop().time()
        try:
            errors = await publishing.publish(messages, timeout=timeout)
        except asyncio.CancelledError:  # whoever asked has waited long enough
            self._unconfirmed.note(messages, [NotTaken("not confirmed in time")] * len(messages), sent=sent)
            raise
        self._unconfirmed.note(messages, errors, sent=sent)
        if self.topology.queues and any(isinstance(error, Unroutable) for error in errors):
            self._incomplete.set()
        if unread:
            return [
                error or (_nobody_reads(message) if message.routing_key in unread else None)
                for message, error in zip(messages, errors, strict=True)
            ]
        return errors

    async def unread(self, routing_keys: Iterable[str]) -> frozenset[str]:
        """Those of these routing keys whose messages are for a service without a queue; none if that isn't known."""
        return await self._readers.missing(routing_keys) if self._readers is not None else frozenset()


def _nobody_reads(message: OutgoingMessage) -> Unread:
    own, *_ = readers(message.routing_key)
    return Unread(f"nobody reads {message.routing_key!r} yet: there is no queue {own!r}, its service has never run")


def _place(node: str) -> str:
    """The host and port of a node, for a log line. The rest of its URL is secret."""
    parts = urlsplit(node)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


def _cause(about: Sequence[object]) -> str:
    """The reason why a connection is given up, in a few words."""
    for each in about:
        match each:
            case BaseException():
                return describe(each)
            case Basic.Cancel():
                return "RabbitMQ cancelled a consumer: its queue is gone, or has another leader"
    return "it was closed without a reason"
