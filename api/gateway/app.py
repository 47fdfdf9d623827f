"""The gateway (port 3000). It sends commands to their coordinator and queries to the services, and owns no data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final, NotRequired, TypedDict, Unpack

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import problems
from api.access import Access
from api.crowd import Network
from api.edge import Edge
from api.gateway.commands import Commands
from api.gateway.console.files import console_file_routes
from api.gateway.console.one_saga import OneSaga
from api.gateway.console.part_routes import part_routes
from api.gateway.console.parts import Parts
from api.gateway.console.saga_routes import console_saga_routes
from api.gateway.console.session_routes import session_routes
from api.gateway.console.sessions import Sessions
from api.gateway.dependencies import (
    Breaker,
    Clock,
    CommandSender,
    EventFeed,
    GatewaySettings,
    QueryClient,
    SagaStarter,
    TimelineSource,
)
from api.gateway.docs_page import add_docs_page
from api.gateway.downstream import ReadApi
from api.gateway.fair_share import Rate, RateLimited, StrangersLimited, too_many
from api.gateway.guard import Guard, keys_asked
from api.gateway.keys import Keys
from api.gateway.operator_routes import operator_routes
from api.gateway.operators import Operators, Reconcilers
from api.gateway.order_ids import OrderIds
from api.gateway.order_routes import order_routes
from api.gateway.original_services import asked_through
from api.gateway.overload import Overload
from api.gateway.payment_routes import payment_routes
from api.gateway.placing import Placing
from api.gateway.queries import Queries
from api.gateway.recent_orders import RecentOrders
from api.gateway.saga_routes import saga_routes
from api.gateway.schemas import CancelOrder, CreateOrder, UpdateOrder
from api.gateway.shortcuts import ByShortcut, Shortcuts
from api.gateway.timelines import Timelines
from api.health import Readiness, health_routes
from api.openapi import describe, operation_id
from api.schemas import DeadLetterFilter, Replay
from api.telemetry import HttpTraces, Telemetry, fastapi_config, metrics_route
from models.originals import ServiceName

_DESCRIPTION: Final = """
Orders and their payments, kept consistent across two services by a saga.

Commands (`POST`, `PATCH`) are **accepted**, not done: the answer is 202 once the broker has confirmed the message, or
Temporal the start of an orchestrated saga, and the saga then runs by itself. Watch it with
`GET /api/orders/{id}/stream`, read its story with `GET /api/orders/{id}/timeline`, or let `POST` wait for the end with
`Prefer: wait=10`.

Money is an integer in minor units: `999` with `USD` is 9.99 dollars. Times are ISO 8601 in UTC.
Errors are problem details as RFC 9457 defines them. Every answer carries an `X-Correlation-Id`.
"""
_TAGS: Final[list[dict[str, Any]]] = [
    {"name": "orders", "description": "Place, cancel and look up orders."},
    {"name": "saga", "description": "What happened to an order and its payment, and what is happening."},
    {"name": "payments", "description": "Look up payments; they are made by the saga alone."},
    {"name": "operators", "description": "Dead letters, replay, reconciliation and audit; with an operator's key."},
    {"name": "operation", "description": "Health of this process."},
]


class GatewayParts(TypedDict):
    """The parts from which the gateway is made. `orders`, `payments` and `worker` are clients of what they serve."""

    commands: CommandSender
    orchestration: SagaStarter
    timelines: TimelineSource
    feed: EventFeed
    orders: QueryClient
    payments: QueryClient
    worker: QueryClient
    reconciler: Reconcilers
    clock: Clock
    readiness: Readiness
    breaker: Breaker | None
    access: Access
    settings: GatewaySettings
    telemetry: Telemetry | None
    traces: NotRequired[HttpTraces | None]


def create_gateway(**given: Unpack[GatewayParts]) -> FastAPI:
    """The gateway's application."""
    settings, clock, telemetry, traces = given["settings"], given["clock"], given["telemetry"], given.get("traces")
    keys, sessions, shortcuts = Keys(settings.keys), Sessions(settings.secret, settings.keys), Shortcuts()
    rate = Rate(settings.rate) if settings.rate else None
    app = _empty_app(
        *_behind(settings.proxies),
        Middleware(Edge, access=given["access"], telemetry=telemetry),
        *([Middleware(StrangersLimited, rate=rate)] if rate and keys else []),
        *([Middleware(Guard, keys=keys, sessions=sessions, clock=clock)] if keys else []),
        *([Middleware(RateLimited, rate=rate)] if rate else []),
        Middleware(ByShortcut, shortcuts=shortcuts, traces=traces),
        traces=traces,
    )
    for routes in _routes(keys, sessions, shortcuts, given):
        app.include_router(routes, prefix="/api")
    app.include_router(console_file_routes())
    app.include_router(health_routes(given["readiness"]))
    if telemetry is not None:
        app.include_router(metrics_route(telemetry))

    describe(
        app,
        *(CreateOrder, CancelOrder, UpdateOrder, DeadLetterFilter, Replay),
        keys=keys_asked(required=bool(keys)),
        too_many=too_many(1.0, {}),
    )
    return app


