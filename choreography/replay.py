"""Publish events from the event log again. Their effects, which have happened already, do not happen twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from choreography.broker import Broker
from choreography.headers import OPERATOR, REPLAYED
from choreography.outgoing_message import OutgoingMessage, Unroutable, as_message
from choreography.topology import readers
from models.database import Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.late_events import LateEvents
from models.message_types import EventType
from models.messages import Envelope
from models.originals import NO_ORIGINALS, Originals, ServiceName

log = structlog.get_logger()

_BATCH: Final = 500  # events


class NotRepeatable(Exception):
    """Whoever hears these events does again what it did when it heard them first."""


class EventReplay:
    """Replays events of one service's log, in their original order and under their original ids."""

    def __init__(
        self,
        broker: Broker,
        database: Database,
        originals: Originals = NO_ORIGINALS,
        *,
        late: LateEvents | None = None,
    ) -> None:
        self._broker = broker
        self._database = database
        self._originals = originals
        self._late = late

    async def __call__(
        self,
        *,
        order_id: UUID | None = None,
        event_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str = "",
    ) -> int:
        """Publish every event that meets all given filters (since inclusive, until exclusive). Returns their number.

        Events of a type that only a newer version knows are skipped. An event that no service waits for may reach
        nobody. `by`, the name of who asked for it, goes along. Raises BrokerUnavailable if an event was not confirmed,
        and Unroutable or Unread if the service that it is for has no queue. Earlier events were published then. Raises
        NotRepeatable if an original payment service would charge again.
        """
        if ServiceName.PAYMENT in self._originals and event_type in (None, EventType.ORDER_CREATED):
            raise NotRepeatable(
                "SAGA_ORIGINAL_SERVICES names the payment service, which charges again when it hears of an order "
                "twice. Replay the other types, one by one"
            )
        filters = {
            "e.order_id = %(order_id)s": order_id,
            "e.event_type = %(event_type)s": event_type,
            "e.occurred_at >= %(since)s": since,
            "e.occurred_at < %(until)s": until,
        }
        where = " AND ".join(["e.seq > %(after)s", *(sql for sql, value in filters.items() if value is not None)])
        params: dict[str, Any] = {"order_id": order_id, "event_type": event_type, "since": since, "until": until}
        count, unheard, after = 0, 0, 0
        while True:
            rows = await self._database.query(
                f"SELECT e.seq, {EVENT_COLUMNS} FROM event_log e WHERE {where} ORDER BY e.seq LIMIT {_BATCH}",
                {**params, "after": after},
            )
            if not rows:
                if unheard:
                    log.warning("replay_unheard: no queue takes them, the worker has never run", events=unheard)
                log.info("replayed", events=count, order_id=order_id, event_type=event_type)
                return count
            events = [event for event in map(logged_envelope, rows) if event.route is not None]
            errors = await self._broker.publish_all([_again(event, by, self._late) for event in events])
            for event, error in zip(events, errors, strict=True):
                if isinstance(error, Unroutable) and event.route and not readers(event.route.routing_key):
                    unheard += 1  # no service waits for this event
                elif error is not None:
                    raise error
            if len(events) < len(rows):
                log.warning("replay_left_unknown_types", events=len(rows) - len(events))
            count, after = count + len(events), rows[-1]["seq"]


def _again(event: Envelope, by: str, late: LateEvents | None) -> OutgoingMessage:
    message = as_message(event, mandatory=True, late=late)
    return replace(message, headers={**message.headers, REPLAYED: True, **({OPERATOR: by} if by else {})})
