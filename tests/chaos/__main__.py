"""Run chaos from the command line: `python -m tests.chaos --sagas 10000 --seed 1 --minutes 10`."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Chaos, unleash
from tests.chaos.strikes import EVERYTHING
from tests.chaos.system import running
from tests.support import servers


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, too, stops what was started here
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

    with (
        servers.running(folder / "servers", arguments.port_offset) as own,
        running(own, folder, mirror_after=arguments.mirror_after) as system,
    ):
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
    parser.add_argument("--mirror-after", type=float, default=0.0, help="SAGA_MIRROR_AFTER of the system, in seconds")
    parser.add_argument("--port-offset", type=int, default=5_000, help="of the servers' ports")
    return parser.parse_args()


if __name__ == "__main__":
    main()
