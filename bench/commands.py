"""The commands `run`, `scale` and `contrast`: each measures on stacks of its own, prints tables and makes a page."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import psutil
import typer
import uvloop

from bench import contrast as coordinators
from bench import history, scale
from bench.lines import lines_needed
from bench.machine import machine
from bench.own_stack import OwnStack
from bench.page import page
from bench.plan import QUICK, Part, Plan
from bench.report import Notes, Report
from bench.standard import Standard
from bench.table import echo
from bench.targets import rows
from bench.trials import Trials
from bench.workload import MIX
from cli.commands import failing_with, one_line_errors
from cli.terminal import console
from embedded.errors import StackError

# Whatever else is set is as shipped, but for the log, which says next to nothing of sagas that end well.
_ENVIRONMENT: Final = {
    "SAGA_LOG_LEVEL": "warning",
    "SAGA_TOPOLOGY_INTERVAL": "86400",  # mirrors that are switched off stay so
}
# What is compared is coordination: the provider answers at once. Whatever else is set holds for both coordinators.
_CONTRAST_ENVIRONMENT: Final = {"SAGA_LOG_LEVEL": "warning", "SAGA_PROVIDER_LATENCY_MS": "0"}
_PAGE: Final = Path("contrast.html")

Quick = Annotated[bool, typer.Option("--quick", help="Next to nothing of everything: to see that it works.")]
Record = Annotated[bool, typer.Option("--record", help="Append a line to bench/history.jsonl.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep all figures as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Make a page with plots.")]
Offset = Annotated[int, typer.Option("--port-offset", help="Added to every port of the stack it starts.")]


@failing_with(2)
def run(
    part: Annotated[list[Part] | None, typer.Option(help="Measure this alone; may be given again.")] = None,
    quick: Quick = False,
    record: Record = False,
    json_file: Json = None,
    html_file: Html = None,
    offset: Offset = 700,
) -> None:
    """Measure the system beside the ceilings of the servers it stands on.

    The exit code is 1 if an accepted order ended other than it must, and 2 if the measurement broke off.
    """
    plan = QUICK if quick else Plan()
    plan = replace(plan, parts=tuple(part)) if part else plan

    async def measure(data: Path) -> Report:
        notes, facts = Notes(), _Facts()
        await Standard(OwnStack(data, offset, {**os.environ, **_ENVIRONMENT}), plan, notes, _tell).run()
        return await facts.report("bench", notes, quick=quick, **asdict(plan))

    _measure(measure, json_file, html_file, record=record)


@failing_with(2)
def at_scale(
    quick: Quick = False, record: Record = False, json_file: Json = None, html_file: Html = None, offset: Offset = 700
) -> None:
    """Measure the system with full tables, more instances and slow providers. Exit codes are those of `run`."""
    plan = scale.QUICK if quick else scale.Plan()
    environ = {**os.environ, **_ENVIRONMENT}

    async def measure(data: Path) -> Report:
        notes, facts = Notes(), _Facts()

        def new_stack(name: str, beside: int) -> OwnStack:
            return OwnStack(data / name, offset + beside, environ)

        await scale.Scale(new_stack, plan, notes, _tell, port_offset=offset).run(environ)
        return await facts.report("scale", notes, quick=quick, **asdict(plan))

    _measure(measure, json_file, html_file, record=record)


@one_line_errors
def contrast(
    orders: Annotated[int | None, typer.Option(min=10, help="Of a block at saturation.", show_default="400")] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, max=20, help="Of each block.", show_default="3")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One short block of each, and two kills.")] = False,
    no_faults: Annotated[bool, typer.Option("--no-faults", help="Kill nothing.")] = False,
    json_file: Json = None,
    html_file: Annotated[Path, typer.Option("--html", metavar="FILE", help="The page to make.")] = _PAGE,
    offset: Offset = 500,
) -> None:
    """Compare both coordinators on a stack of their own; exit code 1 if an accepted order ended other than it must."""
    if json_file == html_file:
        raise typer.BadParameter(f"--json and --html both name {html_file}; name two files")
    plan = coordinators.QUICK if quick else coordinators.Plan()
    plan = replace(plan, orders=orders or plan.orders, repetitions=repetitions or plan.repetitions)
    plan = replace(plan, parts=()) if no_faults else plan

    async def measure(data: Path) -> Report:
        facts, own = _Facts(), OwnStack(data, offset, {**os.environ, **_CONTRAST_ENVIRONMENT})
        _tell("starting a stack of its own")
        try:
            running = await own.up_keeping_times()
            async with Trials.on(running, mix=MIX, follow=True) as trials:
                notes, half_load = await coordinators.Contrast(trials, plan, _tell).run()
        finally:
            await own.down()
        settings = {name: getattr(plan, name) for name in ("orders", "repetitions", "in_flight", "idle_rate")}
        report = await facts.report("contrast", notes, **settings, half_load_rate=round(half_load, 1))
        return replace(report, lines=lines_needed())

    _measure(measure, json_file, html_file)


class _Facts:
    """What is so of a run from its beginning on."""

    def __init__(self) -> None:
        self._began, self._clock, self._busy = datetime.now(UTC), time.monotonic(), psutil.getloadavg()[0]

    async def report(self, kind: Any, notes: Notes, **settings: Any) -> Report:
        report = Report(
            kind=kind,
            began=self._began.isoformat(timespec="seconds").replace("+00:00", "Z"),
            commit=await history.commit(Path(__file__).parent),
            seconds=round(time.monotonic() - self._clock, 1),
            machine=machine(self._busy),
            settings={name: _told(value) for name, value in settings.items()},
            figures=notes.figures,
            latencies=notes.latencies,
            waits=notes.waits,
            cpu=notes.cpu_medians(),
            cpu_at_rest=notes.cpu_at_rest,
            memory=notes.memory,
            recoveries=notes.recoveries,
            orders=notes.orders,
            improper=notes.improper,
            troubles=notes.troubles,
        )
        return report if kind == "contrast" else replace(report, targets=rows(report.medians))


def _told(value: object) -> str | int | float | bool:
    return value if isinstance(value, int | float) else ", ".join(map(str, value)) if isinstance(value, tuple) else ""


def _measure(
    measure: Callable[[Path], Coroutine[Any, Any, Report]],
    json_file: Path | None,
    html_file: Path | None,
    *,
    record: bool = False,
) -> None:
    """Measure, tell, keep. Raises StackError when it breaks off, and typer.Exit in the end."""
    for file in (json_file, html_file):
        _require_writable(file)
    report = _on_stacks(measure)
    echo(report, console())
    for file, content in ((json_file, report.as_json()), (html_file, page(report).encode())):
        if file is not None:
            _write(file, content)
    if html_file is not None:
        print(f"The page with plots is {html_file}")
    if record:
        history.append(report)
    raise typer.Exit(bool(report.improper))


def _on_stacks(measure: Callable[[Path], Coroutine[Any, Any, Report]]) -> Report:
    with (
        TemporaryDirectory(prefix="saga-bench-", ignore_cleanup_errors=True) as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            return runner.run(_until_told_to_stop(measure(Path(folder))))
        except asyncio.CancelledError:
            raise StackError(
                "Told to stop before all was measured; its stack is stopped, and nothing is kept"
            ) from None
        except TimeoutError as error:
            raise StackError(f"The system stood still: {error}") from error
        except (StackError, OSError):
            raise
        except Exception as error:
            traceback.print_exc()  # nobody expected it; but an exit code of its own would tell of orders
            raise StackError("The measurement broke off, and nothing is kept") from error


async def _until_told_to_stop(work: Coroutine[Any, Any, Report]) -> Report:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def _tell(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _require_writable(file: Path | None) -> None:
    """Raises StackError now rather than after minutes of measuring."""
    if file is None:
        return
    try:
        known = file.exists()
        with file.open("ab"):  # asks more than the permissions: of the disk, the name and the kind of file, too
            pass
        if not known:
            file.unlink()
    except OSError as error:
        raise _cannot_write(file, error) from None


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise _cannot_write(file, error) from None


def _cannot_write(file: Path, error: OSError) -> StackError:
    return StackError(f"{file} cannot be written ({error.strerror}); name a file in a folder that you may write to")
