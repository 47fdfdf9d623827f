"""`saga`: start and stop the system, look after it, and use it."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import terminal
from cli.commands import audit, contrast, dead_letters, events, keys, migrate, one_line_errors, orders, reconcile
from cli.commands.options import AsJson, Data, PortOffset, folder
from stack.addresses import Process
from stack.environment import forget_strangers, forget_ways_out

INTERRUPTED = 130  # a shell's code for a process that Ctrl-C has ended
NO_READER = 141  # a shell's code for a process that wrote to a closed pipe
NO_ROOM = 74  # the code of sysexits.h for an error in writing

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(orders.app, name="order")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(migrate.app, name="migrate")


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"payment-saga {version('payment-saga')}")
        raise typer.Exit


@app.callback()
def saga(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Start and stop the system, look after it, and use it."""


@app.command("help")
def show_help(
    context: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Such as: order list")] = None,
) -> None:
    """Show this page, or that of a command: `saga help order list`."""
    root = context.find_root()
    root.command.main([*(command or ()), "--help"], prog_name=root.info_name)


@app.command()
@one_line_errors
def up(
    data: Data = None,
    port_offset: PortOffset = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready, and leave it running.")] = False,
    tour: Annotated[
        bool, typer.Option("--tour", help="Drive a few orders before your eyes when all is ready.")
    ] = False,
    cuttable: Annotated[
        bool, typer.Option("--cuttable", help="Let the console cut parts off from the others; costs some speed.")
    ] = False,
    servers_only: Annotated[
        bool, typer.Option("--servers-only", help="Start the three servers without our processes, to restore data.")
    ] = False,
) -> None:
    """Start PostgreSQL, RabbitMQ, Temporal and our processes; stay until Ctrl-C, which leaves nothing behind."""
    from cli import up as commands

    terminal.need_no_output()
    if servers_only and (tour or cuttable):
        raise typer.BadParameter("--servers-only starts none of our processes; leave out --tour and --cuttable")
    start = commands.detached if detach else commands.attached
    start(folder(data), port_offset or 0, tour=tour, cuttable=cuttable, servers_only=servers_only)


@app.command()
@one_line_errors
def down(data: Data = None, port_offset: PortOffset = None) -> None:
    """Stop the stack that runs on this data, and wait until nothing of it is left."""
    from cli import up as commands

    terminal.need_no_output()
    commands.down(folder(data), port_offset)


@app.command()
@one_line_errors
def status(data: Data = None, port_offset: PortOffset = None, as_json: AsJson = False) -> None:
    """Say what runs, where and how well; the exit code is 0 when all of it is ready."""
    from cli import status as commands

    commands.status(folder(data), port_offset, as_json=as_json)


@app.command()
@one_line_errors
def doctor(data: Data = None, port_offset: PortOffset = None) -> None:
    """Check that this machine has what `saga up` needs, and say what to do where it hasn't."""
    from cli import status as commands

    commands.doctor(folder(data), port_offset or 0)


@app.command()
@one_line_errors
def run(
    process: Annotated[Process, typer.Argument(metavar="PROCESS", help="gateway, order, payment or worker")],
) -> None:
    """Run one process in the foreground, configured by SAGA_… variables, as the containers do."""
    import asyncio

    import uvloop

    from stack import logs, services, settings, traces

    configuration = settings.load()
    if not (process == "payment" and configuration.provider == "stripe"):
        forget_ways_out(os.environ)
    logs.configure(
        level=configuration.log_level,
        log_format=configuration.log_format,
        service=process,
        traced=traces.traced(os.environ),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(services.run(process, configuration))


app.command("audit")(audit.audit)
app.command("reconcile")(reconcile.reconcile)
app.command("contrast", add_help_option=False, context_settings=contrast.PASSED_ON)(contrast.contrast)


def main() -> None:
    """Run the command line. An error is told in one line. docs/command-line.md has the exit codes."""
    terminal.prepare()
    forget_strangers(os.environ)
    try:
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except terminal.OutputLost as lost:
        terminal.abandon()
        code = NO_READER
        if not lost.reader_has_gone:
            terminal.complain(f"Standard output cannot be written: {lost}")
            code = NO_ROOM
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C from now on must not show a traceback
    sys.exit(code)


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)
