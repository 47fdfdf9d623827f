"""Publish the events that the fast path left in the outbox, at least once, and in order for each order.

When an event fails, later ones of its order in the same batch leave before it. Whoever reads them bears that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from activities.crash_points import crash_point
from choreography.broker import Broker
from choreography.log_throttle import LogThrottle
from choreography.outgoing_message import Unread, Unroutable, as_message
from models.database import TRANSIENT, Connection, Database, is_leader
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.late_events import LateEvents
from models.message_types import EventType
from models.messages import Envelope

log = structlog.get_logger()

_LEADER: Final = 0x5A6A  # advisory lock: one relay publishes at a time, any number may stand by
_BATCH: Final = 500  # events
_FIRST_PAUSE: Final = 1.0  # seconds before events of a type without a queue are tried again; they double …
_LONGEST_PAUSE: Final = 5.0  # … up to this

_LoggedEvent: TypeAlias = tuple[int, UUID, Envelope]


class Relay:
    """Sweeps the outbox when a notification arrives, and every `interval` seconds.

    Events younger than `grace` seconds are left to the fast path, unless they are deferred. The relay selects outbox
    rows one by one, and keeps no position in the sequence: so it also finds an event that commits late.

    An event that no queue takes, or only the mirrors' queue, stays in the outbox until its reader's queue exists. The
    relay tries the former now and then. It publishes the latter once, and again when the reader's queue exists.
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        *,
        grace: float = 2.0,
        interval: float = 1.0,
        late: LateEvents | None = None,
    ) -> None:
        self._broker = broker
        self._as_message = partial(as_message, late=late)
        self._database = database
        self._grace = grace
        self._interval = interval
        self._wake = asyncio.Event()
        self._throttle = LogThrottle()
        self._stuck: set[UUID] = set()  # orders with an event that can't be published now; the next sweep tries again
        self._without_route: dict[str, tuple[float, float]] = {}  # by event type: paused until when, and the next pause
        self._unread: dict[int, str] = {}  # routing keys of events that only mirrors have, by place in the log
        self._read_now: set[int] = set()  # the places of those events that have a reader since

    async def run(self) -> None:
        """Relay until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._sweep_forever())

    async def _listen(self) -> None:
        while True:
            try:
                connection = await self._database.listen()
                try:
                    await connection.execute("LISTEN outbox")
                    async for _ in connection.notifies():
                        self._wake.set()
                finally:
                    await connection.close()
            except TRANSIENT as error:
                log.warning("relay_not_listening", error=str(error))
            await asyncio.sleep(self._interval)

    async def _sweep_forever(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._interval)
            self._wake.clear()
            self._stuck.clear()
            try:
                await self._look_for_readers()
                while self._broker.connected and await self.sweep():
                    pass
            except TRANSIENT as error:
                log.warning("relay_waits_for_database", error=str(error))

    async def _look_for_readers(self) -> None:
        """Have unread events published again if their reader's queue exists now."""
        if self._unread:
            without = await self._broker.unread(self._unread.values())
            still = {seq: routing_key for seq, routing_key in self._unread.items() if routing_key in without}
            self._read_now |= self._unread.keys() - still.keys()
            self._unread = still

    async def sweep(self) -> int:
        """Publish one batch of due events. Returns the number of events tried; 0 if none is left to try."""
        async with self._database.transaction() as connection:
            if not await is_leader(connection, _LEADER):
                return 0
            rows = await self._due(connection)
            if not rows:
                return 0
            overtaken = self._overtaken(rows)
            answers = iter(await self._publish([envelope for seq, _, envelope in rows if seq not in overtaken]))
            errors = [None if seq in overtaken else next(answers) for seq, _, _ in rows]
            crash_point("relay.published")
            published = [seq for (seq, _, _), error in zip(rows, errors, strict=True) if error is None]
            await connection.execute("DELETE FROM outbox WHERE seq = ANY(%s)", [published])
        self._read_now.difference_update(published)
        self._note(rows, errors)
        if published:
            log.info("relayed", events=len(published))
        return len(rows)

    def _note(self, rows: Sequence[_LoggedEvent], errors: Sequence[Exception | None]) -> None:
        now = asyncio.get_running_loop().time()
        without_route = {
            row[2].event_type for row, error in zip(rows, errors, strict=True) if isinstance(error, Unroutable)
        }
        for event_type in {envelope.event_type for _, _, envelope in rows}:
            _, pause = self._without_route.pop(event_type, (0.0, _FIRST_PAUSE))
            if event_type in without_route:
                self._without_route[event_type] = now + pause, min(2 * pause, _LONGEST_PAUSE)
        failed = [(row, error) for row, error in zip(rows, errors, strict=True) if error is not None]
        for (seq, order_id, envelope), error in failed:
            if isinstance(error, Unread) and envelope.route is not None:
                self._unread[seq] = envelope.route.routing_key
            else:
                self._stuck.add(order_id)
        for (seq, order_id, _), error in failed[:1]:
            if self._throttle(str(error)):
                log.warning("relay_failed", events=len(failed), seq=seq, order_id=str(order_id), error=str(error))

    def _overtaken(self, rows: Sequence[_LoggedEvent]) -> set[int]:
        """The order.created events that must not reach a late reader because their orders are cancelled by now.

        They were published before. If the reader got them now, it would charge the payment and then refund it.
        """
        off = {order_id for _, order_id, envelope in rows if envelope.event_type == EventType.ORDER_CANCELLED}
        return {
            seq
            for seq, order_id, envelope in rows
            if seq in self._read_now and order_id in off and envelope.event_type == EventType.ORDER_CREATED
        }

    async def _publish(self, events: Sequence[Envelope]) -> Sequence[Exception | None]:
        """Publish these events. Returns for each None, or the error that kept it from the broker.

        An event of a type that only a newer version knows holds up all later events of its order.
        """
        held_up: set[str | None] = set()
        waits: list[bool] = []
        for event in events:
            if event.route is None:
                held_up.add(event.order_id)
            waits.append(event.order_id in held_up)
        ours = [self._as_message(event) for event, waiting in zip(events, waits, strict=True) if not waiting]
        errors = iter(await self._broker.publish_all(ours))
        held = LookupError("it, or one before it, is of a newer version's type; that version will publish it")
        return [held if waiting else next(errors) for waiting in waits]

    async def _due(self, connection: Connection) -> Sequence[_LoggedEvent]:
        now = asyncio.get_running_loop().time()
        not_yet = [event_type for event_type, (until, _) in self._without_route.items() if until > now]
        passed_over = (
            " AND o.order_id NOT IN (SELECT w.order_id FROM outbox w JOIN event_log e USING (seq)"
            " WHERE e.event_type = ANY(%s))"
        )
        cursor = await connection.execute(
            f"SELECT o.seq, o.order_id, {EVENT_COLUMNS} FROM outbox o JOIN event_log e USING (seq) WHERE o.order_id IN "
            "(SELECT order_id FROM outbox WHERE deferred OR created_at < clock_timestamp() - make_interval(secs => %s))"
            f" AND o.order_id <> ALL(%s) AND o.seq <> ALL(%s){passed_over if not_yet else ''} ORDER BY o.seq LIMIT %s",
            [self._grace, list(self._stuck), list(self._unread), *([not_yet] if not_yet else []), _BATCH],
        )
        rows = await cursor.fetchall()  # in pipeline mode, the cursor has its description only now
        names = [column.name for column in cursor.description or ()]
        return [(row[0], row[1], logged_envelope(dict(zip(names, row, strict=True)))) for row in rows]
