"""Wire the gateway. It loads no database driver and no table."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from temporalio.client import Client

from api.access import Access
from api.gateway.app import create_gateway
from api.gateway.dependencies import GatewaySettings
from api.gateway.orchestration import Orchestration
from api.gateway.saga_starts import OrderServiceStarts
from api.gateway.service_client import ServiceClient
from api.health import DEGRADED
from api.tokens import DIGEST
from choreography.broker import Broker
from choreography.command_publisher import CommandPublisher
from choreography.feed import Feed
from choreography.topology import Topology
from embedded.control import Control
from embedded.errors import StackError
from metrics.measuring import Measuring
from stack.process import Wired
from stack.settings import Settings
from stack.temporal import client_of
from tracing.tracing import Tracing
from workflows.temporal_client import answers
from workflows.timeline_queries import WorkflowTimelines


async def wire_gateway(settings: Settings, stack: AsyncExitStack, tracing: Tracing) -> Wired:
    """Wire the gateway. It needs the broker for commands and the services for queries, and waits for neither."""
    amqp_url = settings.amqp_url.get_secret_value()
    # It declares no service's queue: a command that no queue takes must be refused. The feed declares its own queue.
    topology, every = Topology(reads=()), settings.topology_interval
    publishing = Broker(
        amqp_url, name="gateway publisher", topology=topology, declare_every=every, traces=tracing.messages
    )
    listening = Broker(amqp_url, name="gateway feed", topology=topology, declare_every=every)
    feed = Feed()
    listening.on_connect(feed.on_connect)

    token = settings.internal_token.get_secret_value()
    if token.startswith(DIGEST):
        raise StackError(
            "SAGA_INTERNAL_TOKEN is a digest, and the gateway must show the token; give it the token itself"
        )
    http = tracing.gateway
    orders, payments, worker = [
        await stack.enter_async_context(ServiceClient(url.get_secret_value(), token=token, traces=http))
        for url in (settings.order_service_url, settings.payment_service_url, settings.worker_url)
    ]

    measuring = Measuring(enabled=settings.metrics)
    temporal = await client_of(settings, measuring, tracing)
    orchestration = Orchestration(
        temporal,
        payment_timeout=settings.payment_timeout,
        retry_delays=settings.retry_delays,
        there=OrderServiceStarts(orders) if not settings.originals else None,
        traces=http,
    )

    app = create_gateway(
        commands=CommandPublisher(publishing),
        orchestration=orchestration,
        timelines=WorkflowTimelines(temporal),
        feed=feed,
        orders=orders,
        payments=payments,
        worker=worker,
        reconciler=orchestration,
        clock=lambda: datetime.now(UTC),
        readiness=partial(_readiness, publishing, temporal, orders, payments),
        breaker=Control(Path(settings.supervised_in)) if settings.supervised_in else None,
        access=Access(hosts=settings.allowed_hosts, origins=settings.cors_origins),
        settings=_gateway_settings(settings, token),
        telemetry=measuring.telemetry(),
        traces=http,
    )

    async def end_streams(_timeout: float) -> None:
        await feed.close()  # the readers reconnect with Last-Event-ID to the gateway that answers then

    return Wired(app=app, background=[publishing.run(), listening.run(), *measuring.background], finish=[end_streams])


async def _readiness(
    publishing: Broker, temporal: Client, orders: ServiceClient, payments: ServiceClient
) -> Mapping[str, str]:
    """Commands need the broker alone. Without the others the gateway is still worth sending requests to."""
    optional = await asyncio.gather(answers(temporal), orders.reads("/orders"), payments.reads("/payments"))
    named = zip(("temporal", "orders", "payments"), optional, strict=True)
    return {
        "broker": publishing.standing,
        **{name: state if state == "ok" else f"{DEGRADED}{state}" for name, state in named},
    }


def _gateway_settings(settings: Settings, token: str) -> GatewaySettings:
    return GatewaySettings(
        default_coordinator=settings.default_coordinator,
        originals=settings.originals,
        secret=token.encode(),
        rate=settings.rate_limit,
        longest_wait=settings.longest_wait,
        keys=settings.api_keys,
        proxies=settings.trusted_proxies,
        temporal_ui=settings.temporal_ui_url or None,
    )
