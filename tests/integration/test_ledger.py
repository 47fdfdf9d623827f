"""The ledger gives the same result however the messages are split into batches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.book import Applied, Submission
from activities.ledger import Ledger, apply
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from choreography.frames import publish_frames
from choreography.outgoing_message import as_message
from models.database import Database
from models.event_log import logged_envelope
from models.messages import Envelope, decode, parse, wire_form
from models.order import Order, OrderMessage, decide
from models.outcome import Charged, Declined, Refused
from models.saga import (
    Become,
    CancelReason,
    CreateOrderRequested,
    OrderCancelRequested,
    OrderCreated,
    OrderId,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    TooEarly,
    UserId,
)
from tests.support.world import Servers
from workflows.mirror_record import MirrorRecord

Result = TypeVar("Result")


class Nowhere:
    """An outlet that takes everything and publishes nothing."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Envelope]] = []

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        self.events += events

    def carries(self, seq: int) -> bool:
        return any(seq == offered for offered, _ in self.events)


class Bench:
    """A database, and a loop to use it on."""

    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        self._runner = runner
        self.database = Database(url, name="test", max_connections=6)
        self.run(self.database.open())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def apply(self, *entries: Submission, outlet: Nowhere | None = None) -> list[Applied[Order] | Exception]:
        return self.run(apply(self.database, ORDERS, outlet or Nowhere(), entries))

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return self.run(self.database.query(sql, params))

    def clear(self) -> None:
        self.rows("TRUNCATE orders, event_log, outbox, order_totals")


@pytest.fixture(scope="module")
def bench(servers: Servers) -> Iterator[Bench]:
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE ledger OWNER orders TEMPLATE orders")
    password = servers.database_passwords["orders"]
    with asyncio.Runner() as runner:
        bench = Bench(runner, f"postgresql://orders:{password}@127.0.0.1:{servers.postgres_port}/ledger")
        yield bench
        bench.run(bench.database.close())


IDS = [OrderId(UUID(int=n << 80)) for n in range(1, 4)]


def entry(message: OrderMessage) -> Submission:
    return Submission(message=message, event_id=uuid4(), correlation_id="c")


def create(order_id: OrderId, payment_method: str | None = None) -> CreateOrderRequested:
    return CreateOrderRequested(
        order_id=order_id, user_id=UserId(UUID(int=7)), total=order_id.int % 97 + 1, payment_method=payment_method
    )


def messages_about(order_id: OrderId) -> list[OrderMessage]:
    return [
        create(order_id),
        replace(create(order_id), total=1000),
        PaymentApproved(order_id=order_id, transaction_id="t"),
        PaymentDeclined(order_id=order_id, reason="no"),
        PaymentFailed(order_id=order_id, error="no"),
        OrderCancelRequested(order_id=order_id),
        OrderCancelRequested(order_id=order_id, reason=CancelReason.PAYMENT_TIMEOUT),
    ]


BATCHES = st.lists(
    st.lists(st.sampled_from([message for each in IDS for message in messages_about(each)]), min_size=1, max_size=8),
    max_size=5,
)


