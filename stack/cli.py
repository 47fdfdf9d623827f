"""`saga`: start and stop the system, look after it, and use it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from api.environment import forget_strangers, forget_ways_out
from stack.commands import audit, contrast, dead_letters, events, orders
from stack.errors import StackError

Process = Literal["gateway", "order", "payment", "worker"]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(orders.app, name="order")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.command("audit")(audit.audit)
app.command("contrast")(contrast.contrast)

Data = Annotated[Path, typer.Option("--data", envvar="SAGA_DATA", help="Folder that holds all data of the stack.")]
Offset = Annotated[int, typer.Option("--port-offset", help="Added to every port, so that stacks can run side by side.")]
DEFAULT_DATA = Path(".saga")


@app.command()
def up(
    data: Data = DEFAULT_DATA,
    port_offset: Offset = 0,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready, and leave it running.")] = False,
    tour: Annotated[
        bool, typer.Option("--tour", help="Drive a few orders before your eyes when all is ready.")
    ] = False,
) -> None:
    """Start PostgreSQL, RabbitMQ, Temporal and our processes; stay until Ctrl-C, which leaves nothing behind."""
    from stack import up as commands

    if detach:
        commands.detached(data, port_offset, tour=tour)
    else:
        commands.attached(data, port_offset, tour=tour)


@app.command()
def down(data: Data = DEFAULT_DATA) -> None:
    """Stop the stack that runs on this data, and wait until nothing of it is left."""
    from stack import up as commands

    commands.down(data)


@app.command()
def status(
    data: Data = DEFAULT_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for a program to read.")] = False,
) -> None:
    """Say what runs, where and how well; the exit code is 0 when all of it is ready."""
    from stack import status as commands

    commands.status(data, as_json=as_json)


@app.command()
def doctor(data: Data = DEFAULT_DATA, port_offset: Offset = 0) -> None:
    """Check that this machine has what `saga up` needs, and say what to do where it hasn't."""
    from stack import status as commands

    commands.doctor(data, port_offset)


@app.command()
def run(
    process: Annotated[Process, typer.Argument(metavar="PROCESS", help="gateway, order, payment or worker")],
) -> None:
    """Run one process in the foreground, configured by SAGA_… variables, as the containers do."""
    import asyncio

    import uvloop

    from stack import logs, services, settings

    configuration = settings.load()
    if not (process == "payment" and configuration.provider == "stripe"):
        forget_ways_out(os.environ)
    logs.configure(level=configuration.log_level, log_format=configuration.log_format, service=process)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(services.run(process, configuration))


def main() -> None:
    """Run the command line; what is in its way is told in one line, with exit code 1."""
    forget_strangers(os.environ)
    try:
        app()
    except StackError as error:
        print(f"saga: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"saga: {error.filename or 'The disk'} has no room left: make some and try again", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
