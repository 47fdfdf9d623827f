"""Tell the mirrors' queue of orders that still wait for their payment after a while: nothing else would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from activities.order_stragglers import OrderStragglers
from activities.stragglers import Place, Search
from choreography.broker import Broker
from choreography.headers import REPLAYED
from choreography.log_throttle import LogThrottle
from choreography.outgoing_message import OutgoingMessage, as_message
from choreography.topology import LATE_ORDER
from models.database import TRANSIENT, Connection, Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.late_events import LateEvents
from models.message_types import EventType
from models.messages import Envelope

log = structlog.get_logger()

_LEADER: Final = 0x5A6E  # advisory lock of a session: one instance looks, any number may stand by
_PAGE: Final = 500  # orders
_LOOK_BACK: Final = 25.0  # seconds; a commit may take that long, or two clocks differ by it …
_LOOK_BACK_EVERY: Final = 5.0  # … which is looked for less often
_LONGEST_PAUSE: Final = 30.0  # seconds, while nothing can be told
_CREATIONS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event_log e"
    f" WHERE e.order_id = ANY(%s) AND e.event_type = '{EventType.ORDER_CREATED}' ORDER BY e.seq"
)


class LateOrders:
    """Looks for orders that still wait although their sagas are late. Tells each once, by its order.created.

    Once means: as long as this instance leads. Its successor tells all orders again that still wait, which changes
    nothing. Orders are told a moment after their sagas are late. So every event that a service logs after that is late
    by the clock of its publisher, too.
    """

    def __init__(self, broker: Broker, database: Database, late: LateEvents) -> None:
        self._broker = broker
        self._database = database
        self._orders = OrderStragglers(database)
        self._late = late
        self._moment = min(1.0, max(0.1, late.after / 10))
        self._idle = late.after + self._moment
        self._begin: Place | None = None  # where the next look begins; None: with the oldest order
        self._told: dict[str, str] = {}  # when they were created, in the form of a Place, by order id
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
                if self._throttle(str(error)):
                    log.warning("late_orders_wait_for_database", error=str(error))
            await asyncio.sleep(self._moment)

    async def _lead(self, connection: Connection) -> None:
        """Tell of late orders as soon as no other connection does, for as long as this one lives."""
        while not await _one(connection, "SELECT pg_try_advisory_lock(%s)", _LEADER):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(self._moment)
        log.info("looks_for_late_orders", after=self._idle)
        now, looked_back, pause = asyncio.get_running_loop().time, float("-inf"), self._moment
        while True:
            began, begin = now(), self._begin
            looks_back = began - looked_back >= _LOOK_BACK_EVERY
            if looks_back and begin is not None:
                begin = _earlier(begin)
            end = _from(await _one(connection, "SELECT now() - make_interval(secs => %s)", self._idle))
            if await self._look(begin):
                self._begin, pause = end, self._moment
                if looks_back:
                    looked_back, forgotten = began, _earlier(end).at
                    self._told = {order_id: at for order_id, at in self._told.items() if at >= forgotten}
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _look(self, begin: Place | None) -> bool:
        """Tell of all late orders after this place that are not told yet. Returns False if some can't be told."""
        while True:
            page = await self._orders.late(Search(idle=self._idle, limit=_PAGE, after=begin))
            untold = {
                each.order_id: each.at
                for each in page
                # By another clock, it may not be late yet. If so, it is found again.
                if each.order_id not in self._told and not self._late.is_young(each.order_id)
            }
            if untold and not await self._tell(list(untold)):
                return False
            self._told |= untold
            if len(page) < _PAGE:
                return True
            begin = page[-1]

    async def _tell(self, order_ids: Sequence[str]) -> bool:
        """Publish the creations of these orders to the mirrors alone."""
        rows = await self._database.query(_CREATIONS, [[UUID(order_id) for order_id in order_ids]])
        errors = await self._broker.publish_all([_for_mirrors(logged_envelope(row)) for row in rows])
        failed = [str(error) for error in errors if error is not None]
        if failed and self._throttle(failed[0]):
            log.warning("late_orders_not_told", orders=len(failed), error=failed[0])
        return not failed


async def _one(connection: Connection, sql: str, parameter: float) -> Any:
    """The only value that this statement gives."""
    ((value,),) = await (await connection.execute(sql, [parameter])).fetchall()
    return value


def _earlier(place: Place) -> Place:
    return _from(datetime.fromisoformat(place.at) - timedelta(seconds=_LOOK_BACK))


def _from(moment: datetime) -> Place:
    return Place(at=moment.astimezone(UTC).isoformat(timespec="microseconds"), order_id=str(UUID(int=0)))


def _for_mirrors(event: Envelope) -> OutgoingMessage:
    message = as_message(event, mandatory=True)
    return replace(message, routing_key=LATE_ORDER.routing_key, headers={**message.headers, REPLAYED: True})
