"""Run one block of load through one coordinator, and take down what became of it and what it used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Final, Self
from uuid import UUID

from temporalio.client import Client

from bench.facts import End, Facts
from bench.http_client import HttpClient
from bench.load import Placed, accepted, at_rate, saturate
from bench.meters import Meters, Reading
from bench.told import Told
from bench.workload import sales
from models.saga import Coordinator

_FEWEST: Final = 20  # orders
_REST: Final = 0.05  # seconds between two looks whether all is at rest


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A running system: where it is, which process is which part, and whether a part is ready.

    `rabbitmq_api` carries user and password; so do the databases' URLs.
    """

    gateway: str
    orders_db: str
    payments_db: str
    rabbitmq_api: str
    temporal: str
    pids: Callable[[], Mapping[str, int]]
    ready: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One block of load: the orders placed, how they ended, what that used, and how far behind Temporal was."""

    coordinator: Coordinator
    began: float  # seconds since the epoch
    placed: Sequence[Placed]
    ends: Mapping[UUID, End]
    sagas: (
        int  # how many ran: a POST that was refused, for want of an answer in time, may have started one all the same
    )
    used: Reading
    own_cpu_ms: float  # of the load generator, for each order
    caught_up: float | None  # seconds after the end of the last saga; None: not while it was waited for

    @property
    def latencies(self) -> list[float]:
        """Milliseconds from POST to the commit of the order's end, of each saga that nobody cancelled."""
        return [1000 * (end.order_at - placed.at) for placed, end in self._over() if placed.left_alone]

    @property
    def answers(self) -> list[float]:
        """Milliseconds from POST to its answer."""
        return [1000 * (placed.answered - placed.at) for placed in self.placed if placed.order_id]

    @property
    def rate(self) -> float:
        """Sagas a second, from the first POST to the end of the last one."""
        ended = [end.order_at for _, end in self._over()]
        return len(ended) / (max(ended) - min(placed.at for placed in self.placed)) if ended else 0.0

    @property
    def orders(self) -> int:
        """How many were accepted."""
        return len(accepted(self.placed))

    @property
    def refused(self) -> float:
        """Percent of the POSTs that were answered with an error, or not at all."""
        return 100 * (1 - self.orders / len(self.placed))

    def _over(self) -> Iterator[tuple[Placed, End]]:
        for order_id, placed in accepted(self.placed).items():
            if order_id in self.ends and self.ends[order_id].over:
                yield placed, self.ends[order_id]


class Bench:
    """A system with all that is needed to load and measure it; `patience` is how many seconds it waits for an end."""

    def __init__(
        self, *, system: System, client: HttpClient, facts: Facts, meters: Meters, told: Told, patience: float
    ) -> None:
        self.system = system
        self.client = client
        self.facts = facts
        self.meters = meters
        self.told = told
        self.patience = patience
        self.improper: list[str] = []
        self.orders = 0
        self._seed = 0

    @classmethod
    @asynccontextmanager
    async def of(cls, system: System, *, patience: float = 120.0) -> AsyncIterator[Self]:
        """Everything connected to the system, until the end of the context."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(HttpClient(system.gateway))
            facts = Facts(system.orders_db, system.payments_db)
            stack.push_async_callback(facts.close)
            meters = Meters(
                pids=system.pids,
                databases={"orders": system.orders_db, "payments": system.payments_db},
                rabbitmq_api=system.rabbitmq_api,
                own_transactions=lambda: facts.transactions,
            )
            stack.push_async_callback(meters.close)
            told = Told(await Client.connect(system.temporal))
            yield cls(system=system, client=client, facts=facts, meters=meters, told=told, patience=patience)

    def next_seed(self) -> int:
        """The seed of the next workload; both coordinators are to be given the same."""
        self._seed += 1
        return self._seed

    async def saturated(
        self, coordinator: Coordinator, *, seed: int, orders: int, in_flight: int, within: float
    ) -> Block:
        """As many sagas as the system keeps up with: `orders` of them, or as many as are begun in `within` seconds."""
        deadline = time.monotonic() + within
        wanted = takewhile(lambda _: time.monotonic() < deadline, islice(sales(coordinator, seed=seed), orders))
        load = saturate(self.client, wanted, in_flight=in_flight, over=self.facts.over)
        return await self._block(coordinator, load)

    async def steady(self, coordinator: Coordinator, *, seed: int, rate: float, seconds: float) -> Block:
        """Sagas at an even rate, for so many seconds; longer where that would be too few of them to tell anything."""
        wanted = islice(sales(coordinator, seed=seed), max(_FEWEST, round(rate * seconds)))
        return await self._block(coordinator, at_rate(self.client, wanted, rate=rate))

    async def at_rest(self) -> None:
        """Wait until nothing is under way, for as long as is waited for anything."""
        deadline = time.monotonic() + self.patience
        while not await self.facts.at_rest() and time.monotonic() < deadline:  # noqa: ASYNC110 - databases don't tell
            await asyncio.sleep(_REST)

    async def ended(self, placed: Sequence[Placed]) -> Mapping[UUID, End]:
        """How the accepted orders ended; those that have not ended as they must are noted."""
        orders = accepted(placed)
        # An accepted cancellation may still be on its way when the saga is over: it is over for good as it must end.
        ends = await self.facts.wait(orders, lambda order_id, end: proper(orders[order_id], end), within=self.patience)
        self.orders += len(orders)
        self.improper += [
            f"{order_id} ({each.sale.coordinator}, {each.sale.kind.payment_method}): {_story(ends.get(order_id))}"
            for order_id, each in orders.items()
            if not proper(each, ends.get(order_id))
        ]
        return ends

    async def _block(self, coordinator: Coordinator, load: Coroutine[Any, Any, list[Placed]]) -> Block:
        stored, before = await self.facts.stored(), await self.meters.read()
        began, own = time.time(), time.process_time()
        placed = await load
        own = time.process_time() - own
        if not accepted(placed):
            raise TimeoutError(f"Not one of {len(placed)} orders was accepted; see the logs of the gateway")
        ends = await self.ended(placed)
        orders = accepted(placed)
        alone = {order_id: end for order_id, end in ends.items() if orders[order_id].left_alone}
        caught_up = await self.told.caught_up(alone, began - 1.0, within=self.patience / 2)
        await self.at_rest()
        used = await self.meters.read() - before
        return Block(
            coordinator=coordinator,
            began=began,
            placed=placed,
            ends=ends,
            sagas=await self.facts.stored() - stored,
            used=used,
            own_cpu_ms=1000 * own / max(1, len(placed)),
            caught_up=caught_up,
        )


def proper(placed: Placed, end: End | None) -> bool:
    """Whether an accepted order has ended as it must, for its payment method, cancellation and the provider's books."""
    return (
        end is not None and end.proper and (end.order, end.payment) in placed.sale.ends(cancellation=placed.cancelled)
    )


def _story(end: End | None) -> str:
    if end is None:
        return "accepted, but never stored"
    due = f", due {end.due}" if end.due else ""
    return f"{end.order}, payment {end.payment}{due}, captured {end.captured}, refunded {end.refunded} of {end.total}"
