"""Fakes of everything that the gateway talks to."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
from fastapi import FastAPI

from api.access import Access
from api.crowd import Network
from api.gateway.app import create_gateway
from api.gateway.dependencies import (
    Breaker,
    GatewaySettings,
    Limits,
    Listener,
    ServiceRequest,
    ServiceResponse,
    TimelineSource,
)
from api.gateway.keys import ApiKey
from api.telemetry import Telemetry
from choreography.outgoing_message import BrokerUnavailable, NotStored
from models.messages import Envelope, encode
from models.originals import NO_ORIGINALS, Originals
from models.saga import Coordinator, CreateOrderRequested
from workflows.temporal_errors import RequestNotTaken, TemporalUnavailable
from workflows.timeline import build, timeline_as_json
from workflows.timeline_queries import WorkflowFacts

NOW = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)


class FakeBroker:
    """Confirms what is published, unless it is away or doesn't answer."""

    def __init__(self) -> None:
        self.published: list[Envelope] = []
        self.away = False
        self.hangs = False
        self.on_publish: Callable[[Envelope], None] = lambda _: None

    async def publish(self, envelope: Envelope) -> None:
        if self.away:
            raise NotStored("there is no connection to RabbitMQ")
        if self.hangs:
            await asyncio.Event().wait()
        self.published.append(envelope)
        self.on_publish(envelope)


@dataclass(frozen=True)
class Started:
    """A saga that was started."""

    command: CreateOrderRequested
    event_id: UUID
    correlation_id: str


class FakeOrchestration:
    """Keeps the requests that it gets, unless it is away or doesn't answer."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.cancelled: list[tuple[UUID, str]] = []
        self.swept = 0
        self.away = False
        self.hangs = False

    async def start(self, command: CreateOrderRequested, *, event_id: UUID, correlation_id: str) -> None:
        await self._answer()
        self.started.append(Started(command, event_id, correlation_id))

    async def cancel(self, order_id: UUID, *, correlation_id: str) -> None:
        await self._answer()
        self.cancelled.append((order_id, correlation_id))

    async def orchestrates(self, order_id: UUID) -> bool:
        await self._answer()
        return any(saga.command.order_id == order_id for saga in self.started)

    async def reconcile(self) -> None:
        await self._answer()
        self.swept += 1

    async def _answer(self) -> None:
        if self.away:
            raise RequestNotTaken("Temporal does not answer")
        if self.hangs:
            await asyncio.Event().wait()


class FakeTimelines:
    """The timelines that workflows tell, unless Temporal is away or its worker doesn't answer."""

    def __init__(self) -> None:
        self.told: dict[UUID, Any] = {}
        self.known: dict[UUID, WorkflowFacts] = {}
        self.away = False
        self.hangs = False

    def tell(self, order_id: UUID, *events: Envelope) -> None:
        told = timeline_as_json(build(events, source="workflow"))
        self.told[order_id] = msgspec.json.decode(msgspec.json.encode(told))

    async def timeline(self, order_id: UUID) -> Any:
        await self._answer()
        return self.told.get(order_id)

    async def facts(self, order_id: UUID) -> WorkflowFacts | None:
        await self._answer()
        return self.known.get(order_id)

    async def _answer(self) -> None:
        if self.away:
            raise TemporalUnavailable("Temporal does not answer")
        if self.hangs:
            await asyncio.Event().wait()


class _Watcher:
    def __init__(self) -> None:
        self.items: asyncio.Queue[Envelope | None] = asyncio.Queue()
        self.closed = False

    def __aiter__(self) -> AsyncIterator[Envelope | None]:
        return self

    async def __anext__(self) -> Envelope | None:
        return await self.items.get()


