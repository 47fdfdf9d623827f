"""Feed mirrors from their queue, an order at a time. Events wait at the broker while Temporal is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import structlog

from activities.crash_points import crash_point
from choreography.subscription import Delivery, Subscribe
from choreography.traces import MirrorTraces
from models.late_events import LateEvents
from models.messages import MalformedMessage
from models.partial_envelope import read_json, read_partially
from models.saga import Coordinator
from models.texts import correlation_of
from workflows.mirror_arrivals import Arrivals
from workflows.mirror_lag import oldest
from workflows.mirror_patience import Patience
from workflows.mirror_telling import EventsRefused, Mirrors, Repair, Telling
from workflows.pace import Pace, PaceLog

log = structlog.get_logger()

_LARGEST_EVENT: Final = 256 * 1024  # bytes; ours have a few hundred
_ACKNOWLEDGED_WITHIN: Final = 0.1  # seconds


class _Arrival(NamedTuple):
    """An event in wire form, and its delivery. The delivery is acknowledged when a mirror knows the event."""

    event: dict[str, Any]
    delivery: Delivery

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.delivery.headers


class MirrorFeed:
    """Tells mirrors of events, and acknowledges an event when its mirror certainly knows it.

    Events that arrive for an order within `gather` seconds go in one call, so that a mirror gets most of its story at
    once. Several orders are told at the same time, the longest-waiting first. Pace decides how many, up to
    `concurrency`. At most `prefetch` events are held; the others wait in the queue. While Temporal is away, the held
    events are tried again with growing pauses.

    With `late`, the queue has only late events, and a saga that was cancelled and compensated while it was young gets
    no mirror.
    """

    def __init__(
        self,
        subscribe: Subscribe,
        mirrors: Mirrors,
        *,
        repair: Repair,
        prefetch: int = 1000,
        concurrency: int = 32,
        gather: float = 0.25,
        late: LateEvents | None = None,
        traces: MirrorTraces | None = None,
    ) -> None:
        self._telling = Telling(mirrors, repair)
        self._traces = traces
        self._pace = Pace(most=concurrency)
        self._arrivals: Arrivals[_Arrival] = Arrivals(gather=gather)
        self._late = late
        self._began = time.time()
        # A held saga has one or two events. There must be room for the events that end the held sagas.
        self._patience: Patience[_Arrival] = Patience(
            after=late.after if late is not None else 0.0, most=prefetch // 4, event_of=lambda each: each.event
        )
        self._under_way: dict[str, tuple[asyncio.Task[None], _Arrival]] = {}  # with the first event that is told
        self._waking: asyncio.TimerHandle | None = None
        self._rests_until = 0.0  # the loop's clock
        self._draining = False
        self._said = PaceLog()
        # Forget at each new connection: events that came by an earlier one come again.
        pause, renew = _ACKNOWLEDGED_WITHIN, self._forget
        self._subscription = subscribe(self._on_delivery, prefetch=prefetch, pause=pause, renew=renew)

    @property
    def standing(self) -> str:
        """`ok` if the queue is read; else the reason why not, as a sentence for an operator."""
        return self._subscription.standing

    @property
    def held(self) -> int:
        """How many events came from the queue and are not with their mirrors yet."""
        return self._subscription.held

    @property
    def oldest(self) -> datetime | None:
        """When the event occurred that has waited longest to be told; None if none waits."""
        return oldest(chain((first for _, first in self._under_way.values()), self._arrivals.firsts()))

    async def drain(self, timeout: float) -> None:
        """Take no new event, and finish the calls under way within `timeout` seconds. The other events come again."""
        self._draining = True
        self._forget()
        deadline = asyncio.get_running_loop().time() + timeout
        await self._subscription.end(within=timeout)
        if self._under_way:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            await asyncio.wait([task for task, _ in self._under_way.values()], timeout=left)
        await asyncio.sleep(_ACKNOWLEDGED_WITHIN)  # until told events are acknowledged, so that they don't come again

    def _forget(self) -> None:
        self._arrivals.clear()
        self._patience.clear()

    async def _on_delivery(self, delivery: Delivery) -> None:
        try:
            delivery.check_decoded()
            glance, event = read_partially(delivery.body), read_json(delivery.body)
        except MalformedMessage as error:
            await _set_aside(delivery, "MALFORMED", f"not an event: {error}")
            return
        if (size := len(delivery.body)) > _LARGEST_EVENT:
            await _set_aside(delivery, "MALFORMED", f"{size} bytes are too many for a mirror")
            return
        if glance.coordinator is Coordinator.ORCHESTRATION:
            delivery.acknowledge()  # an orchestrated saga needs no mirror
            return
        # A mirror gets no message properties, so the correlation id must be in the event.
        event["correlationId"] = correlation_of(glance.correlation_id, delivery.correlation_id, glance.event_id)
        self._take(str(glance.payload.order_id), _Arrival(event, delivery), size)
        self._tell_more()

    def _take(self, order_id: str, arrived: _Arrival, size: int) -> None:
        """Hold the event if its saga may soon be over. Else have it told to the mirror, with all held events."""
        now, fresh = asyncio.get_running_loop().time(), arrived.delivery.is_fresh
        untold = (
            fresh and self._is_young(order_id) and order_id not in self._under_way and order_id not in self._arrivals
        )
        if fresh and self._patience.is_known(order_id, arrived):
            _acknowledge([arrived])
        elif self._patience.holds(order_id, arrived, size=size, untold=untold, now=now):
            _acknowledge(self._patience.over(order_id))
        else:
            self._release(now, order_id)
            self._arrivals.add(order_id, arrived, size=size, now=now)

    def _is_young(self, order_id: str) -> bool:
        """Whether the saga may get no mirror. One that began before this feed may have one from the feed before."""
        return self._late is not None and self._late.is_young(order_id, since=self._began)

    def _release(self, now: float, order_id: str | None = None) -> None:
        for ripe, held in self._patience.released(now, order_id=order_id):
            for each in held:
                self._arrivals.add(ripe, each, size=len(each.delivery.body), now=now)
        if (later := self._patience.ripe_at) is not None:
            self._wake_at(later)

    def _tell_more(self) -> None:
        loop = asyncio.get_running_loop()
        self._release(loop.time())
        if self._draining or len(self._under_way) >= self._pace.at_once:
            return
        if self._rests_until > loop.time():
            self._wake_at(self._rests_until)
            return
        free = islice(self._arrivals.besides(self._under_way), self._pace.at_once - len(self._under_way))
        for order_id, ripe_at in list(free):
            if ripe_at > loop.time():
                self._wake_at(ripe_at)
                return
            arrived = self._arrivals.take(order_id)
            task = asyncio.create_task(self._tell_traced(order_id, arrived))
            self._under_way[order_id] = task, arrived[0]
            task.add_done_callback(lambda _, order_id=order_id: self._told(order_id))  # type: ignore[misc]

    def _wake_at(self, when: float) -> None:
        if self._waking is not None and self._waking.when() > when:
            self._waking.cancel()
            self._waking = None
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_at(when, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._tell_more()

    def _told(self, order_id: str) -> None:
        del self._under_way[order_id]
        self._tell_more()

    async def _tell_traced(self, order_id: str, arrived: Sequence[_Arrival]) -> None:
        if self._traces is None:
            await self._tell(order_id, arrived)
            return
        deliveries = [each.delivery for each in arrived]
        with self._traces.telling(order_id, deliveries[0].queue, [each.message for each in deliveries]):
            await self._tell(order_id, arrived)

    async def _tell(self, order_id: str, arrived: Sequence[_Arrival]) -> None:
        def wanted() -> bool:
            return arrived[-1].delivery.is_ours and not self._draining

        try:
            took = await self._telling.tell(order_id, [each.event for each in arrived], wanted=wanted)
        except EventsRefused as refused:
            await self._give_up(arrived, str(refused))
            return
        if took is not None:
            now = asyncio.get_running_loop().time()
            self._rests_until = now + self._pace.took(took, under_way=len(self._under_way), now=now)
            self._said.note(self._pace, waiting=len(self._arrivals), now=now)
            crash_point("mirror.told")
            _acknowledge(arrived)

    async def _give_up(self, arrived: Sequence[_Arrival], error: str) -> None:
        try:
            for each in arrived:
                await _set_aside(each.delivery, "FAILED", error)
        except ConnectionError as lost:
            log.info("mirror_events_left_unacknowledged", error=str(lost))


async def _set_aside(delivery: Delivery, reason: str, error: str) -> None:
    log.warning("message_dead_lettered", queue=delivery.queue, reason=reason, error=error)
    await delivery.dead_letter(reason=reason, error=error)
    delivery.acknowledge()


def _acknowledge(told: Sequence[_Arrival]) -> None:
    try:
        for each in told:
            each.delivery.acknowledge()
    except ConnectionError as error:
        log.info("mirror_events_left_unacknowledged", error=str(error))
