"""Read what a running system holds in its processes, databases, queues and workflows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import httpx
import psutil
import psycopg
from temporalio.service import RPCError

from bench.meters import cpu_seconds, memory_bytes
from tests.chaos.system import PROCESSES
from tests.support.temporal import TemporalServer
from tests.support.world import World

_UNREADABLE: Final = (OSError, AssertionError, RuntimeError, httpx.HTTPError, psycopg.Error, RPCError)
_TABLES: Final = (
    "SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes"
    " FROM pg_stat_user_tables"
)
_INDEXES: Final = "SELECT indexrelname AS name, pg_relation_size(indexrelid) AS bytes FROM pg_stat_user_indexes"
_CONNECTIONS: Final = (
    "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

Values = Iterator[tuple[str, float]]


class Readings:
    """Reads one system. A source that cannot be read is missing from the reading, and counted in `failed`."""

    def __init__(self, world: World, temporal: TemporalServer) -> None:
        self.failed: dict[str, str] = {}  # by source, its last error
        self._ever_read: set[str] = set()
        self._world = world
        self._temporal = temporal
        self._cpu: Mapping[str, float] = {}
        self._read_at = 0.0

    def read(self) -> dict[str, float]:
        """All measures, now."""
        values: dict[str, float] = {}
        sources: tuple[Callable[[], Values], ...] = (
            self._processes,
            self._database_of_orders,
            self._database_of_payments,
            self._broker,
            self._workflows,
        )
        for source in sources:
            name = source.__name__.strip("_").replace("_", " ")
            try:
                values.update(source())
                self._ever_read.add(name)
            except _UNREADABLE as error:
                self.failed[name] = repr(error)
        return values

    @property
    def never_read(self) -> list[str]:
        """The sources that could not be read even once."""
        return sorted(self.failed.keys() - self._ever_read)

    def _processes(self) -> Values:
        pids = {name: self._world.processes[name].pid for name in PROCESSES}
        for name, pid in pids.items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                yield f"open files of {name}", process.num_fds()
                yield f"threads of {name}", process.num_threads()
        everybody: dict[str, int] = {**pids, **self._world.servers.pids()}
        if self._temporal.pid is not None:
            everybody["temporal"] = self._temporal.pid
        for name, memory in memory_bytes(everybody).items():
            yield f"memory of {name}", memory
        now, cpu = time.monotonic(), cpu_seconds(everybody)
        for name in cpu.keys() & self._cpu.keys():
            yield f"CPU of {name}", (cpu[name] - self._cpu[name]) / (now - self._read_at)
        self._cpu, self._read_at = cpu, now

    def _database_of_orders(self) -> Values:
        return self._database("orders")

    def _database_of_payments(self) -> Values:
        return self._database("payments")

    def _database(self, role: str) -> Values:
        def rows(sql: str) -> list[dict[str, Any]]:
            return self._world.rows(role, sql)

        yield f"connections of {role}", rows(_CONNECTIONS)[0]["n"]
        yield f"outbox of {role}", rows("SELECT count(*) AS n FROM outbox")[0]["n"]
        for table in rows(_TABLES):
            name = f"{role}.{table['name']}"
            yield f"rows of {name}", table["live"]
            yield f"dead rows of {name}", table["dead"]
            yield f"bytes of {name}", table["bytes"]
            if table["live"]:
                yield f"bytes a row of {name}", table["bytes"] / table["live"]
        for index in rows(_INDEXES):
            yield f"index bytes of {role}.{index['name']}", index["bytes"]

    def _broker(self) -> Values:
        vhost = self._world.name
        for queue in self._ask(f"queues/{vhost}?disable_stats=true&enable_queue_totals=true"):
            yield f"messages of {queue['name']}", queue["messages"]
        yield "connections of rabbitmq", len(self._ask(f"vhosts/{vhost}/connections"))

    def _ask(self, path: str) -> Any:
        return httpx.get(f"{self._world.servers.rabbitmq_api}/{path}", timeout=10).raise_for_status().json()

    def _workflows(self) -> Values:
        yield "open workflows", self._temporal.count("ExecutionStatus = 'Running'")
