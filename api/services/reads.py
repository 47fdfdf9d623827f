"""Make what the read APIs of both services share: the application, pages, events, and errors of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Annotated, Any, Final, NotRequired, Protocol, TypeAlias, TypedDict, Unpack
from uuid import UUID

import structlog
from fastapi import APIRouter, FastAPI
from fastapi import Query as FromQuery
from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.sql.expression import Select, SelectOfScalar
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.edge import Edge
from api.fields import OrderIdInPath
from api.health import Readiness, health_routes
from api.json_response import encoded_response, json_response
from api.openapi import answers, describe, operation_id, problems, takes
from api.problems import Problem, ProblemType, install, respond, unavailable
from api.requests import read_body
from api.schemas import NewSaga, NoQuery, Page, Replayed, check_replay
from api.services.internal import InternalToken
from api.services.operator_routes import Audit, DeadLetterStore, audit_routes, dead_letter_routes
from api.services.sagas import StartSaga
from api.services.schemas import EventLog, EventsQuery, KeepKey, OperatorReplay, PaymentsOfOrders, TheseLetters
from api.services.waits import Expected, wait_routes
from api.telemetry import HttpTraces, Telemetry, fastapi_config, metrics_route
from choreography.outgoing_message import BrokerUnavailable, Unread, Unroutable
from choreography.replay import NotRepeatable
from models.database import TRANSIENT, Database, sql_of
from models.event_log import logged_envelope
from models.messages import encode
from models.tables import OrderEventRow, OrderRow, PaymentEventRow, PaymentRow

log = structlog.get_logger()

Row: TypeAlias = Mapping[str, Any]
EventRow: TypeAlias = type[OrderEventRow] | type[PaymentEventRow]

_MAX_BODY: Final = 256 * 1024  # bytes: the gateway may ask about thousands of orders at once


class Replayer(Protocol):
    async def __call__(
        self, *, order_id: UUID | None, event_type: str | None, since: datetime | None, until: datetime | None, by: str
    ) -> int:
        """Publish the matching logged events again, in order. Returns their number."""


class Given(TypedDict):
    """The parts from which a service's application is made."""

    database: Database
    token: str
    readiness: Readiness
    access: NotRequired[Access]
    replay: NotRequired[Replayer]
    telemetry: NotRequired[Telemetry | None]
    traces: NotRequired[HttpTraces | None]
    letters: NotRequired[DeadLetterStore]
    audit: NotRequired[Audit]
    waits: NotRequired[Expected]
    start_saga: NotRequired[StartSaga | None]  # in the service that works on sagas


def create_read_app(name: str, *, log_model: EventRow, log_path: str, **given: Unpack[Given]) -> FastAPI:
    """A service's application, protected by the internal token, with health, events, and replay if it is given.

    `log_path` is the path of one order's events, with its `{orderId}`.
    """
    guard = Middleware(InternalToken, token=given["token"], access=given.get("access") or Access())
    app = FastAPI(
        title=f"Payment saga: {name}",
        description="What the gateway asks; it answers nobody without the internal token.",
        version=version("payment-saga"),
        redirect_slashes=False,
        telemetry=fastapi_config(given.get("traces")),
        generate_unique_id_function=operation_id,
        middleware=[Middleware(Edge, max_body=_MAX_BODY, telemetry=given.get("telemetry")), guard],
    )
    install(app)
    for error in TRANSIENT:
        app.add_exception_handler(error, _on_database_away)
    app.include_router(health_routes(given["readiness"]))
    if (telemetry := given.get("telemetry")) is not None:
        app.include_router(metrics_route(telemetry))
    app.include_router(_event_routes(given["database"], log_model, log_path))
    if (replay := given.get("replay")) is not None:
        app.include_router(_replay_routes(replay))
    if (letters := given.get("letters")) is not None:
        app.include_router(dead_letter_routes(letters))
    if (audit := given.get("audit")) is not None:
        app.include_router(audit_routes(audit))
    if (waits := given.get("waits")) is not None:
        app.include_router(wait_routes(waits))
    describe(app, KeepKey, NewSaga, OperatorReplay, PaymentsOfOrders, TheseLetters)
    return app


