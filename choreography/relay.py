"""Publish what the fast path left in the outbox, at least once and in each order's order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from activities.faults import crash_point
from choreography.broker import Broker
from choreography.outgoing import outgoing
from models.database import TRANSIENT, Connection, Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.messages import Envelope

log = structlog.get_logger()

_LEADER: Final = 0x5A6A  # advisory lock: one relay at a time publishes, any number may stand by
_BATCH: Final = 500  # events


class Relay:
    """Sweeps the outbox: when told that something was left for it, and every `interval` seconds for what nobody told.

    Events younger than `grace` seconds are left to the fast path. Outbox rows are taken one by one, never by a mark
    in the sequence: an event that commits late is found all the same.
    """

    def __init__(self, broker: Broker, database: Database, *, grace: float = 2.0, interval: float = 1.0) -> None:
        self._broker = broker
        self._database = database
        self._grace = grace
        self._interval = interval
        self._wake = asyncio.Event()
        self._stuck: set[UUID] = set()  # orders with an event that can't be published now; passed over until next time

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
                while self._broker.connected and await self.sweep():
                    pass
            except TRANSIENT as error:
                log.warning("relay_waits_for_database", error=str(error))

    async def sweep(self) -> int:
        """Publish one batch of what is due; the number of events tried, 0 when nothing is left to try."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LEADER])
            leader = await cursor.fetchone()
            if leader is None or not leader[0]:
                return 0
            rows = await self._due(connection)
            if not rows:
                return 0
            errors = await self._publish([envelope for _, _, envelope in rows])
            crash_point("relay.published")
            published = [seq for (seq, _, _), error in zip(rows, errors, strict=True) if error is None]
            await connection.execute("DELETE FROM outbox WHERE seq = ANY(%s)", [published])
        failed = [(seq, order_id, error) for (seq, order_id, _), error in zip(rows, errors, strict=True) if error]
        self._stuck.update(order_id for _, order_id, _ in failed)
        for seq, order_id, error in failed[:1]:  # a line a batch: what can't be published now comes again soon
            log.warning("relay_failed", events=len(failed), seq=seq, order_id=str(order_id), error=str(error))
        if published:
            log.info("relayed", events=len(published))
        return len(rows)

    async def _publish(self, events: Sequence[Envelope]) -> Sequence[Exception | None]:
        """What became of each: None, or why it is not with the broker; a newer version's events hold up their order."""
        held_up: set[str | None] = set()
        waits: list[bool] = []
        for event in events:
            if event.route is None:
                held_up.add(event.order_id)
            waits.append(event.order_id in held_up)
        ours = [outgoing(event) for event, waiting in zip(events, waits, strict=True) if not waiting]
        errors = iter(await self._broker.publish_all(ours))
        held = LookupError("it, or one before it, is of a newer version's type; that version will publish it")
        return [held if waiting else next(errors) for waiting in waits]

    async def _due(self, connection: Connection) -> Sequence[tuple[int, UUID, Envelope]]:
        cursor = await connection.execute(
            f"SELECT o.seq, o.order_id, {EVENT_COLUMNS} FROM outbox o JOIN event_log e USING (seq) WHERE o.order_id IN "
            "(SELECT order_id FROM outbox WHERE deferred OR created_at < clock_timestamp() - make_interval(secs => %s))"
            " AND o.order_id <> ALL(%s) ORDER BY o.seq LIMIT %s",
            [self._grace, list(self._stuck), _BATCH],
        )
        rows = await cursor.fetchall()  # in pipeline mode the description, too, is there only now
        names = [column.name for column in cursor.description or ()]
        return [(row[0], row[1], logged_envelope(dict(zip(names, row, strict=True)))) for row in rows]