def _routes(keys: Keys, sessions: Sessions, shortcuts: Shortcuts, given: GatewayParts) -> Iterator[APIRouter]:
    """All routes under `/api`, with the parts that they share."""
    settings, timelines, feed, clock = given["settings"], given["timelines"], given["feed"], given["clock"]
    limits, originals, ids = settings.limits, settings.originals, OrderIds(settings.secret)
    queries = Queries(
        orders=ReadApi("order service", asked_through(given["orders"], ServiceName.ORDER, originals)),
        payments=ReadApi("payment service", asked_through(given["payments"], ServiceName.PAYMENT, originals)),
        recent=RecentOrders(ids=ids, feed=feed, clock=clock, limits=limits),
        limits=limits,
        originals=originals,
    )
    commands = Commands(
        sender=given["commands"],
        orchestration=given["orchestration"],
        queries=queries,
        overload=_overload(queries, settings),
        ids=ids,
        clock=clock,
        settings=settings,
    )
    placing = Placing(commands=commands, queries=queries, feed=feed, limits=limits)
    yield order_routes(placing=placing, commands=commands, queries=queries, shortcuts=shortcuts, limits=limits)
    telling = Timelines(queries=queries, workflows=timelines, limits=limits)
    yield saga_routes(timelines=telling, queries=queries, feed=feed, limits=limits)
    yield payment_routes(queries, shortcuts)
    operators = Operators(
        orders=queries.orders,
        payments=queries.payments,
        worker=ReadApi("worker", given["worker"]),
        reconciler=given["reconciler"],
        originals=originals,
    )
    yield operator_routes(operators)

    breaker = given["breaker"]
    yield session_routes(keys=keys, sessions=sessions, clock=clock, settings=settings, breaker=breaker)
    parts = Parts(
        readiness=given["readiness"],
        orders=given["orders"],
        payments=given["payments"],
        worker=given["worker"],
        breaker=breaker,
    )
    yield part_routes(parts=parts, breaker=breaker)
    one_saga = OneSaga(
        queries=queries, timelines=telling, workflows=timelines, temporal_ui=settings.temporal_ui, limits=limits
    )
    yield console_saga_routes(queries=queries, saga=one_saga, feed=feed, clock=clock, limits=limits)


def _behind(proxies: Sequence[Network]) -> list[Middleware]:
    """What takes the client's address from `X-Forwarded-For`, if one of these proxies has sent the request."""
    return [Middleware(ProxyHeadersMiddleware, trusted_hosts=list(map(str, proxies)))] if proxies else []


def _empty_app(*middleware: Middleware, traces: HttpTraces | None) -> FastAPI:
    """An application with its page of documentation and without routes."""
    app = FastAPIOffline(  # its pages of documentation load no script from the network
        docs_url=None,
        redoc_url=None,
        title="Payment saga",
        summary="Orders and payments, choreographed or orchestrated",
        description=_DESCRIPTION,
        version=version("payment-saga"),
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=_TAGS,
        redirect_slashes=False,
        telemetry=fastapi_config(traces),
        generate_unique_id_function=operation_id,
        middleware=middleware,
    )
    add_docs_page(app)
    problems.install(app)
    return app


def _overload(queries: Queries, settings: GatewaySettings) -> Overload:
    """Asks our services alone: an original one does not know how long its orders wait."""
    ours = ((ServiceName.ORDER, queries.orders), (ServiceName.PAYMENT, queries.payments))
    return Overload([api for name, api in ours if name not in settings.originals], longest=settings.longest_wait)