async def _on_database_away(request: Request, error: Exception) -> Response:
    log.warning("database_unavailable", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return respond(unavailable("The database does not answer; try again"), request.scope)


def _event_routes(database: Database, model: EventRow, path_of_one: str) -> APIRouter:
    router = APIRouter(tags=["operation"])
    of_one = sql_of(select(model).where(col(model.order_id) == bindparam("order_id")).order_by(col(model.seq)))

    @router.get(
        "/events",
        summary="The event log, oldest first",
        responses=answers(200, EventLog, "The events that match") | problems(401, 503),
        openapi_extra=takes(),
    )
    async def list_events(query: Annotated[EventsQuery, FromQuery()]) -> Response:
        wanted = []
        if query.order_id is not None:
            wanted.append(col(model.order_id) == query.order_id)
        if query.event_type is not None:
            wanted.append(col(model.event_type) == query.event_type)
        if query.since is not None:
            wanted.append(col(model.occurred_at) >= query.since)
        if query.until is not None:
            wanted.append(col(model.occurred_at) < query.until)
        return _event_log(await database.read(select(model).where(*wanted).order_by(col(model.seq)).limit(query.limit)))

    @router.get(
        path_of_one,
        summary="An order's events as they were published, in the order in which they happened here",
        responses=answers(200, EventLog, "Its events; none if it is unknown") | problems(401, 503),
        openapi_extra=takes(),
    )
    async def events_of_one(order_id: OrderIdInPath, _: Annotated[NoQuery, FromQuery()]) -> Response:
        return _event_log(await database.query(of_one, {"order_id": order_id}))

    return router


_CHARGED_AGAIN: Final = Problem(ProblemType.CONFLICT, "Not replayed: SAGA_ORIGINAL_SERVICES names the payment service")


def _replay_routes(replay: Replayer) -> APIRouter:
    router = APIRouter(prefix="/events", tags=["operation"])

    @router.post(
        "/replay",
        summary="Publish logged events once more",
        responses=answers(200, Replayed, "The broker has confirmed them") | problems(401, _CHARGED_AGAIN, 503),
        openapi_extra=takes(OperatorReplay),
    )
    async def replay_events(request: Request) -> Response:
        which = await read_body(request, OperatorReplay)
        check_replay(which)
        try:
            return json_response({"replayed": await replay(**which.model_dump())})
        except NotRepeatable as error:
            raise Problem(ProblemType.CONFLICT, f"Not replayed: {error}") from error
        except (Unroutable, Unread) as error:
            raise unavailable(f"Not replayed: {error}. Start it, then replay again") from error
        except BrokerUnavailable as error:
            raise unavailable("The message broker does not answer; replaying again is safe") from error

    return router


def newest(model: type[OrderRow] | type[PaymentRow], page: Page, *conditions: Any) -> Select[Any] | SelectOfScalar[Any]:
    """The statement for a page's rows, newest first. Earlier pages are skipped in the index, without reading rows."""
    order = (col(model.created_at).desc(), col(model.id).desc())
    ids = select(model.id).where(*conditions).order_by(*order).offset(offset(page)).limit(page.limit).subquery()
    return select(model).join(ids, col(model.id) == ids.c.id).order_by(*order)


def offset(page: Page) -> int:
    """The number of rows before this page."""
    return (page.page - 1) * page.limit


def paged(page: Page, total: int, rows: Iterable[Mapping[str, Any]]) -> Response:
    """The answer with a page of rows."""
    meta = {"page": page.page, "limit": page.limit, "total": total, "totalPages": -(-total // page.limit)}
    return json_response({"data": list(rows), "meta": meta})


def found(rows: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """The one row. Raises Problem if there is none."""
    if not rows:
        raise Problem(ProblemType.NOT_FOUND, f"{what} is not known; check the id")
    return rows[0]


def _event_log(rows: Iterable[Row]) -> Response:
    return encoded_response(b'{"data":[%s]}' % b",".join(encode(logged_envelope(row)) for row in rows))