@given(batches=BATCHES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_leave_what_deciding_one_by_one_in_memory_leaves(
    bench: Bench, batches: list[list[OrderMessage]]
) -> None:
    bench.clear()
    states: dict[OrderId, Order] = {}
    events: list[tuple[UUID, str]] = []
    written = Counter[OrderId]()
    for batch in batches:
        before = dict(states)
        for answer, message in zip(bench.apply(*map(entry, batch)), batch, strict=True):
            decision = decide(states.get(message.order_id), message)
            assert isinstance(answer, Applied)
            assert answer.decision == decision
            if isinstance(decision, Become):
                states[message.order_id] = decision.state
                events.append((message.order_id, type(decision.emit).__name__))
        written.update(order_id for order_id, state in states.items() if before.get(order_id) != state)

    assert {row["id"]: row["changes"] for row in bench.rows("SELECT id, changes FROM orders")} == written
    columns = ", ".join(ORDERS.columns)
    stored = {row["id"]: ORDERS.load(list(row.values())) for row in bench.rows(f"SELECT {columns} FROM orders")}
    assert stored == states
    log = bench.rows("SELECT * FROM event_log ORDER BY seq")
    assert [(row["order_id"], row["event_type"]) for row in log] == events
    assert [row["seq"] for row in log] == [row["seq"] for row in bench.rows("SELECT seq FROM outbox ORDER BY seq")]
    totals = bench.rows("SELECT status, sum(count)::int c, sum(amount)::int a FROM order_totals GROUP BY 1")
    counts, amounts = Counter[str](), Counter[str]()
    for state in states.values():
        counts[state.status] += 1
        amounts[state.status] += state.total
    assert {row["status"]: (row["c"], row["a"]) for row in totals if row["c"]} == {
        status: (counts[status], amounts[status]) for status in counts
    }


def test_offered_events_have_the_places_that_the_log_gave_them(bench: Bench) -> None:
    bench.clear()
    outlet = Nowhere()
    bench.apply(*(entry(create(order_id)) for order_id in IDS), outlet=outlet)
    log = bench.rows("SELECT seq, event_id, order_id FROM event_log ORDER BY seq")
    assert [(seq, event.event_id) for seq, event in outlet.events] == [(row["seq"], row["event_id"]) for row in log]
    assert [row["order_id"] for row in log] == IDS


def test_an_order_with_an_event_left_behind_has_its_next_one_deferred_to_the_relay(bench: Bench) -> None:
    bench.clear()
    first, second = Nowhere(), Nowhere()
    bench.apply(entry(create(IDS[0])), entry(create(IDS[1])), outlet=first)
    bench.rows("DELETE FROM outbox WHERE order_id = %s", IDS[1])  # this one's event has been published
    bench.apply(
        entry(OrderCancelRequested(order_id=IDS[0])), entry(OrderCancelRequested(order_id=IDS[1])), outlet=second
    )
    assert [event.order_id for _, event in second.events] == [str(IDS[1])]
    deferred = bench.rows("SELECT order_id FROM outbox WHERE deferred")
    assert [row["order_id"] for row in deferred] == [IDS[0]]


def test_an_outlet_that_still_carries_the_earlier_event_gets_the_next_one_too(bench: Bench) -> None:
    bench.clear()
    outlet = Nowhere()
    bench.apply(entry(create(IDS[0])), outlet=outlet)
    bench.apply(entry(OrderCancelRequested(order_id=IDS[0])), outlet=outlet)
    assert [event.event_type for _, event in outlet.events] == ["OrderCreated", "OrderCancelled"]


def test_a_decision_that_raises_fails_its_message_alone(bench: Bench) -> None:
    bench.clear()

    def faulty(state: Order | None, message: Any, coordinator: Any) -> Any:
        if message.order_id == IDS[1]:
            raise ZeroDivisionError("a bug")
        return decide(state, message, coordinator)

    book = replace(ORDERS, decide=faulty)
    answers = bench.run(apply(bench.database, book, Nowhere(), [entry(create(each)) for each in IDS]))
    assert [type(answer) for answer in answers] == [Applied, ZeroDivisionError, Applied]
    assert [row["id"] for row in bench.rows("SELECT id FROM orders ORDER BY id")] == [IDS[0], IDS[2]]


@pytest.mark.parametrize("text", ["", "x" * 300, "x" * 5000, "a\0b", "\ud800", "😀" * 300, "é" * 128])
def test_41_no_event_is_committed_that_its_readers_would_refuse(bench: Bench, text: str) -> None:
    """Ids and texts from workflows and providers are readable from the commit to the publication and the mirror."""
    bench.clear()
    failed, declined, cancelled = IDS
    bench.apply(*map(entry, map(create, IDS)))
    messages = (
        PaymentFailed(order_id=failed, error=text),
        PaymentDeclined(order_id=declined, reason=text),
        OrderCancelRequested(order_id=cancelled),
    )
    outlet = Nowhere()
    entries = [Submission(message=message, event_id=uuid4(), correlation_id=text) for message in messages]
    assert all(isinstance(answer, Applied) for answer in bench.apply(*entries, outlet=outlet))

    rows = bench.rows("SELECT * FROM event_log WHERE event_type <> 'OrderCreated' ORDER BY seq")
    assert [row["event_type"] for row in rows] == ["OrderFailed", "OrderCancelled", "OrderCancelled"]
    for row in rows:
        event = logged_envelope(row)
        message = as_message(event)
        assert publish_frames(1, message, 4096)
        heard = decode(message.body, correlation_id=message.correlation_id)
        assert parse(heard).order_id == row["order_id"]
        assert heard.correlation_id == row["correlation_id"] == message.correlation_id
        record = MirrorRecord([wire_form(event)])
        assert (record.unknown, len(record.timeline.entries)) == ([], 1)


def test_41_what_a_provider_answers_is_stored_whatever_it_says(servers: Servers) -> None:
    """A payment is settled although PostgreSQL could not store its transaction id or the reason of its decline."""
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE ledger_41 OWNER payments TEMPLATE payments")
    password = servers.database_passwords["payments"]
    url = f"postgresql://payments:{password}@127.0.0.1:{servers.postgres_port}/ledger_41"
    text = "\ud800\0" + "x" * 3000
    ids = [OrderId(uuid4()) for _ in range(3)]
    answers = (
        Charged(order_id=ids[0], transaction_id=text),
        Declined(order_id=ids[1], reason=text),
        Refused(order_id=ids[2], error=text),
    )

    async def settle() -> list[dict[str, Any]]:
        database = Database(url, name="test", max_connections=2)
        await database.open()
        try:
            created = [OrderCreated(order_id=each, user_id=UserId(UUID(int=7)), total=1) for each in ids]
            for batch in (created, answers):
                entries = [Submission(message=message, event_id=uuid4(), correlation_id="c") for message in batch]
                found = await apply(database, PAYMENTS, Nowhere(), entries)
                assert all(isinstance(answer, Applied) for answer in found), found
            return await database.query("SELECT * FROM event_log ORDER BY seq")
        finally:
            await database.close()

    rows = asyncio.run(settle())
    assert [row["event_type"] for row in rows] == ["PaymentApproved", "PaymentDeclined", "PaymentFailed"]
    for row in rows:
        assert parse(decode(as_message(logged_envelope(row)).body)).order_id == row["order_id"]


def test_a_message_that_the_database_refuses_fails_alone(bench: Bench) -> None:
    """PostgreSQL stores no U+0000, so the transaction of the batch fails and each message gets its own."""
    bench.clear()

    async def submit() -> list[Any]:
        ledger = Ledger(bench.database, ORDERS, Nowhere())
        running = asyncio.create_task(ledger.run())
        futures = [ledger.submit(entry(create(each, "a\0b" if each == IDS[1] else None))) for each in IDS]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        running.cancel()
        return answers

    answers = bench.run(submit())
    assert [isinstance(answer, psycopg.DataError) for answer in answers] == [False, True, False]
    assert [row["id"] for row in bench.rows("SELECT id FROM orders ORDER BY id")] == [IDS[0], IDS[2]]


def test_two_instances_that_apply_the_same_messages_have_one_effect(bench: Bench) -> None:
    bench.clear()
    ids = [OrderId(uuid4()) for _ in range(200)]

    async def race() -> None:
        ledgers = [Ledger(bench.database, ORDERS, Nowhere(), limit=7 + n) for n in range(3)]
        running = [asyncio.create_task(ledger.run()) for ledger in ledgers]
        await asyncio.gather(*(ledger.submit(entry(create(each))) for each in ids for ledger in ledgers))
        for task in running:
            task.cancel()

    bench.run(race())
    (counts,) = bench.rows(
        "SELECT (SELECT count(*) FROM orders) o, (SELECT count(*) FROM event_log) e,"
        " (SELECT sum(count)::int FROM order_totals) t"
    )
    assert (counts["o"], counts["e"], counts["t"]) == (200, 200, 200)


def test_an_order_that_is_not_known_changes_nothing(bench: Bench) -> None:
    bench.clear()
    (answer,) = bench.apply(entry(PaymentApproved(order_id=IDS[0], transaction_id="t")))
    assert isinstance(answer, Applied)
    assert isinstance(answer.decision, TooEarly)
    assert bench.rows("SELECT 1 FROM orders UNION ALL SELECT 1 FROM event_log") == []
