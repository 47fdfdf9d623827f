"""Place orders: at a given rate whatever becomes of them, or as many as the system keeps up with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

import msgspec

from bench.http_client import Answer
from bench.workload import Sale

_ACCEPTED: Final = (200, 202)
_CONNECTIONS: Final = 32  # POSTs under way at once at saturation, at most
_POLL: Final = 0.01  # seconds between two looks at how many sagas are over
_PATIENCE: Final = 90.0  # seconds without the end of a single saga


class Client(Protocol):
    """Sends requests. `key` is an Idempotency-Key."""

    async def request(self, method: str, path: str, body: bytes = b"", *, key: str | None = None) -> Answer: ...


class _Accepted(msgspec.Struct, rename="camel"):
    order_id: UUID


_accepted: Final = msgspec.json.Decoder(_Accepted)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """One POST and what was answered; times are seconds since the epoch."""

    sale: Sale
    at: float  # when it was sent; at a given rate, when it was due
    late: float  # seconds by which it was sent later than due: the load generator's own fault
    answered: float
    status: int  # 0: no answer, so nobody knows
    order_id: UUID | None  # of an accepted order
    cancelled: int | None = None  # the answer to its cancellation, if that was asked for
    again: UUID | None = None  # the order that the same request was answered with when it was sent again

    @property
    def left_alone(self) -> bool:
        """Whether it was accepted, and nobody asked for its cancellation: its latency is the saga's."""
        return self.order_id is not None and self.cancelled is None


def accepted(placed: Iterable[Placed]) -> dict[UUID, Placed]:
    """The accepted orders, by order id."""
    return {each.order_id: each for each in placed if each.order_id is not None}


def _nobody(_: Placed) -> None:
    """Hears of it."""


async def at_rate(
    client: Client, sales: Iterable[Sale], *, rate: float, told: Callable[[Placed], None] = _nobody
) -> list[Placed]:
    """Place orders at an even `rate` (a second) until `sales` end; returns when each is answered, and cancelled if so.

    An open loop: an order is sent when it is due, however slow the answers to earlier ones are. Somebody may be `told`
    of each order when its POST is answered, and again when its cancellation is.
    """
    started = time.time()
    tasks = []
    for number, sale in enumerate(sales):
        due = started + number / rate
        if (ahead := due - time.time()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(_place(client, sale, due, told)))
    return await asyncio.gather(*tasks)


async def saturate(
    client: Client, sales: Iterable[Sale], *, in_flight: int, over: Callable[[], Awaitable[int]]
) -> list[Placed]:
    """Place orders so that `in_flight` sagas are always under way; returns when each order is answered.

    A closed loop around the whole saga, not around the POST: `over` tells how many sagas have ended, ever, and each end
    makes room for another. Raises TimeoutError when none ends.
    """
    room, connections = asyncio.Semaphore(in_flight), asyncio.Semaphore(_CONNECTIONS)

    async def place(sale: Sale) -> Placed:
        posted = await post(client, sale, time.time())
        connections.release()
        if posted.order_id is None:
            room.release()
        return await _cancelled(client, posted)

    watching = asyncio.create_task(_watch(over, await over(), room))
    tasks = []
    try:
        for sale in sales:
            await _acquire(room, watching)
            await connections.acquire()
            tasks.append(asyncio.create_task(place(sale)))
        return await asyncio.gather(*tasks)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _acquire(room: asyncio.Semaphore, watching: asyncio.Task[None]) -> None:
    """Wait for room for one more saga. Raises what `watching` raises."""
    if not room.locked():
        await room.acquire()
        return
    acquiring = asyncio.ensure_future(room.acquire())
    await asyncio.wait({acquiring, watching}, return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        acquiring.cancel()
        watching.result()  # it ends only by failing


async def _watch(over: Callable[[], Awaitable[int]], before: int, room: asyncio.Semaphore) -> None:
    moved = time.monotonic()
    while True:
        await asyncio.sleep(_POLL)
        if (now := await over()) > before:
            for _ in range(now - before):
                room.release()
            before, moved = now, time.monotonic()
        elif time.monotonic() - moved > _PATIENCE:
            raise TimeoutError(f"No saga has ended for {_PATIENCE:g} s; see what `saga status` says")


async def _place(client: Client, sale: Sale, due: float, told: Callable[[Placed], None]) -> Placed:
    placed = await post(client, sale, due)
    told(placed)
    if sale.twice and placed.order_id is not None:
        again = await post(client, sale, time.time())
        placed = replace(placed, again=again.order_id)
        told(placed)
    return await _cancelled(client, placed, told)


async def post(client: Client, sale: Sale, due: float) -> Placed:
    """Place one order that was due at this time."""
    sent = time.time()
    answer = await client.request("POST", "/api/orders", sale.body, key=sale.key)
    accepted = answer.status in _ACCEPTED
    return Placed(
        sale=sale,
        at=due,
        late=sent - due,
        answered=time.time(),
        status=answer.status,
        order_id=_accepted.decode(answer.body).order_id if accepted else None,
    )


async def _cancelled(client: Client, placed: Placed, told: Callable[[Placed], None] = _nobody) -> Placed:
    """The same order once its cancellation has been asked for, if it is to be; of that somebody is `told`."""
    after = placed.sale.kind.cancel_after
    if after is None or placed.order_id is None:
        return placed
    await asyncio.sleep(placed.answered + after - time.time())
    answer = await client.request("PATCH", f"/api/orders/{placed.order_id}/cancel")
    placed = replace(placed, cancelled=answer.status)
    told(placed)
    return placed
