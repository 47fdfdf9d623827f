"""Read what a running system has used so far. The difference of two readings is the use in between."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil

from bench.reader import Reader
from cli import http_clients

# PostgreSQL's backends report their counts within 10 s of their last transaction (PGSTAT_IDLE_INTERVAL), and RabbitMQ
# its own every 5 s (collect_statistics_interval): only after that are the counts those of all that happened.
SETTLED_AFTER: Final = 10.5  # seconds

_ROWS: Final = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables"
_WAL: Final = (
    "SELECT (pg_current_wal_lsn() - '0/0')::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
    " coalesce(sum(fsyncs), 0)::bigint, coalesce(sum(fsync_time), 0)::float8 FROM pg_stat_io WHERE object = 'wal'"
)
_POLL: Final = 0.25  # seconds
_OVERVIEW: Final = "/overview?columns=message_stats.publish,message_stats.deliver_get"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Counts since the servers were started; the difference of two is what was used in between.

    By process: CPU in seconds. By database: rows (inserted, updated or deleted). Rows and messages lag by up to
    SETTLED_AFTER. Never late: the write-ahead log in bytes and the transactions that wrote, both of the whole server,
    whose databases share them.
    """

    at: float  # seconds, monotonic
    cpu: Mapping[str, float]
    rows: Mapping[str, int]
    writing_transactions: int
    wal_bytes: int
    wal_flushes: int
    wal_flush_ms: float  # in all; 0 unless the server has track_wal_io_timing
    published: int  # messages, retries and replays included
    delivered: int

    def __sub__(self, before: Reading) -> Reading:
        return Reading(
            at=self.at - before.at,
            cpu=_difference(self.cpu, before.cpu),
            rows=_difference(self.rows, before.rows),
            writing_transactions=self.writing_transactions - before.writing_transactions,
            wal_bytes=self.wal_bytes - before.wal_bytes,
            wal_flushes=self.wal_flushes - before.wal_flushes,
            wal_flush_ms=self.wal_flush_ms - before.wal_flush_ms,
            published=self.published - before.published,
            delivered=self.delivered - before.delivered,
        )


class Meters:
    """Reads the meters of one system.

    `pids` tells the process of each part; what it has started counts with it. `databases` are PostgreSQL URLs by name,
    all of one server; `rabbitmq_api` is the management API's URL with user and password.
    """

    def __init__(
        self, *, pids: Callable[[], Mapping[str, int]], databases: Mapping[str, str], rabbitmq_api: str
    ) -> None:
        self._pids = pids
        self._readers = {name: Reader(url) for name, url in databases.items()}
        self._rabbitmq = http_clients.async_client(base_url=rabbitmq_api, timeout=10.0)

    async def close(self) -> None:
        await asyncio.gather(self._rabbitmq.aclose(), *(reader.close() for reader in self._readers.values()))

    async def read(self) -> Reading:
        """All meters, now."""
        at = time.monotonic()
        cpu = cpu_seconds(self._pids())
        rows = {}
        for name, reader in self._readers.items():
            ((written,),) = await reader.read(_ROWS)
            rows[name] = int(written)
        ((wal, xid, flushes, flush_ms),) = await next(iter(self._readers.values())).read(_WAL)
        sent = await self._message_counts()
        return Reading(
            at=at,
            cpu=cpu,
            rows=rows,
            writing_transactions=int(xid),
            wal_bytes=int(wal),
            wal_flushes=int(flushes),
            wal_flush_ms=float(flush_ms),
            published=sent["publish"],
            delivered=sent["deliver_get"],
        )

    async def settled(self, after: float = SETTLED_AFTER) -> Reading:
        """All meters `after` so many seconds: by default when those of a system that has come to rest lag no more."""
        await asyncio.sleep(after)
        return await self.read()

    async def waiting(self, queue: str) -> int:
        """The number of messages in a queue, with those that its consumer holds."""
        answer = await self._rabbitmq.get(f"/queues/%2F/{queue}?disable_stats=true&enable_queue_totals=true")
        return int(answer.raise_for_status().json().get("messages", 0))

    async def until_empty(self, queue: str, *, within: float) -> None:
        """Wait until the queue has no message, and its consumer holds none. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while await self.waiting(queue):  # noqa: ASYNC110 - the broker doesn't tell
                await asyncio.sleep(_POLL)

    def memory(self) -> dict[str, int]:
        """Bytes of memory by process. Pages that the processes of a part share count once."""
        return memory_bytes(self._pids())

    async def _message_counts(self) -> Counter[str]:
        answer = await self._rabbitmq.get(_OVERVIEW)
        stats: dict[str, Any] = answer.raise_for_status().json().get("message_stats", {})
        return Counter({name: int(stats.get(name, 0)) for name in ("publish", "deliver_get")})


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU time of each part since its start, user and system, its children's included."""
    used = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            # A child that ends adds its time to its parent's `children_…`; a living one is asked itself.
            used[name] = sum(_cpu(process) for process in _family(pid))
    return used


def memory_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Memory of each part: the resident set; of a family of processes the proportional one (Linux's PSS)."""
    used = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            family = _family(pid)
            used[name] = family[0].memory_info().rss if len(family) == 1 else sum(map(_proportional, family))
    return used


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it has ended since, and counts with its parent next time
    return float(times.user + times.system + times.children_user + times.children_system)


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0


def _difference(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {name: after[name] - before.get(name, 0) for name in after}
