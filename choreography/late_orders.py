"""Tell the mirrors' queue of orders that still wait for their payment after a while: nothing else would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from choreography.broker import Broker
from choreography.headers import REPLAYED
from choreography.log_throttle import LogThrottle
from choreography.outgoing_message import OutgoingMessage, as_message
from choreography.topology import LATE_ORDER
from models.conditions import ORDER_ORCHESTRATED, ORDER_WAITS
from models.database import TRANSIENT, Connection, Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.message_types import EventType
from models.messages import Envelope

log = structlog.get_logger()

_LEADER: Final = 0x5A6E  # advisory lock of a session: one instance looks, any number may stand by
_PAGE: Final = 500  # orders
_LONGEST_PAUSE: Final = 30.0  # seconds, while nothing can be told

_Place: TypeAlias = tuple[datetime | str, UUID]
_BEFORE_ALL: Final[_Place] = ("-infinity", UUID(int=0))
_LATE: Final = f"""
    SELECT o.created_at, o.id, {EVENT_COLUMNS} FROM
        (SELECT created_at, id FROM orders
         WHERE {ORDER_WAITS} AND NOT {ORDER_ORCHESTRATED} AND created_at < now() - make_interval(secs => %s)
           AND (created_at, id) > (%s::timestamptz, %s) ORDER BY created_at, id LIMIT {_PAGE}) o
    JOIN event_log e ON e.order_id = o.id AND e.event_type = '{EventType.ORDER_CREATED}'
    ORDER BY o.created_at, o.id
"""


class LateOrders:
    """Looks for orders that still wait `after` seconds after their creation. Tells each once, by its order.created.

    Once means: as long as this instance leads. Its successor tells all orders again that still wait, which changes
    nothing. The times are the database's. Orders are told a moment later than their age allows. So every event that
    the service logs after an order was told is a late one by the clock of its publisher, too.
    """

    def __init__(self, broker: Broker, database: Database, *, after: float) -> None:
        self._broker = broker
        self._database = database
        self._moment = min(1.0, max(0.1, after / 10))
        self._idle = after + self._moment
        self._throttle = LogThrottle()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                connection = await self._database.listen()
                try:
                    await self._lead(connection)
                finally:
                    await connection.close()
            except TRANSIENT as error:
                log.warning("late_orders_wait_for_database", error=str(error))
            await asyncio.sleep(self._moment)

    async def _lead(self, connection: Connection) -> None:
        """Tell of late orders if no other connection does, for as long as this one lives."""
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [_LEADER])
        if await cursor.fetchone() != (True,):
            return
        log.info("looks_for_late_orders", after=self._idle)
        place, pause = _BEFORE_ALL, self._moment
        while True:
            found, page = await self._next(connection, place)
            error = await self._tell(page)
            if error is None:
                place, pause = found, self._moment
                if len(page) == _PAGE:
                    continue
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
                if self._throttle(error):
                    log.warning("late_orders_not_told", orders=len(page), error=error)
            await asyncio.sleep(pause)

    async def _next(self, connection: Connection, place: _Place) -> tuple[_Place, Sequence[Envelope]]:
        cursor = await connection.execute(_LATE, [self._idle, *place])
        names = [column.name for column in cursor.description or ()]
        rows = await cursor.fetchall()
        if not rows:
            return place, []
        created_at, order_id, *_ = rows[-1]
        return (created_at, order_id), [logged_envelope(dict(zip(names, row, strict=True))) for row in rows]

    async def _tell(self, late: Sequence[Envelope]) -> str | None:
        """Publish to the mirrors alone. Returns the first error."""
        errors = await self._broker.publish_all([_for_mirrors(event) for event in late]) if late else ()
        return next((str(error) for error in errors if error is not None), None)


def _for_mirrors(event: Envelope) -> OutgoingMessage:
    message = as_message(event, mandatory=True)
    return replace(message, routing_key=LATE_ORDER.routing_key, headers={**message.headers, REPLAYED: True})
