"""Run stretches of load on one system. Record what became of the sagas, how fast, and what that used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Final, Self
from uuid import UUID

from temporalio.client import Client

from bench.facts import End, Facts
from bench.footprint import Footprint
from bench.http_client import HttpClient
from bench.load import Placed, accepted, at_rate, saturate
from bench.meters import Meters, Reading
from bench.own_stack import Running
from bench.told import Told
from bench.workload import MIX, Kind, sales
from models.saga import Coordinator

SERVICES: Final = ("gateway", "order", "payment", "worker")
# One kind of order: every saga has the same steps, so that what one saga costs is a number.
PAID: Final[Sequence[Kind]] = (Kind(payment_method="pm_card_visa", weight=1, ends=MIX[0].ends),)
_POLL: Final = 0.02  # seconds between two looks at how many sagas are over, or whether all is at rest
_FEWEST: Final = 20  # orders at an even rate
_EDGE: Final = 0.1  # of all sagas: that many at either end of a stretch are not what it keeps up with


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One stretch of load: the orders placed, how they ended, what that used, and the memory our processes held."""

    coordinator: Coordinator
    began: float  # seconds since the epoch
    placed: Sequence[Placed]
    ends: Mapping[UUID, End]
    sagas: int  # how many ran; a POST that was refused for want of an answer may have started one all the same
    used: Reading  # until the last of them was over; where Temporal was followed, until it knew and all was at rest
    own_cpu_ms: float  # of the load generator, for each order
    footprint: Footprint
    caught_up: float | None  # seconds until Temporal told of every end; None: not followed, or not waited for so long

    @property
    def rate(self) -> float:
        """Sagas a second while the system was full: from the first tenth of the ends to the last."""
        return steady_rate([end.order_at for _, end in self._over()])

    @property
    def whole_rate(self) -> float:
        """Sagas a second, from the first POST to the end of the last one."""
        ended = [end.order_at for _, end in self._over()]
        return len(ended) / (max(ended) - min(placed.at for placed in self.placed)) if ended else 0.0

    @property
    def latencies(self) -> list[float]:
        """Milliseconds from the moment each order was due to be sent until the commit of its last status.

        Orders that somebody asked to cancel are left out.
        """
        return [1000 * (end.order_at - placed.at) for placed, end in self._over() if placed.left_alone]

    @property
    def answers(self) -> list[float]:
        """Milliseconds from POST to its answer, of each accepted order."""
        return [1000 * (placed.answered - placed.at) for placed in self.placed if placed.order_id]

    @property
    def refused(self) -> int:
        """How many POSTs were answered with an error, or not at all."""
        return len(self.placed) - len(accepted(self.placed))

    def _over(self) -> Iterator[tuple[Placed, End]]:
        for order_id, placed in accepted(self.placed).items():
            if order_id in self.ends and self.ends[order_id].over:
                yield placed, self.ends[order_id]


def steady_rate(ends: Sequence[float]) -> float:
    """Ends a second between the first and the last tenth of them; 0 if they are too few to tell. Times in seconds."""
    ordered = sorted(ends)
    first = int(len(ordered) * _EDGE)
    last = len(ordered) - 1 - first
    passed = ordered[last] - ordered[first] if last > first else 0.0
    return (last - first) / passed if passed > 0 else 0.0


