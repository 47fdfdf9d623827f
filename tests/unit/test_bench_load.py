"""The load generator copes with a gateway that is slow, full, or hangs up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from uuid import uuid4

import pytest

from bench.facts import End
from bench.http_client import HttpClient
from bench.load import Placed, accepted, at_rate, saturate
from bench.workload import MIX, Kind, Sale, sales
from models.lifecycle import OrderStatus, PaymentStatus
from models.saga import Coordinator
from tests.support.load import Load

VISA = Kind(payment_method="pm_card_visa", weight=1, ends=MIX[0].ends)
CANCELLED = Kind(payment_method="pm_card_visa", weight=1, cancel_after=0.0, ends=MIX[0].ends)


class Gateway:
    """Answers as the gateway does, when `answer` lets it, and keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str, bytes]] = []
        self.keys: list[str] = []
        self.connections = 0
        self.status: Callable[[int], int] = lambda _: 202  # by the number of the request; 0 hangs up
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._came = asyncio.Condition()

    async def all_asked(self, number: int) -> None:
        """Return once so many requests have come."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.asked) >= number)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                size = int(next(line for line in head.splitlines() if line.startswith("Content-Length")).split()[1])
                body = await reader.readexactly(size)
                self.keys += [line.split()[1] for line in head.splitlines() if line.startswith("Idempotency-Key")]
                self.asked.append((time.time(), head.splitlines()[0], body))
                async with self._came:
                    self._came.notify_all()
                status = self.status(len(self.asked))
                await self.may_answer.wait()
                if not status:
                    break
                answer = json.dumps({"orderId": str(uuid4()), "message": "…"}).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        except asyncio.IncompleteReadError:
            pass  # the client is done
        finally:
            writer.close()


def test_orders_are_sent_when_they_are_due_however_slow_the_answers() -> None:
    async def run() -> tuple[Gateway, list[Placed]]:
        gateway = Gateway()
        gateway.may_answer.clear()
        async with gateway.running() as url, HttpClient(url) as client:
            wanted = islice(sales(Coordinator.CHOREOGRAPHY, seed=1, mix=[VISA]), 20)
            load = asyncio.create_task(at_rate(client, wanted, rate=200))
            async with asyncio.timeout(60):
                await gateway.all_asked(20)
            assert not load.done()  # not a single answer so far
            gateway.may_answer.set()
            return gateway, await load

    gateway, placed = asyncio.run(run())
    due = [each.at for each in placed]
    assert [round(later - due[0], 3) for later in due] == [round(number / 200, 3) for number in range(20)]
    assert all(each.order_id for each in placed)
    assert gateway.connections == 20  # none was free
    last = gateway.asked[-1][0]
    assert all(each.answered >= last for each in placed)


def test_a_connection_is_used_again() -> None:
    async def run() -> Gateway:
        gateway = Gateway()
        async with gateway.running() as url, HttpClient(url) as client:
            for _ in range(5):
                answer = await client.request("POST", "/api/orders", b"{}")
                assert answer.status == 202
        return gateway

    gateway = asyncio.run(run())
    assert (gateway.connections, len(gateway.asked)) == (1, 5)


def test_no_more_sagas_than_asked_for_are_under_way_at_saturation() -> None:
    over = 0
    most = 0

    async def run() -> list[Placed]:
        gateway = Gateway()

        async def count() -> int:
            # Two of those that were asked for end between two looks.
            nonlocal over, most
            most = max(most, len(gateway.asked) - over)
            over = min(len(gateway.asked), over + 2)
            return over

        async with gateway.running() as url, HttpClient(url) as client:
            wanted = islice(sales(Coordinator.CHOREOGRAPHY, seed=1, mix=[VISA]), 40)
            return await saturate(client, wanted, in_flight=6, over=count)

    assert len(accepted(asyncio.run(run()))) == 40
    assert 2 < most <= 6


def test_refused_orders_make_room_for_others() -> None:
    async def run() -> list[Placed]:
        gateway = Gateway()
        gateway.status = lambda _: 503

        async def none() -> int:
            return 0

        async with gateway.running() as url, HttpClient(url) as client:
            wanted = islice(sales(Coordinator.CHOREOGRAPHY, seed=1), 30)
            return await saturate(client, wanted, in_flight=4, over=none)

    placed = asyncio.run(run())
    assert [each.status for each in placed] == [503] * 30
    assert not accepted(placed)


def test_a_request_to_a_server_that_hangs_up_or_is_away_counts_as_unanswered() -> None:
    async def run() -> list[int]:
        gateway = Gateway()
        gateway.status = lambda number: 0 if number == 2 else 202
        async with gateway.running() as url, HttpClient(url) as client:
            found = [(await client.request("POST", "/api/orders", b"{}")).status for _ in range(3)]
        async with HttpClient("http://127.0.0.1:1") as client:
            return [*found, (await client.request("GET", "/")).status]

    assert asyncio.run(run()) == [202, 0, 202, 0]


def test_a_request_that_takes_too_long_counts_as_unanswered() -> None:
    async def run() -> int:
        gateway = Gateway()
        gateway.may_answer.clear()
        async with gateway.running() as url, HttpClient(url, timeout=0.05) as client:
            status = (await client.request("GET", "/")).status
            gateway.may_answer.set()
            return status

    assert asyncio.run(run()) == 0


def test_an_accepted_order_is_cancelled_when_its_kind_says_so() -> None:
    async def run() -> tuple[Gateway, list[Placed]]:
        gateway = Gateway()
        async with gateway.running() as url, HttpClient(url) as client:
            return gateway, await at_rate(
                client, islice(sales(Coordinator.CHOREOGRAPHY, seed=1, mix=[CANCELLED]), 1), rate=10
            )

    gateway, (placed,) = asyncio.run(run())
    assert placed.cancelled == 202
    assert not placed.left_alone
    assert [asked for _, asked, _ in gateway.asked] == [
        "POST /api/orders HTTP/1.1",
        f"PATCH /api/orders/{placed.order_id}/cancel HTTP/1.1",
    ]


def test_patient_clients_try_the_other_gateway_until_they_are_answered() -> None:
    async def run() -> tuple[Gateway, Gateway, Load]:
        away, there = Gateway(), Gateway()
        away.status = lambda number: 503 if number % 2 else 0
        async with away.running() as one, there.running() as other:
            load = Load([one, other], patient=True, timeout=5)
            wanted = list(islice(sales(Coordinator.CHOREOGRAPHY, seed=1, mix=[VISA]), 4))
            await asyncio.to_thread(load.run, wanted, rate=100)
            return away, there, load

    away, there, load = asyncio.run(run())
    assert (len(load.accepted), len(there.asked), load.wrong) == (4, 4, {})
    assert load.answers["POST 202"] == 4
    assert load.answers["POST 503"] + load.answers["POST without an answer"] == len(away.asked) > 0


def test_an_answer_that_must_not_be_given_is_counted() -> None:
    async def run() -> Load:
        gateway = Gateway()
        gateway.status = lambda number: (500, 202, 202, 404)[number - 1]
        async with gateway.running() as url:
            load = Load([url], patient=False, timeout=5)
            kinds = (VISA, VISA, CANCELLED)
            wanted = [Sale.of(each, Coordinator.CHOREOGRAPHY, user_id=uuid4(), total=1) for each in kinds]
            await asyncio.to_thread(load.run, wanted, rate=10)
            return load

    load = asyncio.run(run())
    assert (len(load.accepted), len(load.cancelled)) == (2, 0)
    assert load.wrong == {"POST: 500 ": 1, "PATCH: 404 ": 1}


def test_a_request_that_is_sent_twice_has_the_same_key_and_must_make_one_order() -> None:
    async def run() -> tuple[Gateway, Load]:
        gateway = Gateway()  # each of its answers names another order
        async with gateway.running() as url:
            load = Load([url], patient=False, timeout=5)
            sale = Sale.of(VISA, Coordinator.CHOREOGRAPHY, user_id=uuid4(), total=1, key="the-key", twice=True)
            await asyncio.to_thread(load.run, [sale], rate=10)
            return gateway, load

    gateway, load = asyncio.run(run())
    assert [body for _, _, body in gateway.asked] == [gateway.asked[0][2]] * 2
    assert gateway.keys == ["the-key", "the-key"]
    assert load.wrong == {"one Idempotency-Key made two orders": 1}


def test_a_load_that_the_system_does_not_keep_up_with_is_broken_off() -> None:
    async def run() -> Load:
        gateway = Gateway()
        gateway.may_answer.clear()
        async with gateway.running() as url:
            load = Load([url], patient=False, timeout=1)
            await asyncio.to_thread(load.run, sales(Coordinator.CHOREOGRAPHY, seed=1), rate=50, behind=0.1)
            return load

    load = asyncio.run(run())
    assert load.wrong["the system does not keep up with the load, which was broken off"] == 1


def test_both_coordinators_are_asked_for_the_same() -> None:
    one, other = (list(islice(sales(each, seed=7), 500)) for each in Coordinator)
    assert [each.kind for each in one] == [each.kind for each in other]
    for sale, twin in zip(one, other, strict=True):
        asked, twins = json.loads(sale.body), json.loads(twin.body)
        assert (asked.pop("coordinator"), twins.pop("coordinator")) == ("choreography", "orchestration")
        assert asked == twins
    assert {each.kind for each in one} == set(MIX)
    another = list(islice(sales(Coordinator.CHOREOGRAPHY, seed=8), 500))
    assert [each.kind for each in another] != [each.kind for each in one]


END = End(
    order=OrderStatus.PAID,
    payment=PaymentStatus.APPROVED,
    due=None,
    total=999,
    captured=999,
    refunded=0,
    order_at=1.0,
    payment_at=2.0,
)


@pytest.mark.parametrize(
    ("change", "over", "proper"),
    [
        ({}, True, True),
        ({"captured": 0}, True, False),
        ({"refunded": 999}, True, False),
        ({"order": OrderStatus.PENDING_PAYMENT}, False, False),
        ({"payment": PaymentStatus.PROCESSING}, False, False),
        ({"payment": None}, False, False),
        ({"order": OrderStatus.CANCELLED}, False, False),  # the refund is still to come
        ({"order": OrderStatus.CANCELLED, "payment": PaymentStatus.REFUNDED, "refunded": 999}, True, True),
        ({"order": OrderStatus.CANCELLED, "payment": PaymentStatus.REFUNDED}, True, False),
        ({"order": OrderStatus.CANCELLED, "payment": PaymentStatus.CANCELLED, "captured": 0}, True, True),
        ({"order": OrderStatus.CANCELLED, "payment": PaymentStatus.CANCELLED, "due": "void"}, False, False),
        ({"order": OrderStatus.FAILED, "payment": PaymentStatus.FAILED, "captured": 0}, True, True),
    ],
)
def test_a_saga_is_over_when_nothing_is_outstanding_and_proper_when_the_books_agree(
    change: dict[str, object], over: bool, proper: bool
) -> None:
    end = replace(END, **change)  # type: ignore[arg-type]
    assert (end.over, end.proper) == (over, proper)
