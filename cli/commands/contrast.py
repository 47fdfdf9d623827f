"""Contrast both coordinators on a stack of their own: the same workload, the same kills, one report."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.commands import one_line_errors
from cli.terminal import console
from embedded.errors import StackError

if TYPE_CHECKING:
    from bench.blocks import System
    from bench.contrast import Plan
    from bench.report import Report
    from embedded.program import Program

DEFAULT_OFFSET: Final = 500
DEFAULT_PAGE: Final = Path("contrast.html")
# Times of commits and of flushes are what latencies and costs are read from; both cost next to nothing.
_SERVER_OPTIONS: Final = ("-c", "track_commit_timestamp=on", "-c", "track_wal_io_timing=on")
# What is compared is coordination: the provider answers at once. Whatever else is set holds for both.
_ENVIRONMENT: Final = {"SAGA_PROVIDER_LATENCY_MS": "0", "SAGA_LOG_LEVEL": "warning"}


@one_line_errors
def contrast(
    orders: Annotated[int | None, typer.Option(min=10, help="Of a block at saturation.", show_default="400")] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, max=20, help="Of each block.", show_default="3")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One short block of each, and two kills.")] = False,
    no_faults: Annotated[bool, typer.Option("--no-faults", help="Kill nothing.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep all figures as JSON.")] = None,
    html_file: Annotated[Path, typer.Option("--html", metavar="FILE", help="The page to make.")] = DEFAULT_PAGE,
    port_offset: Annotated[int, typer.Option(help="Added to every port of the stack it starts.")] = DEFAULT_OFFSET,
) -> None:
    """Compare both coordinators on a stack of their own; exit code 1 if an accepted order ended other than it must."""
    if find_spec("bench") is None:
        raise StackError(
            "What measures is not part of this installation; run `make contrast` in a checkout of the project"
        )
    from bench import contrast as measure
    from bench.page import page
    from bench.table import echo

    plan = measure.QUICK if quick else measure.Plan()
    plan = replace(plan, orders=orders or plan.orders, repetitions=repetitions or plan.repetitions)
    plan = replace(plan, parts=()) if no_faults else plan
    if json_file == html_file:
        raise typer.BadParameter(f"--json and --html both name {html_file}; name two files")
    for file in (json_file, html_file):
        _require_writable(file)
    report = _on_a_stack_of_its_own(plan, port_offset)
    echo(report, console())
    for file, content in ((json_file, report.as_json()), (html_file, page(report).encode())):
        if file is not None:
            _write(file, content)
    print(f"The page with plots is {html_file}")
    raise typer.Exit(bool(report.improper))


def _on_a_stack_of_its_own(plan: Plan, port_offset: int) -> Report:
    import uvloop

    with (
        TemporaryDirectory(prefix="saga-contrast-", ignore_cleanup_errors=True) as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            return runner.run(_run(plan, Path(folder), port_offset))
        except asyncio.CancelledError:
            raise StackError(
                "Told to stop before all was measured; its stack is stopped, and nothing is kept"
            ) from None


async def _run(plan: Plan, data: Path, port_offset: int) -> Report:
    """Stack up, measure, stack down; the last also when told to stop."""
    from bench.contrast import contrast as measure
    from embedded.supervisor import Supervisor
    from stack import local

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    secrets = local.Secrets.of(data)
    urls = local.urls(port_offset, secrets)
    environ = {**os.environ, **_ENVIRONMENT}
    supervisor = Supervisor(
        data=data,
        programs=[
            *map(_with_times, local.servers(data, port_offset, secrets)),
            *local.services(data, port_offset, secrets, environ),
        ],
        urls=urls,
    )
    _tell("starting a stack of its own")
    await supervisor.start()
    try:
        return await measure(_system(data, urls), plan, _tell)
    except TimeoutError as error:
        raise StackError(f"The system stood still: {error}") from error
    finally:
        await supervisor.stop()


def _with_times(program: Program) -> Program:
    return replace(program, argv=(*program.argv, *_SERVER_OPTIONS)) if program.name == "postgres" else program


def _system(data: Path, urls: Mapping[str, str]) -> System:
    from bench.blocks import System
    from embedded import state

    def processes() -> dict[str, dict[str, object]]:
        return {each["name"]: each for each in (state.read(data) or {"processes": ()})["processes"]}

    def pids() -> dict[str, int]:
        return {name: pid for name, each in processes().items() if isinstance(pid := each["pid"], int)}

    return System(
        gateway=urls["gateway"],
        orders_db=urls["orders_db"],
        payments_db=urls["payments_db"],
        rabbitmq_api=urls["rabbitmq_ui"].replace("//", f"//{urls['amqp'].split('//')[1].split('@')[0]}@") + "/api",
        temporal=urls["temporal"],
        pids=pids,
        ready=lambda name: processes()[name]["state"] == "ready",
    )


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
