"""Every payment provider keeps the promises of the port, on real PostgreSQL and with the real Stripe library."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.providers import ForeignAnswer, Mischarged, PaymentProvider, ProviderUnavailable, RefundRefused
from activities.providers.simulated import SimulatedProvider
from activities.providers.stripe import StripeProvider
from models.database import TRANSIENT, Database
from models.lifecycle import PaymentStatus
from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment, payment_id
from models.saga import Coordinator, OrderId, PaymentId
from tests.support.fakes.stripe_server import TEST_KEY, StripeServer
from tests.support.provider_books import BookEntry, books
from tests.support.waiting import until
from tests.support.world import Servers

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # how the Stripe library calls httpx
]
AMOUNT = 4_200


def payment(method: str | None = "pm_card_visa", *, order: UUID | None = None, amount: int = AMOUNT) -> Payment:
    order_id = OrderId(order or new_order_id())
    return Payment(
        id=payment_id(order_id),
        order_id=order_id,
        amount=amount,
        currency="USD",
        payment_method=method,
        coordinator=Coordinator.CHOREOGRAPHY,
        status=PaymentStatus.PROCESSING,
    )


def new_order_id(*, age: float = 0.0) -> UUID:
    """A version 7 UUID minted `age` seconds ago."""
    bits = int((time.time() - age) * 1000) << 80 | (uuid4().int & ((1 << 80) - 1))
    return UUID(int=bits & ~(0xF << 76) | 7 << 76)


class Books(Protocol):
    """A provider under test, with the money that it took and gave back for a payment, in minor units."""

    @property
    def provider(self) -> PaymentProvider: ...

    async def sums(self, of: Payment) -> tuple[int, int]: ...


class SimulatedBooks:
    def __init__(self, database: Database, **options: Any) -> None:
        self.database = database
        self.provider = SimulatedProvider(database, **{"latency": 0.0, "timeout": 1.0, **options})

    async def sums(self, of: Payment) -> tuple[int, int]:
        entry = (await books(self.database)).get(of.id)
        return (entry.captured, entry.refunded) if entry else (0, 0)


class StripeBooks:
    def __init__(self, server: StripeServer, **options: Any) -> None:
        self.server = server
        self.provider = StripeProvider(TEST_KEY, base_url=server.url, **{"timeout": 5.0, **options})

    async def sums(self, of: Payment) -> tuple[int, int]:
        intents = [i for i in self.server.intents.values() if i["metadata"]["payment_id"] == str(of.id)]
        charges = [i["latest_charge"] for i in intents if i["latest_charge"]]
        return sum(i["amount_received"] for i in intents), sum(charge["amount_refunded"] for charge in charges)


@asynccontextmanager
async def running(*providers: SimulatedProvider | StripeProvider) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(provider.run()) for provider in providers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _once_back(database: Database) -> dict[PaymentId, BookEntry]:
    """The books, as soon as their server answers again."""
    while True:
        try:
            return await books(database)
        except TRANSIENT:
            await database.check()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def database_url(servers: Servers) -> str:
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE providers OWNER payments TEMPLATE payments")
    password = servers.database_passwords["payments"]
    return f"postgresql://payments:{password}@127.0.0.1:{servers.postgres_port}/providers"


@pytest.fixture
async def database(anyio_backend: str, database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, name="test", timeout=10)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def stripe_server() -> Iterator[StripeServer]:
    server = StripeServer()
    yield server
    server.close()


@pytest.fixture
async def stripe_books(anyio_backend: str, stripe_server: StripeServer) -> AsyncIterator[StripeBooks]:
    opened = StripeBooks(stripe_server)
    async with running(opened.provider):
        yield opened


class ConformanceOfAProvider:
    """The promises of the port. Each implementation has a subclass that names its books."""

    async def test_charging_twice_with_one_id_captures_once(self, open_books: Books) -> None:
        asked = payment()
        first = await open_books.provider.charge(asked, correlation_id="c")
        second = await open_books.provider.charge(asked, correlation_id="c")
        assert isinstance(first, Charged)
        assert second == first
        assert await open_books.sums(asked) == (AMOUNT, 0)

    async def test_concurrent_charges_with_one_id_capture_once(self, open_books: Books) -> None:
        asked = payment()
        answers = await asyncio.gather(*(open_books.provider.charge(asked, correlation_id="c") for _ in range(5)))
        assert len(set(answers)) == 1
        assert await open_books.sums(asked) == (AMOUNT, 0)

    async def test_a_void_before_the_charge_lets_it_capture_nothing(self, open_books: Books) -> None:
        asked = payment()
        assert await open_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        refused = Refused(order_id=asked.order_id, error="voided")
        assert await open_books.provider.charge(asked, correlation_id="c") == refused
        assert await open_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        assert await open_books.provider.look_up(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        assert await open_books.sums(asked) == (0, 0)

    async def test_a_void_after_the_capture_says_charged(self, open_books: Books) -> None:
        asked = payment()
        charged = await open_books.provider.charge(asked, correlation_id="c")
        assert await open_books.provider.void(asked, correlation_id="c") == charged
        assert await open_books.sums(asked) == (AMOUNT, 0)

    async def test_refunding_twice_gives_back_once(self, open_books: Books) -> None:
        asked = payment()
        await open_books.provider.charge(asked, correlation_id="c")
        assert await open_books.provider.refund(asked, correlation_id="c") == Refunded(order_id=asked.order_id)
        assert await open_books.provider.refund(asked, correlation_id="c") == Refunded(order_id=asked.order_id)
        assert await open_books.provider.look_up(asked, correlation_id="c") == Refunded(order_id=asked.order_id)
        assert await open_books.sums(asked) == (AMOUNT, AMOUNT)

    async def test_a_payment_that_was_never_captured_is_not_refunded(self, open_books: Books) -> None:
        asked = payment()
        with pytest.raises(RefundRefused):
            await open_books.provider.refund(asked, correlation_id="c")
        assert await open_books.sums(asked) == (0, 0)

    @pytest.mark.parametrize("method", ["pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"])
    async def test_a_declined_charge_stays_declined(self, open_books: Books, method: str) -> None:
        asked = payment(method)
        declined = await open_books.provider.charge(asked, correlation_id="c")
        assert isinstance(declined, Declined)
        assert ("nsufficient" in declined.reason) == ("Insufficient" in method)
        assert await open_books.provider.look_up(asked, correlation_id="c") == declined
        assert await open_books.provider.charge(asked, correlation_id="c") == declined
        assert await open_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        assert await open_books.sums(asked) == (0, 0)

    async def test_a_refused_charge_captures_nothing(self, open_books: Books) -> None:
        asked = payment("pm_error")
        refused = await open_books.provider.charge(asked, correlation_id="c")
        assert isinstance(refused, Refused)
        assert "pm_error" in refused.error
        assert await open_books.provider.look_up(asked, correlation_id="c") in (None, refused)
        assert await open_books.sums(asked) == (0, 0)

    async def test_an_unanswered_charge_can_be_looked_up_and_voided(self, open_books: Books) -> None:
        asked = payment("pm_unavailable")
        with pytest.raises(ProviderUnavailable):
            await open_books.provider.charge(asked, correlation_id="c")
        assert await open_books.provider.look_up(asked, correlation_id="c") is None
        assert await open_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        assert await open_books.sums(asked) == (0, 0)

    @pytest.mark.parametrize("ask", ["charge", "look_up", "void"])
    async def test_a_lost_answer_is_found_again(self, open_books: Books, ask: str) -> None:
        asked = payment("pm_timeout_then_approve")
        provider = open_books.provider
        with pytest.raises(ProviderUnavailable):
            await provider.charge(asked, correlation_id="c")
        again: dict[str, Callable[[], Awaitable[Any]]] = {
            "charge": lambda: provider.charge(asked, correlation_id="c"),
            "look_up": lambda: provider.look_up(asked, correlation_id="c"),
            "void": lambda: provider.void(asked, correlation_id="c"),
        }
        assert isinstance(await again[ask](), Charged)
        assert await open_books.sums(asked) == (AMOUNT, 0)

    async def test_an_unknown_payment_looks_up_to_nothing(self, open_books: Books) -> None:
        assert await open_books.provider.look_up(payment(), correlation_id="c") is None

    @settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(waves=st.lists(st.lists(st.sampled_from(["charge", "void", "refund"]), min_size=1, max_size=4), max_size=4))
    async def test_no_interleaving_takes_twice_or_gives_back_too_much(
        self, open_books: Books, waves: list[list[str]]
    ) -> None:
        asked = payment("pm_timeout_then_approve")
        captured_after_void = None
        for wave in waves:
            answers = await asyncio.gather(*(ask(open_books.provider, verb, asked) for verb in wave))
            captured, refunded = await open_books.sums(asked)
            assert captured in (0, AMOUNT)
            assert refunded in (0, captured)
            assert refunded == captured or not any(isinstance(answer, Refunded) for answer in answers)
            assert captured == AMOUNT or not any(isinstance(answer, Charged) for answer in answers)
            if captured_after_void is None and any(isinstance(answer, Voided) for answer in answers):
                captured_after_void = captured
                assert captured == 0
            assert captured_after_void is None or captured == captured_after_void


async def ask(provider: PaymentProvider, verb: str, asked: Payment) -> object:
    with suppress(ProviderUnavailable, RefundRefused):
        match verb:
            case "charge":
                return await provider.charge(asked, correlation_id="c")
            case "void":
                return await provider.void(asked, correlation_id="c")
            case _:
                return await provider.refund(asked, correlation_id="c")
    return None


class TestSimulatedProvider(ConformanceOfAProvider):
    @pytest.fixture
    async def open_books(self, anyio_backend: str, database: Database) -> AsyncIterator[Books]:
        opened = SimulatedBooks(database)
        async with running(opened.provider):
            yield opened

    async def test_latency_limits_no_throughput(self, database: Database) -> None:
        opened = SimulatedBooks(database, latency=1.0, timeout=30.0)
        async with running(opened.provider):
            await opened.provider.look_up(payment(), correlation_id="c")  # connections are up
            before = time.monotonic()
            charges = [opened.provider.charge(payment(), correlation_id="c") for _ in range(500)]
            answers = await asyncio.gather(*charges)
            took = time.monotonic() - before
        assert {type(answer) for answer in answers} == {Charged}
        assert 1.0 <= took < 10.0

    async def test_a_void_during_the_latency_wins_also_from_another_process(self, database: Database) -> None:
        one, other = (SimulatedBooks(database, latency=1.5, timeout=10.0) for _ in range(2))
        asked = payment()
        async with running(one.provider, other.provider):
            charge = asyncio.create_task(one.provider.charge(asked, correlation_id="c"))
            assert await other.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
            assert not charge.done()
            assert await charge == Refused(order_id=asked.order_id, error="voided")
        assert await one.sums(asked) == (0, 0)

    async def test_processes_that_share_the_books_agree_on_who_was_first(self, database: Database) -> None:
        one, other = (SimulatedBooks(database, timeout=10.0) for _ in range(2))
        asked = [payment() for _ in range(200)]
        async with running(one.provider, other.provider):
            charges = asyncio.gather(*(one.provider.charge(each, correlation_id="c") for each in asked))
            voids = asyncio.gather(*(other.provider.void(each, correlation_id="c") for each in reversed(asked)))
            answers = list(zip(asked, await charges, await voids, strict=True))
        entries = await books(database)
        for each, charged, voided in answers:
            took = isinstance(charged, Charged)
            assert isinstance(voided, Charged) == took
            assert entries[each.id].captured == (AMOUNT if took else 0)

    async def test_the_books_survive_a_restart(self, database: Database) -> None:
        asked = payment()
        for _ in range(2):
            opened = SimulatedBooks(database)
            async with running(opened.provider):
                charged = await opened.provider.charge(asked, correlation_id="c")
        assert charged == Charged(order_id=asked.order_id, transaction_id=f"txn_{asked.id.hex}")
        assert await opened.sums(asked) == (AMOUNT, 0)

    async def test_an_answer_stands_when_the_server_dies_right_after_it(
        self, database: Database, servers: Servers
    ) -> None:
        """Once the database is back, a service that remembers an answer approves its payment."""
        asked, open_books, killed = payment(), SimulatedBooks(database), servers.pids()["postgres"]
        with psycopg.connect(servers.admin_dsn) as admin:
            found = admin.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").fetchone()
        assert found is not None
        (wal_writer,) = found
        os.kill(wal_writer, signal.SIGSTOP)  # so that it cannot repair a commit that did not wait for the disk
        try:
            async with running(open_books.provider):
                await open_books.provider.charge(asked, correlation_id="c")
                servers.kill("postgres")
        finally:
            os.kill(wal_writer, signal.SIGKILL)
        until(lambda: servers.pids().get("postgres", killed) != killed, what="its supervisor starts it again")
        assert asked.id in await _once_back(database)

    @pytest.mark.parametrize("method", [None, "pm_not_listed"])
    async def test_the_coin_is_seeded_by_the_order(self, database: Database, method: str | None) -> None:
        orders = [UUID(int=n) for n in range(300)] if method else [UUID(int=n) for n in range(300, 600)]
        opened = SimulatedBooks(database, timeout=10.0)
        async with running(opened.provider):
            charges = [opened.provider.charge(payment(method, order=order), correlation_id="c") for order in orders]
            answers = await asyncio.gather(*charges)
        declined = [answer for answer in answers if isinstance(answer, Declined)]
        assert 30 <= len(declined) <= 90  # a fifth, within what chance allows; the same in every run
        assert {answer.reason for answer in declined} == {"Insufficient funds"}

    async def test_a_slow_payment_method_has_a_latency_of_its_own(self, database: Database) -> None:
        opened = SimulatedBooks(database, latency=30.0, slow=0.0)
        async with running(opened.provider):
            assert isinstance(await opened.provider.charge(payment("pm_slow"), correlation_id="c"), Charged)

    async def test_unreachable_books_are_an_unavailable_provider(self) -> None:
        database = Database("postgresql://nobody@127.0.0.1:1/none", name="test", timeout=0.2)
        await database.open()
        opened = SimulatedBooks(database, timeout=10.0)
        async with running(opened.provider):
            with pytest.raises(ProviderUnavailable, match="books"):
                await opened.provider.charge(payment(), correlation_id="c")
        await database.close()


class TestStripeProvider(ConformanceOfAProvider):
    @pytest.fixture
    def open_books(self, stripe_books: StripeBooks) -> Books:
        return stripe_books

    @pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
    async def test_a_temporary_error_is_unavailable_and_not_refused(
        self, stripe_books: StripeBooks, status: int
    ) -> None:
        asked = payment()
        stripe_books.server.failures = [status]
        with pytest.raises(ProviderUnavailable, match=str(status)):
            await stripe_books.provider.charge(asked, correlation_id="c")
        assert isinstance(await stripe_books.provider.charge(asked, correlation_id="c"), Charged)
        assert await stripe_books.sums(asked) == (AMOUNT, 0)

    async def test_errors_and_logs_show_no_key(
        self, stripe_server: StripeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = "sk_test_wrong"
        provider = StripeProvider(key, base_url=stripe_server.url)
        unreachable = StripeProvider(key, base_url="http://127.0.0.1:1", timeout=1.0)
        for each in (provider, unreachable):
            async with running(each):
                with pytest.raises(ProviderUnavailable) as raised:
                    await each.charge(payment(), correlation_id="c")
                assert key not in repr(raised.value)
                assert raised.value.__cause__ is None
                assert raised.value.__context__ is None
        assert key not in caplog.text

    async def test_an_amount_stripe_refuses_is_refused_and_voided(self, stripe_books: StripeBooks) -> None:
        asked = payment(amount=1)
        assert isinstance(await stripe_books.provider.charge(asked, correlation_id="c"), Refused)
        assert isinstance(await stripe_books.provider.look_up(asked, correlation_id="c"), Refused)
        assert await stripe_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)

    @pytest.mark.parametrize(
        ("currency", "total", "at_stripe"),
        [("USD", 5_000, 5_000), ("JPY", 500, 500), ("ISK", 500, 50_000), ("UGX", 500, 50_000), ("MGA", 50_000, 500)],
    )
    async def test_charges_are_in_the_units_of_stripe(
        self, stripe_books: StripeBooks, currency: str, total: int, at_stripe: int
    ) -> None:
        asked = replace(payment(amount=total), currency=currency)
        assert isinstance(await stripe_books.provider.charge(asked, correlation_id="c"), Charged)
        assert await stripe_books.sums(asked) == (at_stripe, 0)
        await stripe_books.provider.refund(asked, correlation_id="c")
        assert await stripe_books.sums(asked) == (at_stripe, at_stripe)

    async def test_hundredths_that_stripe_does_not_have_are_refused_and_voided(self, stripe_books: StripeBooks) -> None:
        asked = replace(payment(amount=50_001), currency="MGA")
        answer = await stripe_books.provider.charge(asked, correlation_id="c")
        assert answer == Refused(order_id=asked.order_id, error="Stripe charges whole MGA only")
        assert await stripe_books.provider.void(asked, correlation_id="c") == Voided(order_id=asked.order_id)
        assert stripe_books.server.requests == []

    async def test_every_request_carries_the_correlation_id_that_it_is_made_for(
        self, stripe_books: StripeBooks
    ) -> None:
        asked = payment("pm_timeout_then_approve")
        with pytest.raises(ProviderUnavailable):
            await stripe_books.provider.charge(asked, correlation_id="first")
        assert isinstance(await stripe_books.provider.charge(asked, correlation_id="second"), Charged)
        await stripe_books.provider.void(asked, correlation_id="third")
        await stripe_books.provider.refund(asked, correlation_id="fourth")
        told = stripe_books.server.correlation_ids
        assert None not in told
        assert list(dict.fromkeys(told)) == ["first", "second", "third", "fourth"]

    @pytest.mark.parametrize("correlation_id", ["é", "a\nb", "x ", " ", "日本", "a" * 255])
    async def test_whatever_a_correlation_id_is_money_moves(
        self, stripe_books: StripeBooks, correlation_id: str
    ) -> None:
        asked = payment()
        assert isinstance(await stripe_books.provider.charge(asked, correlation_id=correlation_id), Charged)
        await stripe_books.provider.refund(asked, correlation_id=correlation_id)
        assert await stripe_books.sums(asked) == (AMOUNT, AMOUNT)

    async def test_a_test_key_pays_by_visa_when_no_method_is_named(self, stripe_books: StripeBooks) -> None:
        assert isinstance(await stripe_books.provider.charge(payment(None), correlation_id="c"), Charged)

    async def test_a_live_key_refuses_a_payment_without_method(self, stripe_server: StripeServer) -> None:
        asked = payment(None)
        provider = StripeProvider("sk_live_none", base_url=stripe_server.url)
        async with running(provider):
            assert isinstance(await provider.charge(asked, correlation_id="c"), Refused)
        assert stripe_server.requests == []

    async def test_a_pending_refund_counts_once_it_succeeded(self, stripe_books: StripeBooks) -> None:
        asked = payment()
        await stripe_books.provider.charge(asked, correlation_id="c")
        stripe_books.server.refund_status = "pending"
        with pytest.raises(ProviderUnavailable, match="pending"):
            await stripe_books.provider.refund(asked, correlation_id="c")
        for refund in stripe_books.server.refunds.values():
            refund["status"] = "succeeded"
        assert await stripe_books.provider.refund(asked, correlation_id="c") == Refunded(order_id=asked.order_id)

    async def test_a_payment_older_than_its_keys_is_not_charged_again(self, stripe_books: StripeBooks) -> None:
        asked = payment(order=new_order_id(age=30 * 3600))
        charged = await stripe_books.provider.charge(asked, correlation_id="c")
        stripe_books.server.forget_keys()
        assert await stripe_books.provider.charge(asked, correlation_id="c") == charged
        assert await stripe_books.provider.void(asked, correlation_id="c") == charged
        assert await stripe_books.sums(asked) == (AMOUNT, 0)

    async def test_a_decline_older_than_its_keys_stays_declined(self, stripe_books: StripeBooks) -> None:
        asked = payment("pm_card_chargeDeclined", order=new_order_id(age=30 * 3600))
        declined = await stripe_books.provider.charge(asked, correlation_id="c")
        stripe_books.server.forget_keys()
        now_good = replace(asked, payment_method="pm_card_visa")
        assert await stripe_books.provider.charge(now_good, correlation_id="c") == declined
        assert await stripe_books.sums(asked) == (0, 0)

    @pytest.mark.parametrize("captures", [(1, "usd"), (AMOUNT * 100, "usd"), (AMOUNT, "eur"), (0, "usd")], ids=str)
    async def test_what_was_captured_otherwise_than_asked_is_never_a_charge_and_can_be_given_back(
        self, stripe_books: StripeBooks, captures: tuple[int, str]
    ) -> None:
        asked, provider = payment(), stripe_books.provider
        stripe_books.server.captures = captures
        charged = await provider.charge(asked, correlation_id="c")
        assert isinstance(charged, Mischarged)
        assert f"captured {captures[0]} {captures[1]}" in charged.why
        assert f"instead of {AMOUNT} usd" in charged.why
        assert await provider.charge(asked, correlation_id="c") == charged
        assert await provider.void(asked, correlation_id="c") == charged
        assert await provider.look_up(asked, correlation_id="c") == charged
        await provider.refund(replace(asked, transaction_id=charged.transaction_id), correlation_id="c")
        assert await stripe_books.sums(asked) == (captures[0], captures[0])

    @pytest.mark.parametrize("captured", ["all", "part"])
    async def test_what_was_captured_of_an_intent_before_it_was_cancelled_is_not_overlooked(
        self, stripe_books: StripeBooks, captured: str
    ) -> None:
        asked = payment()
        await stripe_books.provider.charge(asked, correlation_id="c")
        [intent] = stripe_books.server.intents.values()
        intent |= {"status": "canceled", "amount_received": AMOUNT if captured == "all" else 7}
        stripe_books.server.forget_keys()
        found = await stripe_books.provider.look_up(replace(asked, transaction_id=intent["id"]), correlation_id="c")
        assert isinstance(found, Charged if captured == "all" else Mischarged)

    @pytest.mark.parametrize("opened", [{"amount": AMOUNT * 2}, {"currency": "eur"}], ids=str)
    async def test_an_intent_for_something_else_is_cancelled_and_never_confirmed(
        self, stripe_books: StripeBooks, opened: dict[str, Any]
    ) -> None:
        def lie(path: str, answer: dict[str, Any]) -> None:
            if path == "/v1/payment_intents":
                answer |= opened

        asked, stripe_books.server.lie = payment(), lie
        answer = await stripe_books.provider.charge(asked, correlation_id="c")
        assert isinstance(answer, Refused)
        assert "which was not asked for" in answer.error
        assert not [request for request in stripe_books.server.requests if request.endswith("/confirm")]
        assert [intent["status"] for intent in stripe_books.server.intents.values()] == ["canceled"]

    @pytest.mark.parametrize(
        "lie", [{"metadata": {"payment_id": str(UUID(int=9))}}, {"metadata": {}}, {"metadata": None}], ids=str
    )
    async def test_an_answer_about_another_payment_settles_nothing_and_touches_nothing(
        self, stripe_books: StripeBooks, lie: dict[str, Any]
    ) -> None:
        asked, provider = payment(), stripe_books.provider
        stripe_books.server.lie = lambda _path, answer: answer.update(lie)
        for ask in (provider.charge, provider.void, provider.look_up, provider.refund):
            with pytest.raises(ForeignAnswer, match=str(asked.id)):
                await ask(asked, correlation_id="c")
        assert set(stripe_books.server.requests) == {"POST /v1/payment_intents"}
        assert await stripe_books.sums(asked) == (0, 0)

    @pytest.mark.parametrize("step", ["confirm", "cancel", ""])
    async def test_an_answer_about_another_intent_of_the_payment_settles_nothing(
        self, stripe_books: StripeBooks, step: str
    ) -> None:
        def lie(path: str, answer: dict[str, Any]) -> None:
            if path.startswith("/v1/payment_intents/") and path.endswith(step):
                answer["id"] = "pi_another"

        asked, stripe_books.server.lie = payment(), lie
        provider = stripe_books.provider
        ask = {"confirm": provider.charge, "cancel": provider.void, "": provider.look_up}[step]
        with pytest.raises(ForeignAnswer, match="pi_another"):
            await ask(asked, correlation_id="c")

    @pytest.mark.parametrize("status", ["processing", "requires_action", "requires_capture", "requires_confirmation"])
    async def test_a_status_that_settles_nothing_is_no_answer(self, stripe_books: StripeBooks, status: str) -> None:
        def lie(path: str, answer: dict[str, Any]) -> None:
            if path.startswith("/v1/payment_intents/") and "error" not in answer:
                answer |= {"status": status, "amount_received": 0}

        asked, stripe_books.server.lie = payment(), lie
        with pytest.raises(ProviderUnavailable, match=status):
            await stripe_books.provider.charge(asked, correlation_id="c")
        with pytest.raises(ProviderUnavailable, match=status):
            await stripe_books.provider.void(asked, correlation_id="c")
        assert await stripe_books.provider.look_up(asked, correlation_id="c") is None

    @pytest.mark.parametrize("given", [1, AMOUNT - 1])
    async def test_a_refund_of_less_than_was_captured_is_refused_for_an_operator_to_look(
        self, stripe_books: StripeBooks, given: int
    ) -> None:
        asked = payment()
        await stripe_books.provider.charge(asked, correlation_id="c")
        stripe_books.server.refunds_at_most = given
        for _ in range(2):
            with pytest.raises(RefundRefused, match=f"leaves {AMOUNT - given} of {AMOUNT} usd captured"):
                await stripe_books.provider.refund(asked, correlation_id="c")
        assert await stripe_books.sums(asked) == (AMOUNT, given)

    async def test_a_refund_of_what_others_have_left_counts_as_one_of_all(self, stripe_books: StripeBooks) -> None:
        asked = payment()
        await stripe_books.provider.charge(asked, correlation_id="c")
        [intent] = stripe_books.server.intents.values()
        intent["latest_charge"]["amount_refunded"] = 100  # by hand, on Stripe's own pages
        assert await stripe_books.provider.refund(asked, correlation_id="c") == Refunded(order_id=asked.order_id)
        assert await stripe_books.sums(asked) == (AMOUNT, AMOUNT)

    @pytest.mark.parametrize("keys_forgotten", [False, True])
    async def test_a_refund_whose_answer_was_lost_converges(
        self, stripe_books: StripeBooks, keys_forgotten: bool
    ) -> None:
        asked = payment()
        charged = await stripe_books.provider.charge(asked, correlation_id="c")
        assert isinstance(charged, Charged)
        approved = replace(asked, transaction_id=charged.transaction_id)
        stripe_books.server.lost.add("/v1/refunds")
        with pytest.raises(ProviderUnavailable):
            await stripe_books.provider.refund(approved, correlation_id="c")
        if keys_forgotten:
            stripe_books.server.forget_keys()
        assert await stripe_books.provider.refund(approved, correlation_id="c") == Refunded(order_id=asked.order_id)
        assert await stripe_books.sums(asked) == (AMOUNT, AMOUNT)
