"""Run a soak from the command line: `python -m tests.soak --minutes 30 --rate 20`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import report
from tests.soak.run import Plan, soak
from tests.support import servers


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, too, stops what was started here
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    folder.chmod(0o755)
    print(f"seed {arguments.seed}; data and logs in {folder}", flush=True)
    plan = Plan(rate=arguments.rate, seconds=arguments.minutes * 60, seed=arguments.seed, every=arguments.every)
    began = time.monotonic()
    with servers.running(folder / "servers", arguments.port_offset) as own:
        outcome = soak(plan, own, folder, lambda what: print(what, flush=True))
    print(report.table(outcome.judgements))
    if arguments.json:
        report.write(arguments.json, plan, outcome)
    for finding in outcome.findings:
        print(f"FOUND {finding}")
    print(f"{len(outcome.findings)} findings, {time.monotonic() - began:.0f} s")
    sys.exit(1 if outcome.findings else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A steady load, and nothing that grows.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the load lasts")
    # Half of two cores: at an even pace, with batches of one or two, an order and its mirror cost 40 to 50 ms of CPU.
    # More than the machine can take shows as a queue `saga-mirror` that grows.
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second; one in twenty is orchestrated")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two readings")
    parser.add_argument("--seed", type=int, default=1, help="of the load")
    parser.add_argument("--port-offset", type=int, default=5_000, help="of the servers' ports")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