class FakeFeed:
    """Delivers the events that a test pushes to all subscribers."""

    def __init__(self) -> None:
        self.away = False
        self.hangs = False
        self.watchers: defaultdict[UUID, list[_Watcher]] = defaultdict(list)
        self.listeners: list[Listener] = []
        self.on_subscribe: Callable[[UUID], None] = lambda _: None
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def subscribe(self, order_id: UUID) -> AsyncIterator[AsyncIterator[Envelope | None]]:
        if self.away:
            raise BrokerUnavailable("there is no connection to RabbitMQ")
        if self.hangs:
            await asyncio.Event().wait()
        watcher = _Watcher()
        self.watchers[order_id].append(watcher)
        self.on_subscribe(order_id)
        async with self._changed:
            self._changed.notify_all()
        try:
            yield watcher
        finally:
            self.watchers[order_id].remove(watcher)

    @asynccontextmanager
    async def listen(self, listener: Listener) -> AsyncIterator[None]:
        if self.away:
            raise BrokerUnavailable("there is no connection to RabbitMQ")
        if self.hangs:
            await asyncio.Event().wait()
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def push(self, order_id: UUID, *events: Envelope | None) -> None:
        for watcher in self.watchers[order_id]:
            for event in events:
                watcher.items.put_nowait(event)
        for listener in self.listeners:
            for event in events:
                listener.heard(event) if event is not None else listener.missed()

    async def subscribed(self, order_id: UUID) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.watchers[order_id]))

    @property
    def idle(self) -> bool:
        return not self.listeners and not any(self.watchers.values())


@dataclass(frozen=True)
class Asked:
    """A request that a fake service got."""

    method: str
    path: str
    params: dict[str, Any]
    content: Any
    correlation_id: str


class FakeService:
    """A service's read API: what it says at each path, 404 elsewhere."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[int, bytes]] = {}
        self.keys: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[Asked] = []
        self.away = False
        self.hangs = False
        self.on_request: Callable[[Asked], None] = lambda _: None

    def tell(self, path: str, content: Any, status: int = 200) -> None:
        self.says[path] = (status, json.dumps(content, separators=(",", ":")).encode())

    def log(self, path: str, *events: Envelope) -> None:
        self.says[path] = (200, b'{"data":[%s]}' % b",".join(map(encode, events)))

    async def request(self, question: ServiceRequest) -> ServiceResponse:
        path, body = question.path, json.loads(question.content or b"{}")
        traced_by = question.headers.get("X-Correlation-Id", "")
        asked = Asked(question.method, path, dict(question.params or {}), body, traced_by)
        self.asked.append(asked)
        self.on_request(asked)
        if self.away:
            raise ConnectionRefusedError("connection refused")
        if self.hangs:
            await asyncio.Event().wait()
        if path == "/idempotency-keys":
            kept = self.keys.setdefault(
                (body["scope"], body["key"]), {"orderId": body["orderId"], "digest": body["digest"]}
            )
            return ServiceResponse(200, json.dumps(kept).encode())
        return ServiceResponse(*self.says.get(path, (404, b"{}")))


@dataclass
class Neighbours:
    """Everything that a gateway talks to, and the gateway itself."""

    broker: FakeBroker = field(default_factory=FakeBroker)
    orchestration: FakeOrchestration = field(default_factory=FakeOrchestration)
    timelines: FakeTimelines = field(default_factory=FakeTimelines)
    real_timelines: TimelineSource | None = None  # asked instead of the fake ones
    feed: FakeFeed = field(default_factory=FakeFeed)
    orders: FakeService = field(default_factory=FakeService)
    payments: FakeService = field(default_factory=FakeService)
    worker: FakeService = field(default_factory=FakeService)
    now: datetime = NOW
    checks: dict[str, str] = field(default_factory=lambda: {"broker": "ok"})
    limits: Limits = field(
        default_factory=lambda: Limits(
            answer=0.3, command=0.05, query=0.2, cancel_query=0.05, workflow=0.1, grace=0.3, patience=0.5
        )
    )
    default_coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    secret: bytes = b"token"
    access: Access = field(default_factory=Access)
    originals: Originals = NO_ORIGINALS
    keys: tuple[ApiKey, ...] = ()
    telemetry: Telemetry | None = None
    rate: float | None = None
    proxies: tuple[Network, ...] = ()
    temporal_ui: str | None = None
    breaker: Breaker | None = None

    def gateway(self) -> FastAPI:
        async def readiness() -> dict[str, str]:
            return self.checks

        return create_gateway(
            commands=self.broker,
            orchestration=self.orchestration,
            timelines=self.real_timelines or self.timelines,
            feed=self.feed,
            orders=self.orders,
            payments=self.payments,
            worker=self.worker,
            reconciler=self.orchestration,
            clock=lambda: self.now,
            readiness=readiness,
            breaker=self.breaker,
            access=self.access,
            settings=GatewaySettings(
                limits=self.limits,
                default_coordinator=self.default_coordinator,
                originals=self.originals,
                secret=self.secret,
                keys=self.keys,
                rate=self.rate,
                proxies=self.proxies,
                temporal_ui=self.temporal_ui,
            ),
            telemetry=self.telemetry,
        )

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.gateway(), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
