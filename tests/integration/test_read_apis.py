"""The services' read APIs answer pages, totals, events and kept keys, and 503 while the database is away."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.types.json import Jsonb

from api.services.order_service import TOTALS, create_orders_app
from api.services.payment_service import create_payments_app
from choreography.outgoing_message import BrokerUnavailable
from models.database import Database
from models.messages import decode
from tests.support.world import Servers
from workflows.saga_input import NewOrder, SagaInput
from workflows.temporal_errors import TemporalUnavailable

pytestmark = pytest.mark.anyio

TOKEN = "internal"
START = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)
ALICE, BOB = UUID(int=1), UUID(int=2)
PAYMENTS = [(999, "EUR", "DECLINED"), (40, "EUR", "APPROVED"), (20, "USD", "APPROVED")]
KEY = {"scope": "s", "key": "k", "digest": "ab" * 32}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["orders", "payments"])
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _create_database(servers: Servers, service: str) -> str:
    name = f"reads_{uuid4().hex}"
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {service} TEMPLATE {service}")
    password = servers.database_passwords[service]
    return f"postgresql://{service}:{password}@127.0.0.1:{servers.postgres_port}/{name}"


async def ready() -> dict[str, str]:
    return {"database": "ok"}


def client_of(app: FastAPI, token: str = TOKEN) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


@pytest.fixture
async def orders_database(servers: Servers) -> AsyncIterator[Database]:
    database = Database(_create_database(servers, "orders"), name="test", timeout=10)
    await database.open()
    async with database.transaction() as connection:
        for number in range(25):
            await connection.execute(
                "INSERT INTO orders (id, user_id, total, currency, coordinator, status, cancel_reason, created_at,"
                " updated_at) VALUES (%s, %s, %s, 'USD', 'choreography', %s, NULL, %s, %s)",
                (
                    UUID(int=100 + number),
                    BOB if number < 2 else ALICE,
                    number + 1,
                    "PAID" if number % 5 == 0 else "CANCELLED",
                    # Always two orders of the same time: then their ids decide.
                    START + timedelta(seconds=number // 2),
                    START + timedelta(hours=1),
                ),
            )
        await connection.execute(
            "INSERT INTO order_totals (shard, status, count, amount) VALUES (0, 'PAID', 2, 9), (1, 'PAID', 3, 46),"
            " (2, 'CANCELLED', 20, 270), (3, 'FAILED', 0, 0)"
        )
    yield database
    await database.close()


@pytest.fixture
async def orders(orders_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_orders_app(database=orders_database, token=TOKEN, readiness=ready)) as client:
        yield client


@pytest.fixture
async def payments_database(servers: Servers) -> AsyncIterator[Database]:
    database = Database(_create_database(servers, "payments"), name="test", timeout=10)
    await database.open()
    async with database.transaction() as connection:
        for number, (amount, currency, status) in enumerate(PAYMENTS):
            await connection.execute(
                "INSERT INTO payments (id, order_id, amount, currency, coordinator, status, reason, created_at,"
                " updated_at) VALUES (%s, %s, %s, %s, 'choreography', %s, %s, %s, %s)",
                (
                    UUID(int=7 + number),
                    UUID(int=100 + number),
                    amount,
                    currency,
                    status,
                    "Insufficient funds" if status == "DECLINED" else None,
                    START + timedelta(seconds=number),
                    START + timedelta(seconds=number),
                ),
            )
        await connection.execute(
            "INSERT INTO payment_sums (shard, status, currency, count, amount) VALUES (0, 'DECLINED', 'EUR', 1, 999),"
            " (1, 'APPROVED', 'USD', 2, 35), (1, 'APPROVED', 'EUR', 1, 40), (2, 'APPROVED', 'USD', -1, -15),"
            " (1, 'APPROVED', 'JPY', 2, 5), (2, 'APPROVED', 'JPY', -2, -5), (3, 'REFUNDED', 'USD', 0, 0)"
        )
        await connection.execute(
            "INSERT INTO event_log (event_id, order_id, event_type, occurred_at, correlation_id, causation_id,"
            " coordinator, payload) VALUES (%s, %s, 'PaymentDeclined', %s, 'c', %s, 'choreography', %s)",
            (UUID(int=8), UUID(int=100), START, UUID(int=9), Jsonb({"orderId": str(UUID(int=100)), "reason": "no"})),
        )
    yield database
    await database.close()


@pytest.fixture
async def payments(payments_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_payments_app(database=payments_database, token=TOKEN, readiness=ready)) as client:
        yield client


def numbers(answer: httpx.Response) -> list[int]:
    """Which of the 25 orders are on a page."""
    assert answer.status_code == 200, answer.text
    return [UUID(order["id"]).int - 100 for order in answer.json()["data"]]


async def test_orders_come_newest_first_and_every_one_on_exactly_one_page(orders: httpx.AsyncClient) -> None:
    pages = [await orders.get("/orders", params={"page": page, "limit": 10}) for page in (1, 2, 3, 4)]

    assert [number for page in pages for number in numbers(page)] == list(reversed(range(25)))
    assert pages[2].json()["meta"] == {"page": 3, "limit": 10, "total": 25, "totalPages": 3}
    assert numbers(pages[3]) == []


@pytest.mark.parametrize(
    ("query", "found", "total"),
    [
        ({"status": "PAID"}, [20, 15, 10, 5, 0], 5),
        ({"status": "FAILED"}, [], 0),
        ({"status": "PENDING_PAYMENT"}, [], 0),
        ({"userId": str(BOB)}, [1, 0], 2),
        ({"userId": str(BOB), "status": "PAID"}, [0], 1),
        ({"page": 2**31 - 1, "limit": 100}, [], 25),
    ],
)
async def test_filters_and_their_totals_are_exact(
    orders: httpx.AsyncClient, query: dict[str, Any], found: list[int], total: int
) -> None:
    answer = await orders.get("/orders", params=query)

    assert (numbers(answer), answer.json()["meta"]["total"]) == (found, total)


async def test_an_order_has_its_wire_form(orders: httpx.AsyncClient) -> None:
    assert (await orders.get(f"/orders/{UUID(int=103)}")).json() == {
        "id": str(UUID(int=103)),
        "userId": str(ALICE),
        "total": 4,
        "status": "CANCELLED",
        "createdAt": "2026-02-15T01:42:20.000Z",
        "updatedAt": "2026-02-15T02:42:19.000Z",
        "currency": "USD",
        "coordinator": "choreography",
        "cancelReason": None,
    }


async def test_a_payment_has_its_wire_form_under_both_ids(payments: httpx.AsyncClient) -> None:
    by_id = (await payments.get(f"/payments/{UUID(int=7)}")).json()

    assert by_id == (await payments.get(f"/payments/order/{UUID(int=100)}")).json()
    assert by_id == {
        "id": str(UUID(int=7)),
        "orderId": str(UUID(int=100)),
        "amount": 999,
        "status": "DECLINED",
        "createdAt": "2026-02-15T01:42:19.000Z",
        "updatedAt": "2026-02-15T01:42:19.000Z",
        "currency": "EUR",
        "reason": "Insufficient funds",
    }


async def test_payments_are_listed_with_a_total_that_is_a_number(payments: httpx.AsyncClient) -> None:
    body = (await payments.get("/payments")).json()

    assert (len(body["data"]), body["meta"]) == (3, {"page": 1, "limit": 10, "total": 3, "totalPages": 1})


@pytest.mark.parametrize(
    ("query", "found", "total"),
    [
        ({}, [2, 1, 0], 3),
        ({"status": "APPROVED"}, [2, 1], 2),
        ({"status": "APPROVED", "page": 2, "limit": 1}, [1], 2),
        ({"status": "APPROVED", "page": 3, "limit": 1}, [], 2),
        ({"status": "DECLINED"}, [0], 1),
        ({"status": "REFUNDED"}, [], 0),
        ({"status": "PROCESSING"}, [], 0),
    ],
)
async def test_payments_of_a_status_and_their_total_are_exact(
    payments: httpx.AsyncClient, query: dict[str, Any], found: list[int], total: int
) -> None:
    body = (await payments.get("/payments", params=query)).json()

    assert ([UUID(each["id"]).int - 7 for each in body["data"]], body["meta"]["total"]) == (found, total)


async def test_a_page_of_a_status_is_read_from_an_index(payments_database: Database) -> None:
    async with payments_database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_sort = off")
        plan = await connection.execute(
            "EXPLAIN SELECT id FROM payments WHERE status = 'APPROVED' ORDER BY created_at DESC, id DESC LIMIT 10"
        )
        assert "payments_by_status" in str(await plan.fetchall())


async def test_stats_tell_currencies_apart_and_leave_out_what_does_not_occur(payments: httpx.AsyncClient) -> None:
    answer = await payments.get("/payments/stats")

    euros, dollars = ({"currency": code, "count": 1, "totalAmount": sum_} for code, sum_ in (("EUR", 40), ("USD", 20)))
    declined = {"currency": "EUR", "count": 1, "totalAmount": 999}
    assert answer.json() == {
        "byStatus": [
            {"status": "APPROVED", "count": 2, "totalAmount": 60, "amounts": [euros, dollars]},
            {"status": "DECLINED", "count": 1, "totalAmount": 999, "amounts": [declined]},
        ]
    }


async def test_events_come_in_the_form_in_which_they_were_published(payments: httpx.AsyncClient) -> None:
    [event] = (await payments.get(f"/payments/order/{UUID(int=100)}/events")).json()["data"]

    envelope = decode(httpx.Response(200, json=event).content)
    assert (envelope.event_type, envelope.event_id, envelope.causation_id, envelope.occurred_at) == (
        "PaymentDeclined",
        UUID(int=8),
        UUID(int=9),
        START,
    )


async def test_events_are_found_whichever_conditions_are_left_out(payments: httpx.AsyncClient) -> None:
    conditions = [
        ("order_id", str(UUID(int=100))),
        ("event_type", "PaymentDeclined"),
        ("since", START.isoformat()),
        ("until", (START + timedelta(seconds=1)).isoformat()),
    ]
    alias = {"order_id": "orderId", "event_type": "eventType"}
    others = {"order_id": str(UUID(int=1)), "event_type": "PaymentApproved", "until": START.isoformat()}
    others["since"] = conditions[3][1]
    for number in range(len(conditions) + 1):
        for chosen in itertools.combinations(conditions, number):
            params = {alias.get(name, name): value for name, value in chosen}
            found = await payments.get("/events", params=params)
            assert (found.status_code, len(found.json()["data"])) == (200, 1), params
            for name, _ in chosen:
                none = await payments.get("/events", params=params | {alias.get(name, name): others[name]})
                assert (none.status_code, none.json()) == (200, {"data": []}), (params, name)


async def test_an_unknown_order_has_no_events(orders: httpx.AsyncClient) -> None:
    assert (await orders.get(f"/orders/{UUID(int=1)}/events")).json() == {"data": []}


@pytest.mark.parametrize("path", [f"/payments/{UUID(int=1)}", f"/payments/order/{UUID(int=1)}"])
async def test_an_unknown_payment_is_a_404(payments: httpx.AsyncClient, path: str) -> None:
    assert (await payments.get(path)).status_code == 404


async def test_an_unknown_order_is_a_404(orders: httpx.AsyncClient) -> None:
    assert (await orders.get(f"/orders/{UUID(int=1)}")).status_code == 404


async def test_a_key_stands_for_the_order_it_came_with_first(orders: httpx.AsyncClient) -> None:
    first = await orders.put("/idempotency-keys", json=KEY | {"orderId": str(UUID(int=1))})
    second = await orders.put("/idempotency-keys", json=KEY | {"orderId": str(UUID(int=2)), "digest": "cd" * 32})
    elsewhere = await orders.put("/idempotency-keys", json=KEY | {"orderId": str(UUID(int=3)), "scope": "other"})

    assert first.json() == second.json() == {"orderId": str(UUID(int=1)), "digest": "ab" * 32}
    assert elsewhere.json()["orderId"] == str(UUID(int=3))


async def test_a_key_used_many_times_at_once_stands_for_one_order(orders: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(orders.put("/idempotency-keys", json=KEY | {"orderId": str(UUID(int=n))}) for n in range(20))
    )

    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.json()["orderId"] for answer in answers}) == 1


class Starts:
    """Takes the sagas that are to be started."""

    def __init__(self) -> None:
        self.says: bool | Exception = True
        self.started: list[tuple[SagaInput, str | None]] = []

    async def __call__(self, saga: SagaInput, *, traceparent: str | None) -> bool:
        if isinstance(self.says, Exception):
            raise self.says
        self.started.append((saga, traceparent))
        return self.says


NEW_SAGA: dict[str, Any] = {
    "saga": {
        "orderId": str(UUID(int=1)),
        "correlationId": "trace-7",
        "order": {"userId": str(ALICE), "total": 999, "currency": "EUR", "paymentMethod": None, "eventId": "e"},
        "paymentTimeout": 900.0,
        "retryDelays": [0.5],
    }
}


async def test_the_order_service_starts_sagas_and_says_whether_it_did(orders_database: Database) -> None:
    starts = Starts()
    app = create_orders_app(database=orders_database, token=TOKEN, readiness=ready, start_saga=starts)
    async with client_of(app) as client:
        told = await client.post("/sagas", json=NEW_SAGA | {"traceparent": "00-ab-cd-01"})
        starts.says = False
        untold = await client.post("/sagas", json=NEW_SAGA)
        starts.says = TemporalUnavailable("no answer")
        unknown = await client.post("/sagas", json=NEW_SAGA)

    assert (told.json(), untold.json(), unknown.status_code) == ({"started": True}, {"started": False}, 503)
    order = NewOrder(user_id=str(ALICE), total=999, currency="EUR", payment_method=None, event_id="e")
    saga = SagaInput(
        order_id=str(UUID(int=1)), correlation_id="trace-7", order=order, payment_timeout=900.0, retry_delays=[0.5]
    )
    assert starts.started == [(saga, "00-ab-cd-01"), (saga, None)]


@pytest.mark.parametrize(
    "changed",
    [
        {"order": None},
        {"paymentTimeout": -1},
        {"retryDelays": []},
        {"orderId": 7},
        {"orderId": "seven"},
        {"unheardOf": 1},
    ],
)
async def test_a_saga_that_is_not_as_it_must_be_is_not_started(
    orders_database: Database, changed: dict[str, Any]
) -> None:
    starts = Starts()
    app = create_orders_app(database=orders_database, token=TOKEN, readiness=ready, start_saga=starts)
    async with client_of(app) as client:
        answer = await client.post("/sagas", json={"saga": NEW_SAGA["saga"] | changed})

    assert (answer.status_code, starts.started) == (422, [])


@pytest.mark.parametrize("token", ["", "wrong", "interna", "internal2"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/orders"),
        ("PUT", "/idempotency-keys"),
        ("POST", "/sagas"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
    ],
)
async def test_nobody_gets_in_without_the_internal_token(
    orders_database: Database, token: str, method: str, path: str
) -> None:
    app = create_orders_app(database=orders_database, token=TOKEN, readiness=ready)
    async with client_of(app, token) as client:
        answer = await client.request(method, path)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer, Basic realm="internal"')
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("shown", ["", TOKEN])
async def test_a_service_without_a_token_lets_nobody_in(orders_database: Database, shown: str) -> None:
    app = create_orders_app(database=orders_database, token="", readiness=ready)
    async with client_of(app, shown) as client:
        assert (await client.get("/orders")).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_token(orders_database: Database, path: str) -> None:
    app = create_orders_app(database=orders_database, token=TOKEN, readiness=ready)
    async with client_of(app, "") as client:
        assert (await client.get(path)).status_code == 200


async def test_a_database_that_is_away_is_a_503(service: str) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", name="test", timeout=0.2)
    await database.open()
    create: Any = create_orders_app if service == "orders" else create_payments_app
    async with client_of(create(database=database, token=TOKEN, readiness=ready)) as client:
        answer = await client.get(f"/{service}")
    await database.close()

    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "retry-after" in answer.headers


class Replayer:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.away = False

    async def __call__(self, **conditions: Any) -> int:
        if self.away:
            raise BrokerUnavailable("there is no connection to RabbitMQ")
        self.asked.append(conditions)
        return 3


async def replay(database: Database, replayer: Replayer, body: dict[str, Any]) -> httpx.Response:
    app = create_orders_app(database=database, token=TOKEN, readiness=ready, replay=replayer)
    async with client_of(app) as client:
        return await client.post("/events/replay", json=body)


async def test_a_replay_passes_its_conditions_on(orders_database: Database) -> None:
    replayer = Replayer()
    answer = await replay(orders_database, replayer, {"eventType": "OrderPaid", "since": "2026-02-15T01:42:19Z"})

    assert (answer.status_code, answer.json()) == (200, {"replayed": 3})
    assert replayer.asked == [{"order_id": None, "event_type": "OrderPaid", "since": START, "until": None, "by": ""}]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"orderId": None},
        {"eventType": "OrderLost"},
        {"orderId": "42"},
        {"since": "2026-02-15T01:42:19"},
        {"colour": "red"},
    ],
)
async def test_a_replay_that_says_nothing_or_nonsense_is_refused(
    orders_database: Database, body: dict[str, Any]
) -> None:
    replayer = Replayer()

    assert ((await replay(orders_database, replayer, body)).status_code, replayer.asked) == (422, [])


async def test_a_replay_without_the_broker_is_a_503(orders_database: Database) -> None:
    replayer = Replayer()
    replayer.away = True

    assert (await replay(orders_database, replayer, {"orderId": str(UUID(int=1))})).status_code == 503


async def test_the_orders_of_a_user_are_listed_newest_first(orders: httpx.AsyncClient) -> None:
    answer = await orders.get(f"/users/{BOB}/orders")
    assert (answer.status_code, answer.json()) == (200, {"data": [str(UUID(int=101)), str(UUID(int=100))]})
    assert (await orders.get(f"/users/{UUID(int=9)}/orders")).json() == {"data": []}


async def test_the_payments_of_some_orders_are_paged_and_filtered(payments: httpx.AsyncClient) -> None:
    known = (await payments.get("/payments", params={"limit": 100})).json()["data"]
    some = [payment["orderId"] for payment in known[::2]]

    async def page(**asked: Any) -> Any:
        answer = await payments.post("/payments/of-orders", json={"orderIds": some, **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert (await page(limit=100))["data"] == known[::2]
    assert [(await page(limit=1, page=number))["data"] for number in range(1, len(some) + 1)] == [
        [payment] for payment in known[::2]
    ]
    status = known[0]["status"]
    assert (await page(limit=100, status=status))["data"] == [p for p in known[::2] if p["status"] == status]
    assert (await page(orderIds=[]))["meta"] == {"page": 1, "limit": 10, "total": 0, "totalPages": 0}
    most = [str(UUID(int=number)) for number in range(5000)]
    assert (await page(orderIds=most))["meta"]["total"] == len(known)
    refused = await payments.post("/payments/of-orders", json={"orderIds": [*most, str(UUID(int=1))]})
    assert refused.status_code == 422


async def test_orders_are_totalled_by_status_and_by_coordinator(
    orders: httpx.AsyncClient, orders_database: Database
) -> None:
    await orders_database.query(
        "UPDATE orders SET coordinator = 'orchestration' WHERE id = ANY(%s)", [[UUID(int=100), UUID(int=106)]]
    )
    assert (await orders.get("/totals")).json() == {
        "total": 25,
        "byStatus": {"CANCELLED": 20, "PAID": 5},
        "byCoordinator": {
            "choreography": {"CANCELLED": 19, "PAID": 4},
            "orchestration": {"CANCELLED": 1, "PAID": 1},
        },
    }
    assert (await orders.get(f"/totals?userId={BOB}")).json() == {
        "total": 2,
        "byStatus": {"CANCELLED": 1, "PAID": 1},
        "byCoordinator": {"choreography": {"CANCELLED": 1}, "orchestration": {"PAID": 1}},
    }
    nobody = (await orders.get(f"/totals?userId={uuid4()}")).json()
    assert nobody == {"total": 0, "byStatus": {}, "byCoordinator": {"choreography": {}, "orchestration": {}}}
    assert (await orders.get("/totals?userId=1")).status_code == 422


async def test_orchestrated_orders_are_counted_in_their_index(orders_database: Database) -> None:
    async with orders_database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(f"EXPLAIN {TOTALS}")
        plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert "orders_orchestrated" in plan


async def test_what_a_saga_cost_each_service_is_counted(
    payments: httpx.AsyncClient, payments_database: Database, orders: httpx.AsyncClient
) -> None:
    path = f"/payments/order/{UUID(int=100)}/costs"
    none: dict[str, Any] = {"unpublished": [], "attempts": {}}
    assert (await payments.get(path)).json() == {"transactions": 1, "due": None, "rows": 2, **none}
    await payments_database.query(
        "INSERT INTO outbox (seq, order_id, deferred) SELECT seq, order_id, false FROM event_log"
    )
    await payments_database.query("UPDATE payments SET changes = NULL, due = 'refund'")
    await payments_database.query("UPDATE event_log SET attempt = 2")
    assert (await payments.get(path)).json() == {
        "transactions": None,
        "due": "refund",
        "rows": 3,
        "unpublished": [str(UUID(int=8))],
        "attempts": {str(UUID(int=8)): 2},
    }
    assert (await orders.get(f"/orders/{UUID(int=101)}/costs")).json() == {
        "transactions": 1,
        "due": None,
        "rows": 1,
        **none,
    }
    for client, unknown in ((orders, f"/orders/{uuid4()}/costs"), (payments, f"/payments/order/{uuid4()}/costs")):
        assert (await client.get(unknown)).status_code == 404
