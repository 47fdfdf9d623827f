"""Wire each process from its parts; the only place that does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias, TypeVar, assert_never

import httpx
import psycopg
import structlog
from fastapi import FastAPI

import api.ports
from activities import faults
from activities.ledger import Book, Ledger
from activities.orders import ORDERS
from activities.payments import PAYMENTS, PaymentActivities
from activities.providers import PaymentProvider
from activities.providers.simulated import SimulatedProvider
from api.gateway import create_gateway
from api.orders import create_orders_app
from api.payments import create_payments_app
from choreography.broker import Broker
from choreography.consumer import Consumer
from choreography.feed import Feed
from choreography.publisher import CommandPublisher, Publisher
from choreography.reactions import Reactions, order_reactions, payment_reactions
from choreography.relay import Relay
from choreography.replay import Replay
from choreography.topology import ORDER_QUEUE, PAYMENT_QUEUE, Topology
from models.database import Database
from models.migrations import Service, migrate
from stack.errors import StackError
from stack.process import Wired, listen, serve, stop_signal
from stack.settings import Process, Settings

log = structlog.get_logger()

Readiness: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
State = TypeVar("State")

_QUERY_TIMEOUT = 5.0  # seconds; the gateway's own limits are shorter


class _CreateApp(Protocol):
    def __call__(
        self, *, database: Database, token: str, readiness: Readiness, replay: api.ports.ReplayPort
    ) -> FastAPI: ...


async def run(process: Process, settings: Settings) -> None:
    """Run one process until SIGTERM or SIGINT, then finish what was begun. Raises StackError if it can't start."""
    faults.arm(settings.crash_at)
    stop = stop_signal()
    with listen(settings.host, settings.port_of(process), process) as listener:
        async with AsyncExitStack() as stack:
            wired = await _wire(process, settings, stack, stop)
            if wired is not None:
                await serve(wired, listener, stop, settings.shutdown_timeout)


async def _wire(process: Process, settings: Settings, stack: AsyncExitStack, stop: asyncio.Event) -> Wired | None:
    match process:
        case "gateway":
            return await _gateway(settings, stack)
        case "order":
            database = await _database("orders", settings, stack, stop)
            return _order_service(settings, database) if database else None
        case "payment":
            database = await _database("payments", settings, stack, stop)
            return _payment_service(settings, database) if database else None
        case _ as never:
            assert_never(never)


async def _gateway(settings: Settings, stack: AsyncExitStack) -> Wired:
    topology = Topology(retry_delays=settings.retry_delays)
    publishing = _broker(settings, "gateway publisher", topology)
    listening = _broker(settings, "gateway feed", topology)
    feed = Feed()
    listening.on_connect(feed.on_connect)

    async def client(url: str) -> httpx.AsyncClient:
        token = settings.internal_token.get_secret_value()
        return await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_QUERY_TIMEOUT)
        )

    async def readiness() -> Mapping[str, str]:
        return {"broker": "ok" if publishing.connected else "not connected"}

    app = create_gateway(
        commands=CommandPublisher(publishing),
        feed=feed,
        orders=await client(settings.order_service_url),
        payments=await client(settings.payment_service_url),
        clock=lambda: datetime.now(UTC),
        readiness=readiness,
        settings=api.ports.Settings(default_coordinator=settings.default_coordinator),
    )
    return Wired(app=app, background=[publishing.run(), listening.run()])


def _order_service(settings: Settings, database: Database) -> Wired:
    return _service(
        settings, database, ORDERS, queue=ORDER_QUEUE, reactions=order_reactions, create_app=create_orders_app
    )


def _payment_service(settings: Settings, database: Database) -> Wired:
    provider, running = _provider(settings, database)
    wired = _service(
        settings,
        database,
        PAYMENTS,
        queue=PAYMENT_QUEUE,
        reactions=lambda ledger: payment_reactions(PaymentActivities(ledger, provider)),
        create_app=create_payments_app,
    )
    wired.background.append(running)
    return wired


def _service(
    settings: Settings,
    database: Database,
    book: Book[State],
    *,
    queue: str,
    reactions: Callable[[Ledger[State]], Reactions],
    create_app: _CreateApp,
) -> Wired:
    topology = Topology(retry_delays=settings.retry_delays)
    # Two connections: a broker that throttles publishers must not hold back acknowledgements.
    publishing = _broker(settings, f"{queue} publisher", topology)
    consuming = _broker(settings, f"{queue} consumer", topology)
    publisher = Publisher(publishing, database)
    ledger = Ledger(database, book, publisher, limit=settings.batch_limit)
    consumer = Consumer(consuming, queue, reactions(ledger), prefetch=settings.prefetch)
    relay = Relay(publishing, database, grace=settings.relay_grace, interval=settings.relay_interval)

    async def readiness() -> Mapping[str, str]:
        return {"database": await _answers(database), "broker": _consumes(publishing, consumer)}

    app = create_app(
        database=database,
        token=settings.internal_token.get_secret_value(),
        readiness=readiness,
        replay=Replay(publishing, database),
    )
    return Wired(
        app=app,
        background=[publishing.run(), consuming.run(), publisher.run(), ledger.run(), relay.run()],
        finish=[consumer.drain, publisher.flush],
    )


def _provider(settings: Settings, database: Database) -> tuple[PaymentProvider, Coroutine[Any, Any, None]]:
    if settings.provider == "stripe":
        from activities.providers.stripe import StripeProvider  # the library is large; the simulation needs none of it

        stripe = StripeProvider(settings.stripe_api_key.get_secret_value(), timeout=settings.provider_timeout)
        return stripe, stripe.run()
    simulated = SimulatedProvider(
        database,
        latency=settings.provider_latency_ms / 1000,
        decline_rate=settings.provider_decline_rate,
        timeout=settings.provider_timeout,
    )
    return simulated, simulated.run()


def _broker(settings: Settings, name: str, topology: Topology) -> Broker:
    return Broker(settings.amqp_url.get_secret_value(), name=name, topology=topology)


async def _database(
    service: Service, settings: Settings, stack: AsyncExitStack, stop: asyncio.Event
) -> Database | None:
    """The service's database, migrated; waits for a server that is still starting, None if told to stop meanwhile."""
    secret = settings.orders_database_url if service == "orders" else settings.payments_database_url
    url = secret.get_secret_value()
    while not stop.is_set():
        try:
            await asyncio.to_thread(migrate, service, url)
        except psycopg.OperationalError as error:
            if _is_final(error):
                raise StackError(_refused(service, error)) from None
            log.warning("database_unavailable", database=service, error=str(error).strip())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.3)
        else:
            database = Database(url, name=f"{service} service", max_connections=settings.database_connections)
            await database.open()
            stack.push_async_callback(database.close)
            return database
    return None


def _is_final(error: psycopg.OperationalError) -> bool:
    return any(sign in str(error) for sign in ("authentication failed", "does not exist", "no pg_hba.conf entry"))


def _refused(service: Service, error: psycopg.OperationalError) -> str:
    why = str(error).strip().splitlines()[-1]
    return f"The database {service!r} refuses us: {why}. Check SAGA_{service.upper()}_DATABASE_URL"


async def _answers(database: Database) -> str:
    try:
        await asyncio.wait_for(database.query("SELECT 1"), 1.0)
    except Exception as error:
        return f"does not answer: {type(error).__name__}"
    return "ok"


def _consumes(publishing: Broker, consumer: Consumer) -> str:
    if not publishing.connected:
        return "not connected"
    return "ok" if consumer.consuming else "connected, but not consuming"
