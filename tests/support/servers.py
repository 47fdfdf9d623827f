"""Run PostgreSQL and RabbitMQ for tests under a supervisor: `python -m tests.support.servers DATA OFFSET`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from embedded import state
from embedded.supervisor import Supervisor
from models.migrations import migrate
from stack import local
from stack.addresses import Ports
from tests.support.waiting import until
from tests.support.world import Servers

_PROGRAMS: Final = ("postgres", "rabbitmq")


@contextmanager
def running(data: Path, offset: int) -> Iterator[Servers]:
    """Both servers with migrated databases, on ports moved by `offset`. A supervisor restarts a killed one."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.servers", str(data), str(offset)])
    try:

        def ready() -> bool:
            if process.poll() is not None:  # no AssertionError: waiting longer won't help
                raise RuntimeError("the servers have ended; what they printed says why")
            return bool((state.read(data) or {}).get("ready"))

        until(ready, within=240, what="PostgreSQL and RabbitMQ are ready")
        secrets, ports = local.Secrets.of(data), Ports.shifted(offset)
        urls = local.urls(offset, secrets)
        migrate("orders", urls["orders_db"])
        migrate("payments", urls["payments_db"])
        yield Servers(
            admin_dsn=f"host={data}/postgres port={ports.postgres} user=postgres dbname=postgres",
            database_passwords={"orders": secrets.orders, "payments": secrets.payments},
            postgres_port=ports.postgres,
            amqp_url=urls["amqp"],
            rabbitmq_api=f"http://saga:{secrets.broker}@127.0.0.1:{ports.rabbitmq_ui}/api",
            pids=lambda: {each["name"]: each["pid"] for each in (state.read(data) or {})["processes"]},
            logs=data / "logs",
        )
    finally:
        process.terminate()
        process.wait(timeout=60)


def main() -> None:
    data, offset = Path(sys.argv[1]), int(sys.argv[2])
    secrets = local.Secrets.of(data)
    programs = [each for each in local.servers(data, offset, secrets) if each.name in _PROGRAMS]
    supervisor = Supervisor(data=data, programs=programs, urls=local.urls(offset, secrets))
    asyncio.run(supervisor.run_until_signal())


if __name__ == "__main__":
    main()
