"""Chaos from the command line: `python -m tests.chaos --sagas 10000 --seed 1 --minutes 10`."""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.migrations import migrate
from stack import local, state
from stack.ports import Ports
from tests.chaos.run import Chaos, unleash
from tests.chaos.strikes import EVERYTHING
from tests.chaos.system import running
from tests.waiting import until
from tests.world import Servers


def main() -> None:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    print(f"seed {arguments.seed}; data and logs in {folder}", flush=True)
    chaos = Chaos(
        sagas=arguments.sagas,
        seconds=arguments.minutes * 60,
        seed=arguments.seed,
        kinds=EVERYTHING,
        pause=arguments.pause,
    )
    began = time.monotonic()

    def tell(what: str) -> None:
        print(what, flush=True)

    with _servers(folder / "servers", arguments.port_offset) as servers, running(servers, folder) as system:
        try:
            findings = unleash(chaos, system, tell)
        except AssertionError as error:
            findings = [str(error)]
    for finding in findings:
        print(f"FOUND {finding}")
    print(f"{len(findings)} findings, {arguments.sagas} sagas, seed {arguments.seed}, {time.monotonic() - began:.0f} s")
    sys.exit(1 if findings else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Strike everything, and lose nothing.")
    parser.add_argument("--sagas", type=int, default=10_000, help="how many orders are placed")
    parser.add_argument("--minutes", type=float, default=10.0, help="over how long they are spread")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the load and of the strikes")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between strikes, on average")
    parser.add_argument("--port-offset", type=int, default=20_000, help="of the servers' ports")
    return parser.parse_args()


@contextmanager
def _servers(data: Path, offset: int) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ under a supervisor of their own."""
    process = subprocess.Popen([sys.executable, "-m", "tests.servers", str(data), str(offset)])
    try:

        def ready() -> bool:
            assert process.poll() is None, "the servers have ended"
            return bool((state.read(data) or {}).get("ready"))

        until(ready, within=90, what="PostgreSQL and RabbitMQ are ready")
        kept, ports = local.Secrets.of(data), Ports.shifted(offset)
        urls = local.urls(offset, kept)
        migrate("orders", urls["orders_db"])
        migrate("payments", urls["payments_db"])
        yield Servers(
            admin_dsn=f"host={data}/postgres port={ports.postgres} user=postgres dbname=postgres",
            database_passwords={"orders": kept.orders, "payments": kept.payments},
            postgres_port=ports.postgres,
            amqp_url=urls["amqp"],
            rabbitmq_api=f"http://saga:{kept.broker}@127.0.0.1:{ports.rabbitmq_ui}/api",
            pids=lambda: {each["name"]: each["pid"] for each in (state.read(data) or {})["processes"]},
        )
    finally:
        process.terminate()
        process.wait(timeout=60)


if __name__ == "__main__":
    main()
