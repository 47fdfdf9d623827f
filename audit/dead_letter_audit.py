"""Find accepted orders that exist only as dead letters."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from audit.checks import ORDERS_STORED
from audit.database_audit import Scope
from audit.findings import AuditReport, Finding
from audit.snapshot import NotRead, Snapshot
from choreography import connection_errors
from choreography.dead_letters import DeadLetterRecord, DeadLetters
from models.messages import MalformedMessage, decode, parse
from models.saga import CreateOrderRequested

_KNOWN: Final = "SELECT id FROM orders WHERE id = ANY(%(ids)s)"


async def all_of(amqp_url: str) -> Sequence[DeadLetterRecord]:
    """The dead letters of all services. Raises NotRead, without the password in the URL."""
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report the same trouble once
    try:
        return await DeadLetters(amqp_url).all()
    except ValueError:
        raise NotRead("dead letters", "SAGA_AMQP_URL is not the URL of a broker") from None
    except connection_errors.LOST as error:
        raise NotRead("dead letters", connection_errors.explain(error) or type(error).__name__) from None


async def check(
    orders: Snapshot, read: Callable[[], Awaitable[Sequence[DeadLetterRecord]]], scope: Scope, report: AuditReport
) -> None:
    """Report the dead letters that are the only trace of an order; note the number of all. Raises NotRead."""
    records = await read()
    report.count("dead letters", len(records))
    if records:
        report.notes.append(f"{len(records)} dead letters wait for an operator: `saga dead-letters list`")
    wanted: dict[UUID, DeadLetterRecord] = {}
    for record in records:
        with suppress(MalformedMessage):  # no gateway has accepted what can't be read
            message = parse(decode(record.body))
            if isinstance(message, CreateOrderRequested):
                wanted.setdefault(message.order_id, record)
    known = {row[0] for row in orders.all(_KNOWN, {"ids": list(wanted)})}
    for order_id, record in wanted.items():
        if order_id not in known:
            detail = f"its command is the dead letter {record.id} ({record.reason}: {record.error})"
            report.add(Finding(check=ORDERS_STORED, id=str(order_id), detail=detail), keep=scope.keep)
