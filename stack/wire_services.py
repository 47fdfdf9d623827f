"""Wire the order service and the payment service. Each has a database and a book; the other parts are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, Unpack

from fastapi import FastAPI
from temporalio.client import Client

from activities.book import Book
from activities.ledger import Ledger
from activities.measures import LedgerMeasures
from activities.order_activities import OrderActivities
from activities.orders import ORDERS, Orders
from activities.payment_activities import PaymentActivities
from activities.payments import PAYMENTS, Payments
from activities.retention import Retention
from activities.saga_trace import SagaTrace
from activities.waits import Waits
from api.access import Access
from api.health import DEGRADED
from api.services.order_service import create_orders_app
from api.services.payment_service import create_payments_app
from api.services.reads import Given
from choreography.broker import Broker
from choreography.consumer import Consumer
from choreography.dead_letters import DeadLetters
from choreography.depths import Depths
from choreography.late_orders import LateOrders
from choreography.publisher import Publisher
from choreography.queue_wait import QueueWait
from choreography.reactions import Reactions, order_reactions, payment_reactions
from choreography.relay import Relay
from choreography.replay import EventReplay
from choreography.subscription import Settled, Settlement
from choreography.suspects import Suspects
from choreography.topology import ORDER_QUEUE, PAYMENT_QUEUE, Topology
from metrics import outbox, queues
from metrics.measuring import Measuring
from models.database import Database
from models.late_events import LateEvents
from models.order import Order
from models.payment import Payment
from models.saga import Coordinator
from stack.process import Wired
from stack.service_database import answers, audit, open_database
from stack.settings import Settings
from stack.temporal import client_of
from stack.wire_provider import wire_provider
from tracing.tracing import Tracing
from workflows.activity_workers import activity_worker
from workflows.naming import PAYMENT_TASK_QUEUE
from workflows.saga_start import StartsBeside
from workflows.serving import Serving
from workflows.worker import serving_sagas

State = TypeVar("State")
# A service's steps in both forms: as reactions to messages, and as Temporal activities.
Steps: TypeAlias = tuple[Reactions, Sequence[Callable[..., Any]]]


class _CreateApp(Protocol):
    def __call__(self, **given: Unpack[Given]) -> FastAPI: ...


class _NewServing(Protocol):
    def __call__(
        self, client: Client, steps: Sequence[Callable[..., Any]], /, *, limit: int, grace: float
    ) -> Serving: ...


async def wire_order_service(
    settings: Settings, stack: AsyncExitStack, stop: asyncio.Event, tracing: Tracing
) -> Wired | None:
    """Wire the order service. Returns None if stopped before its database answered. Raises StackError if it refuses."""
    database = await open_database("orders", settings, stack, stop)
    if database is None:
        return None

    measuring = Measuring(enabled=settings.metrics)

    def steps(ledger: Ledger[Order], waits: Waits) -> Steps:
        orders = Orders(database, ledger, waits, _saga_trace(database, tracing))
        return order_reactions(orders), OrderActivities(database, orders).all

    wired = await _service(
        settings,
        database,
        ORDERS,
        measuring,
        measuring.sagas(),
        tracing,
        queue=ORDER_QUEUE,
        steps=steps,
        serving=serving_sagas,
        create_app=create_orders_app,
    )
    wired.background += _retention(settings, database, ORDERS, keys=settings.idempotency_retention)
    return wired


async def wire_payment_service(
    settings: Settings, stack: AsyncExitStack, stop: asyncio.Event, tracing: Tracing
) -> Wired | None:
    """Wire the payment service. Returns None if stopped before its database answered. Raises StackError as above."""
    database = await open_database("payments", settings, stack, stop)
    if database is None:
        return None
    measuring = Measuring(enabled=settings.metrics)
    provider, running = wire_provider(settings, database, measuring.provider(), tracing.provider)

    def steps(ledger: Ledger[Payment], waits: Waits) -> Steps:
        payments = Payments(ledger, provider, waits, _saga_trace(database, tracing))
        return payment_reactions(payments), PaymentActivities(database, payments).all

    wired = await _service(
        settings,
        database,
        PAYMENTS,
        measuring,
        measuring.batches(),
        tracing,
        queue=PAYMENT_QUEUE,
        steps=steps,
        serving=partial(activity_worker, task_queue=PAYMENT_TASK_QUEUE),
        create_app=create_payments_app,
    )
    wired.background += [running, *_retention(settings, database, PAYMENTS)]
    return wired


async def _service(
    settings: Settings,
    database: Database,
    book: Book[State],
    measuring: Measuring,
    committed: LedgerMeasures | None,
    tracing: Tracing,
    *,
    queue: str,
    steps: Callable[[Ledger[State], Waits], Steps],
    serving: _NewServing,
    create_app: _CreateApp,
) -> Wired:
    publishing, consuming = _brokers(settings, queue, tracing)
    late = LateEvents(settings.mirror_after) if settings.mirror_after else None
    publisher = Publisher(publishing, database, late=late)
    ledger = Ledger(database, book, publisher, limit=settings.batch_limit, measures=committed, traces=tracing.steps)
    waits, depths = Waits(), Depths(consuming)
    reactions, activities = steps(ledger, waits)
    queued = QueueWait(depths, queue)
    consumer = Consumer(
        consuming,
        queue,
        reactions,
        suspects=Suspects(database),
        prefetch=settings.prefetch,
        settled=_to_both(measuring.deliveries(queue), queued.settled),
        traces=tracing.messages,
    )
    measuring.read(outbox.waiting(database), queues.dead_letters(depths, queue))
    relay = Relay(publishing, database, grace=settings.relay_grace, interval=settings.relay_interval, late=late)

    temporal = await client_of(settings, measuring, tracing)
    worker = serving(temporal, activities, limit=settings.prefetch, grace=settings.shutdown_timeout)

    async def drain(timeout: float) -> None:
        await asyncio.gather(consumer.drain(timeout), worker.drain(timeout))

    app = create_app(
        database=database,
        token=settings.internal_token.get_secret_value(),
        access=Access(hosts=settings.allowed_hosts),
        readiness=partial(_readiness, database, publishing, consumer, worker),
        replay=EventReplay(publishing, database, settings.originals, late=late),
        telemetry=measuring.telemetry(),
        waits=partial(_expected, queued, waits),
        traces=tracing.service,
        start_saga=StartsBeside(lambda: worker.client).start if queue == ORDER_QUEUE else None,
        letters=DeadLetters(settings.amqp_url.get_secret_value(), services=(queue,)),
        audit=partial(audit, "orders" if queue == ORDER_QUEUE else "payments", database.url, asyncio.Lock()),
    )
    return Wired(
        app=app,
        background=[
            *(publishing.run(), consuming.run(), publisher.run(), ledger.run(), relay.run(), worker.run()),
            *([LateOrders(publishing, database, late).run()] if late and queue == ORDER_QUEUE else []),
            *measuring.background,
        ],
        finish=[drain, publisher.flush],
    )


def _brokers(settings: Settings, queue: str, tracing: Tracing) -> tuple[Broker, Broker]:
    """Two connections, one that publishes and one that consumes.

    A broker that throttles publishers then does not hold back acknowledgements.
    """
    url, every = settings.amqp_url.get_secret_value(), settings.topology_interval
    nothing = Topology(reads=(), original_queues=settings.original_queues)
    own = Topology(reads=(queue,), retry_delays=settings.retry_delays)
    return (
        Broker(url, name=f"{queue} publisher", topology=nothing, declare_every=every, traces=tracing.messages),
        Broker(url, name=f"{queue} consumer", topology=own, declare_every=every, traces=tracing.messages),
    )


def _to_both(one: Settled, other: Settled) -> Settled:
    def settled(queue: str, settlement: Settlement) -> None:
        one(queue, settlement)
        other(queue, settlement)

    return settled


async def _expected(queued: QueueWait, waits: Waits) -> Mapping[Coordinator, float | None]:
    """How long a new order would wait, in seconds; None: nobody knows."""
    return {Coordinator.CHOREOGRAPHY: await queued.seconds(), Coordinator.ORCHESTRATION: waits.seconds}


async def _readiness(database: Database, publishing: Broker, consumer: Consumer, worker: Serving) -> Mapping[str, str]:
    found, orchestrates = await asyncio.gather(answers(database), worker.readiness())
    return {
        "database": found,
        "broker": consumer.standing if publishing.standing == "ok" else publishing.standing,
        "temporal": orchestrates if orchestrates == "ok" else f"{DEGRADED}{orchestrates}",
    }


def _saga_trace(database: Database, tracing: Tracing) -> SagaTrace | None:
    return None if tracing.steps is None else SagaTrace(database, tracing.steps)


def _retention(
    settings: Settings, database: Database, book: Book[Any], *, keys: float | None = None
) -> list[Coroutine[Any, Any, None]]:
    """The parts that remove old events and keys; none unless the settings ask for it."""
    events = settings.event_log_retention
    if events is None and keys is None:
        return []
    return [Retention(database, book, events=events, keys=keys, interval=settings.retention_interval).run()]
