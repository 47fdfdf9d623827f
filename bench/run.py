"""`python -m bench.run`: measure the system beside its ceilings, or at scale, and keep what was found."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import psutil
import typer
import uvloop
from rich.console import Console

from api.environment import forget_strangers
from bench import history, scale, standard
from bench.bench_page import page
from bench.bench_table import echo
from bench.machine import machine
from bench.own_stack import OwnStack, StackFailed
from bench.pgbench import PgbenchFailed
from bench.raw_broker import BrokerCeilingFailed
from bench.results import Notes, Results
from bench.targets import rows

DEFAULT_OFFSET: Final = 700
# Whatever else is set is as shipped, but for the log, which says next to nothing of sagas that end well.
_ENVIRONMENT: Final = {
    "SAGA_LOG_LEVEL": "warning",
    "SAGA_TOPOLOGY_INTERVAL": "86400",  # mirrors that are switched off stay so
}
_FAILURES: Final = (StackFailed, PgbenchFailed, BrokerCeilingFailed, TimeoutError, OSError)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    at_scale: Annotated[
        bool, typer.Option("--scale", help="With full tables, more instances, slow providers.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Next to nothing of everything: to see that it works.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Append a line to bench/history.jsonl.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep all figures as JSON.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Make a page with plots.")] = None,
    port_offset: Annotated[int, typer.Option(help="Added to every port of the stack it starts.")] = DEFAULT_OFFSET,
) -> None:
    """Measure on a stack of its own; exit code 1 if an accepted order ended other than it must, 2 if it broke off."""
    try:
        for file in (json_file, html_file):
            if file is not None:
                file.touch()  # rather now than after a quarter of an hour
        with (
            TemporaryDirectory(prefix="saga-bench-", ignore_cleanup_errors=True) as folder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            results = runner.run(_run(Path(folder), port_offset, at_scale=at_scale, quick=quick))
    except _FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception:
        traceback.print_exc()  # nobody expected it; but an exit code of 1 would tell of orders
        raise typer.Exit(2) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: told to stop before all was measured; its stack is stopped, nothing is kept", file=sys.stderr)
        raise typer.Exit(2) from None
    echo(results, Console(highlight=False))
    for file, content in ((json_file, results.as_json()), (html_file, page(results).encode())):
        if file is not None:
            file.write_bytes(content)
    if record:
        history.append(results)
    raise typer.Exit(bool(results.improper))


async def _run(data: Path, port_offset: int, *, at_scale: bool, quick: bool) -> Results:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    began, clock, busy = datetime.now(UTC), time.monotonic(), psutil.getloadavg()[0]
    environ = {**os.environ, **_ENVIRONMENT}
    notes = Notes()
    plan: standard.Plan | scale.Plan
    if at_scale:
        plan = scale.QUICK if quick else scale.Plan()
        measured = scale.Scale(
            lambda name, beside: OwnStack(data / name, port_offset + beside, environ),
            plan,
            notes,
            _tell,
            port_offset=port_offset,
        )
        await measured.run(environ)
    else:
        plan = standard.QUICK if quick else standard.Plan()
        await standard.Standard(OwnStack(data, port_offset, environ), plan, notes, _tell).run()
    measures = notes.measures
    return Results(
        kind="scale" if at_scale else "bench",
        began=began.isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=await history.commit(Path(__file__).parent),
        seconds=round(time.monotonic() - clock, 1),
        machine=machine(busy),
        settings={"quick": quick, **{name: _told(value) for name, value in asdict(plan).items()}},
        measures=measures,
        rows=rows({measure.key: measure.median for measure in measures}),
        latencies=notes.latencies,
        cpu=notes.cpu_medians(),
        orders=notes.orders,
        improper=notes.improper,
        troubles=notes.troubles,
    )


def _told(value: object) -> str | int | float | bool:
    return value if isinstance(value, int | float) else ", ".join(map(str, value)) if isinstance(value, tuple) else ""


def _tell(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    forget_strangers(os.environ)
    app()
