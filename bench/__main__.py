"""`python -m bench`: measure the system (`run`, `scale`), or both coordinators side by side (`contrast`)."""

from __future__ import annotations

import os

import typer

from bench.commands import at_scale, contrast, run
from stack.environment import forget_strangers

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("run")(run)
app.command("scale")(at_scale)
app.command("contrast")(contrast)

if __name__ == "__main__":
    forget_strangers(os.environ)
    app()
