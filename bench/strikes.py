"""Kill one part under load, and measure how both coordinators recover."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final
from uuid import UUID

from bench.facts import End
from bench.load import Placed, accepted, at_rate
from bench.report import Recovery
from bench.trials import Trials, proper
from bench.workload import Sale, sales
from models.saga import Coordinator

# What is killed, by the names that `saga status` gives them. The embedded PostgreSQL holds both services' databases.
PARTS: Final = ("order", "payment", "worker", "rabbitmq", "temporal", "postgres")

_BEFORE: Final = 1.0  # seconds of load before the kill
_AFTER: Final = 1.0  # seconds of load after the part is back


async def strike(trials: Trials, part: str, *, rate: float) -> list[Recovery]:
    """Kill `part` -9 while both coordinators get `rate` orders a second each; the supervisor starts it again.

    One kill for both, so that both suffer the same. Raises TimeoutError if the part does not come back.
    """
    stop = asyncio.Event()
    seed = trials.next_seed()
    loads = {each: asyncio.create_task(_load(trials, each, seed, rate, stop)) for each in Coordinator}
    try:
        await asyncio.sleep(_BEFORE)
        killed, back = await trials.running.kill(part)
        await asyncio.sleep(_AFTER)
    finally:
        stop.set()
        placed = {each: await load for each, load in loads.items()}
    recoveries = []
    for coordinator in Coordinator:
        ends = await trials.ended(placed[coordinator])
        recoveries.append(_recovery(part, coordinator, placed[coordinator], ends, killed, back))
    await trials.at_rest()
    return recoveries


async def _load(trials: Trials, coordinator: Coordinator, seed: int, rate: float, stop: asyncio.Event) -> list[Placed]:
    wanted: Iterator[Sale] = takewhile(lambda _: not stop.is_set(), sales(coordinator, seed=seed))
    return await at_rate(trials.client, wanted, rate=rate)


def _recovery(
    part: str,
    coordinator: Coordinator,
    placed: Sequence[Placed],
    ends: Mapping[UUID, End],
    killed: float,
    back: float,
) -> Recovery:
    orders = accepted(placed)
    by_then = [ends.get(order_id) for order_id, each in orders.items() if each.at <= back]
    waits = [ends[order_id].at - max(each.at, killed) for order_id, each in orders.items() if order_id in ends]
    last = max((end.at for end in by_then if end), default=killed)
    refused = [each for each in placed if each.order_id is None and each.status]
    all_over = all(end is not None and end.over for end in by_then)
    return Recovery(
        killed=part,
        coordinator=coordinator.value,
        back=back - killed,
        over=max(0.0, last - killed) if all_over else None,
        stall=max([0.0, *waits]) if all_over else None,
        accepted=len(orders),
        refused=len(refused),
        unanswered=sum(each.status == 0 for each in placed),
        refused_until=max((each.answered for each in refused), default=killed) - killed if refused else None,
        improper=sum(not proper(each, ends.get(order_id)) for order_id, each in orders.items()),
    )
