"""Wire the worker: the workflows, and the feed of the mirrors; it opens no database."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from api.health import health_routes
from choreography.broker import Broker
from choreography.topology import MIRROR_QUEUE, Topology
from stack.process import Wired
from stack.settings import Settings
from workflows import worker
from workflows.connection import answers, connect
from workflows.mirror_feed import MirrorFeed
from workflows.mirrors import SagaMirrors


async def wire_worker(settings: Settings) -> Wired:
    """The worker: it needs the broker and Temporal, and waits for neither to start."""
    client = await connect(settings.temporal_address, settings.temporal_namespace)
    broker = Broker(
        settings.amqp_url.get_secret_value(),
        name=f"{MIRROR_QUEUE} consumer",
        topology=Topology(retry_delays=settings.retry_delays),
    )
    mirrors = SagaMirrors(
        client, payment_timeout=settings.payment_timeout, compensation_timeout=settings.compensation_timeout
    )

    async def repair() -> None:
        await worker.register(client)  # its store may have been wiped

    feed = MirrorFeed(
        broker,
        mirrors,
        repair=repair,
        prefetch=settings.mirror_prefetch,
        concurrency=settings.mirror_concurrency,
    )

    async def readiness() -> Mapping[str, str]:
        return {
            "broker": "ok"
            if feed.consuming
            else "connected, but not consuming"
            if broker.connected
            else "not connected",
            "temporal": await answers(client),
        }

    app = FastAPI(title="Saga worker", openapi_url=None)
    app.include_router(health_routes(readiness))
    return Wired(app=app, background=[broker.run(), worker.run(client)], finish=[feed.drain])
