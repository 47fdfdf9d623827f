"""Wire the worker: workflows and the feed of the mirrors. It opens no database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from temporalio.client import Client

from api.access import Access
from api.health import Readiness
from api.services.internal import create_health_app
from api.services.operator_routes import dead_letter_routes
from choreography.broker import Broker
from choreography.dead_letters import DeadLetters
from choreography.depths import Depths
from choreography.subscription import Subscribe, Subscription
from choreography.topology import MIRROR_QUEUE, Topology
from choreography.traces import MirrorTraces
from metrics import queues
from metrics.flagged import flagged
from metrics.measuring import Measuring
from models.late_events import LateEvents
from stack.process import Wired
from stack.settings import Settings
from stack.temporal import client_of
from tracing.tracing import Tracing
from workflows import worker
from workflows.flagged import Flagged
from workflows.mirror_feed import MirrorFeed
from workflows.mirror_telling import Repair
from workflows.mirrors import SagaMirrors
from workflows.reconciler_schedule import schedule_reconciler
from workflows.serving import Serving
from workflows.sweep import Sweep


async def wire_worker(settings: Settings, tracing: Tracing) -> Wired:
    """Wire the worker. It needs the broker and Temporal, and waits for neither."""
    measuring = Measuring(enabled=settings.metrics)
    client = await client_of(settings, measuring, tracing)
    broker = Broker(
        settings.amqp_url.get_secret_value(),
        name=f"{MIRROR_QUEUE} consumer",
        topology=Topology(reads=(MIRROR_QUEUE,), only_late=settings.mirror_after > 0),
        declare_every=settings.topology_interval,
        traces=tracing.messages,
    )
    prepare = _preparation(settings)
    sagas, mirroring = worker.serving(client, prepare), worker.serving_mirrors(client)
    subscribe = partial(Subscription, broker, MIRROR_QUEUE, settled=measuring.deliveries(MIRROR_QUEUE))
    feed = _feed(settings, client, subscribe, mirroring, repair=partial(prepare, client), traces=tracing.mirrors)
    depths = Depths(broker)
    measuring.read(
        queues.mirrors(depths, feed), queues.dead_letters(depths, MIRROR_QUEUE), flagged(Flagged(client).count_flagged)
    )

    async def stop_serving(timeout: float) -> None:
        await asyncio.gather(sagas.drain(timeout), mirroring.drain(timeout))

    app = create_health_app(
        name="Saga worker",
        token=settings.internal_token.get_secret_value(),
        readiness=_readiness(feed, sagas, mirroring),
        access=Access(hosts=settings.allowed_hosts),
        telemetry=measuring.telemetry(),
        traces=tracing.service,
        routes=[dead_letter_routes(DeadLetters(settings.amqp_url.get_secret_value(), services=(MIRROR_QUEUE,)))],
    )
    return Wired(
        app=app,
        background=[
            broker.run(),
            sagas.run(),
            mirroring.run(),
            worker.keep_prepared(client, prepare),
            *measuring.background,
        ],
        finish=[feed.drain, stop_serving],
        leaves_cycles=True,
    )


def _preparation(settings: Settings) -> worker.Prepare:
    """The function that prepares Temporal: it makes the search attributes and the reconciler's schedule."""
    sweep = Sweep(
        payment_timeout=settings.payment_timeout,
        grace=settings.reconcile_interval,
        payment_patience=settings.payment_patience,
        compensation_patience=settings.compensation_timeout + settings.payment_patience,
        originals=sorted(settings.originals),
    )

    async def prepare(temporal: Client) -> None:
        await worker.register(temporal)
        await schedule_reconciler(temporal, sweep, every=settings.reconcile_interval)

    return prepare


def _feed(
    settings: Settings,
    client: Client,
    subscribe: Subscribe,
    mirroring: Serving,
    *,
    repair: Repair,
    traces: MirrorTraces | None,
) -> MirrorFeed:
    mirrors = SagaMirrors(
        client,
        payment_timeout=settings.payment_timeout,
        compensation_timeout=settings.compensation_timeout,
        beside=lambda: mirroring.client,
        originals=settings.originals,
        late=settings.mirror_after > 0,
    )
    return MirrorFeed(
        subscribe,
        mirrors,
        repair=repair,
        prefetch=settings.mirror_prefetch,
        concurrency=settings.mirror_concurrency,
        gather=settings.mirror_gather,
        late=LateEvents(settings.mirror_after) if settings.mirror_after else None,
        traces=traces,
    )


def _readiness(feed: MirrorFeed, sagas: Serving, mirroring: Serving) -> Readiness:
    async def readiness() -> Mapping[str, str]:
        temporal = await sagas.readiness()
        return {
            "broker": feed.standing,
            "temporal": await mirroring.readiness() if temporal == "ok" else temporal,
        }

    return readiness
