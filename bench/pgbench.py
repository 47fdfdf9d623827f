"""The ceiling of PostgreSQL: the least SQL that a saga needs, run by pgbench on the same server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import msgspec
import psycopg
from sqlmodel import SQLModel

from bench.paid_saga import paid_saga
from bench.sql import create, insert
from embedded.errors import StackError
from embedded.postgres_binaries import installed
from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.message_types import EventType
from models.tables import OrderEventRow, OrderRow, PaymentEventRow, PaymentRow

_TABLES: Final = ";\n".join(
    (
        create(OrderRow),
        create(PaymentRow),
        create(OrderEventRow, table="order_log"),
        create(PaymentEventRow, table="payment_log"),
    )
)
_EVENTS: Final = {EventType(envelope.event_type): envelope for envelope in paid_saga()[1:]}
_LOGS: Final[Mapping[EventType, tuple[type[SQLModel], str]]] = {
    EventType.ORDER_CREATED: (OrderEventRow, "order_log"),
    EventType.PAYMENT_APPROVED: (PaymentEventRow, "payment_log"),
    EventType.ORDER_PAID: (OrderEventRow, "order_log"),
}
_SALE: Final = {
    "payment_method": "'pm_card_visa'",
    "created_at": "now()",
    "updated_at": "now()",
    "changes": "1",
}
_INSERT_ORDER: Final = insert(
    OrderRow,
    {
        "id": "uuidv7()",
        "user_id": "gen_random_uuid()",
        "total": ":total",
        "status": f"'{OrderStatus.PENDING_PAYMENT}'",
        "cancel_reason": "NULL",
        **_SALE,
    },
)
_INSERT_PAYMENT: Final = insert(
    PaymentRow,
    {
        "id": "uuidv7()",
        "order_id": ":order_id",
        "amount": ":total",
        "status": f"'{PaymentStatus.PROCESSING}'",
        "due": f"'{Due.CHARGE}'",
        "transaction_id": "NULL",
        "reason": "NULL",
        **_SALE,
    },
)
_UPDATE_PAYMENT: Final = (
    f"UPDATE payments SET status = '{PaymentStatus.APPROVED}', due = NULL,"
    " transaction_id = 'txn_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b', updated_at = now() WHERE id = :payment_id"
)
_UPDATE_ORDER: Final = (
    f"UPDATE orders SET status = '{OrderStatus.PAID}', updated_at = now(), changes = changes + 1 WHERE id = :order_id"
)

_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED: Final = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


class PgbenchFailed(StackError):
    """pgbench did not get through, or not without failed transactions."""


def _logged(event_type: EventType, *, order_id: str = ":order_id", source: str = "") -> str:
    row, table = _LOGS[event_type]
    event = _EVENTS[event_type]
    values = {
        "event_id": "gen_random_uuid()",
        "order_id": order_id,
        "event_type": f"'{event_type}'",
        "occurred_at": "now()",
        "correlation_id": f"'{event.correlation_id}'",
        "causation_id": "gen_random_uuid()",
        "payload": f"'{msgspec.json.encode(event.payload).decode()}'",
    }
    return insert(row, values, table=table, source=source)


def _with_log(write: str, event_type: EventType) -> str:
    """The write and its log row as one statement, so that their transaction is one round trip."""
    returning = "RETURNING" in write
    order_id, source = ("written.order_id", "FROM written") if returning else (":order_id", "")
    return f"WITH written AS ({write}) {_logged(event_type, order_id=order_id, source=source)}"


# One saga a run of the script. What pgbench calls a transaction is a run: four transactions of the server.
STATEMENT_BY_STATEMENT: Final = "\n".join(
    (
        "\\set total random(1, 100000)",
        *(
            "BEGIN;",
            f"{_INSERT_ORDER} RETURNING id AS order_id \\gset",
            f"{_logged(EventType.ORDER_CREATED)};",
            "COMMIT;",
        ),
        f"{_INSERT_PAYMENT} RETURNING id AS payment_id \\gset",
        *("BEGIN;", f"{_UPDATE_PAYMENT};", f"{_logged(EventType.PAYMENT_APPROVED)};", "COMMIT;"),
        *("BEGIN;", f"{_UPDATE_ORDER};", f"{_logged(EventType.ORDER_PAID)};", "COMMIT;"),
    )
)
ONE_STATEMENT_EACH: Final = "\n".join(
    (
        "\\set total random(1, 100000)",
        f"{_with_log(f'{_INSERT_ORDER} RETURNING id AS order_id', EventType.ORDER_CREATED)} RETURNING order_id \\gset",
        f"{_INSERT_PAYMENT} RETURNING id AS payment_id \\gset",
        f"{_with_log(_UPDATE_PAYMENT, EventType.PAYMENT_APPROVED)};",
        f"{_with_log(_UPDATE_ORDER, EventType.ORDER_PAID)};",
    )
)


class Pgbench:
    """pgbench on a scratch database, whose tables it makes."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._program = installed() / "pgbench"

    async def prepare(self) -> None:
        """Make the tables."""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute(_TABLES)

    async def sagas_per_second(self, script: str, *, clients: int, seconds: float) -> float:
        """How many sagas' transactions a second the server commits for so many clients. Raises PgbenchFailed."""
        file = self._folder / "saga.sql"
        file.write_text(script + "\n", encoding="utf-8")
        url, password = _without_password(self._url)
        process = await asyncio.create_subprocess_exec(
            str(self._program),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=2", f"--time={round(seconds)}"),
            f"--file={file}",
            url,
            env={"PGPASSWORD": password},  # not on the command line, which anybody may read
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return told_rate(output.decode(errors="replace"), process.returncode or 0)

    async def best(self, script: str, *, clients: Sequence[int], seconds: float) -> tuple[float, int]:
        """The highest rate of several numbers of clients, and which of them it was."""
        found = [(await self.sagas_per_second(script, clients=each, seconds=seconds), each) for each in clients]
        return max(found)


def told_rate(output: str, code: int) -> float:
    """The runs a second that pgbench reports. Raises PgbenchFailed when it did not get through all of them."""
    rate, failed = _TPS.search(output), _FAILED.search(output)
    if code or rate is None or (failed and int(failed[1])):
        lines = output.strip().splitlines() or ["it wrote nothing"]
        raise PgbenchFailed(f"pgbench ended with exit code {code}: {lines[-1]}")
    return float(rate[1])


def _without_password(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl(), parts.password or ""


def scratch_folder() -> TemporaryDirectory[str]:
    """Where the script lies while pgbench reads it."""
    return TemporaryDirectory(prefix="saga-pgbench-", ignore_cleanup_errors=True)