@dataclass(kw_only=True)
class Trials:
    """A system with all that loads and measures it, and what has come of all trials on it."""

    running: Running
    client: HttpClient
    facts: Facts
    meters: Meters
    told: Told
    mix: Sequence[Kind]  # what is ordered
    follow: bool  # whether a trial goes on until Temporal tells of every end
    patience: float = 120.0  # seconds for which an end is waited for
    orders: int = 0
    improper: list[str] = field(default_factory=list)
    _seed: int = 0

    @classmethod
    @asynccontextmanager
    async def on(cls, running: Running, *, mix: Sequence[Kind] = PAID, follow: bool = False) -> AsyncIterator[Self]:
        """The trials on a running stack, connected until the end of the context."""
        async with AsyncExitStack() as stack:
            urls = running.urls
            client = await stack.enter_async_context(HttpClient(urls["gateway"]))
            facts = Facts(urls["orders_db"], urls["payments_db"])
            stack.push_async_callback(facts.close)
            meters = Meters(
                pids=running.pids,
                databases={"orders": urls["orders_db"], "payments": urls["payments_db"]},
                rabbitmq_api=running.rabbitmq_api,
            )
            stack.push_async_callback(meters.close)
            told = Told(await Client.connect(urls["temporal"]))
            yield cls(running=running, client=client, facts=facts, meters=meters, told=told, mix=mix, follow=follow)

    def next_seed(self) -> int:
        """The seed of the next workload. Both coordinators get the same one."""
        self._seed += 1
        return self._seed

    async def saturated(
        self,
        coordinator: Coordinator,
        *,
        seconds: float,
        in_flight: int,
        orders: int | None = None,
        seed: int | None = None,
    ) -> Trial:
        """As many sagas as the system keeps up with, for so long, or until so many `orders` are placed.

        `in_flight` of them are under way at any moment.
        """
        deadline = time.monotonic() + seconds
        bought = islice(sales(coordinator, seed=seed or self.next_seed(), mix=self.mix), orders)
        wanted = takewhile(lambda _: time.monotonic() < deadline, bought)
        return await self._trial(coordinator, saturate(self.client, wanted, in_flight=in_flight, over=self.facts.over))

    async def steady(self, coordinator: Coordinator, *, seconds: float, rate: float, seed: int | None = None) -> Trial:
        """Run sagas at an even rate for so long, or longer if these were too few to tell anything."""
        bought = sales(coordinator, seed=seed or self.next_seed(), mix=self.mix)
        wanted = islice(bought, max(_FEWEST, round(rate * seconds)))
        return await self._trial(coordinator, at_rate(self.client, wanted, rate=rate))

    async def at_rest(self) -> None:
        """Wait until nothing is under way, or `patience` seconds have passed."""
        deadline = time.monotonic() + self.patience
        while not await self.facts.at_rest() and time.monotonic() < deadline:  # noqa: ASYNC110 - databases don't tell
            await asyncio.sleep(_POLL)

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

    async def _trial(self, coordinator: Coordinator, load: Coroutine[Any, Any, list[Placed]]) -> Trial:
        over, stored = await self.facts.over(), await self.facts.stored()
        before, began, own = await self.meters.read(), time.time(), time.process_time()
        async with Footprint.watched(self.running.pids, () if self.follow else SERVICES) as footprint:
            placed = await load
            own = time.process_time() - own
            orders = accepted(placed)
            if not orders:
                raise TimeoutError(f"Not one of {len(placed)} orders was accepted; see the logs of the gateway")
            await self._until_over(over + len(orders))
        used, caught_up = await self.meters.read() - before, None
        ends = await self.ended(placed)
        if self.follow:
            alone = {order_id: end for order_id, end in ends.items() if orders[order_id].left_alone}
            caught_up = await self.told.caught_up(alone, began - 1.0, within=self.patience / 2)
        await self.at_rest()  # what is still to be published must not be met by what comes next
        return Trial(
            coordinator=coordinator,
            began=began,
            placed=placed,
            ends=ends,
            sagas=await self.facts.stored() - stored,
            used=await self.meters.read() - before if self.follow else used,
            own_cpu_ms=1000 * own / len(placed),
            footprint=footprint,
            caught_up=caught_up,
        )

    async def _until_over(self, wanted: int) -> None:
        """Wait until so many orders are over. Those that take too long are noted later, one by one."""
        deadline = time.monotonic() + self.patience
        while await self.facts.over() < wanted and time.monotonic() < deadline:  # noqa: ASYNC110 - databases don't tell
            await asyncio.sleep(_POLL)


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
