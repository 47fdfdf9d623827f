"""Contrast both coordinators, by the measurement in a checkout of the project."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import typer

from cli.commands import one_line_errors
from embedded.errors import StackError

# The measurement is not part of the product. Only a checkout has it.
_CHECKOUT: Final = Path(__file__).absolute().parents[2]

PASSED_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}  # the measurement gets all arguments


@one_line_errors
def contrast(context: typer.Context) -> None:
    """Compare both coordinators on a stack of their own. It takes a checkout; `--help` there shows its options."""
    if not (_CHECKOUT / "bench" / "__main__.py").is_file():
        if "--help" in context.args:
            print(context.get_help())
            raise typer.Exit
        raise StackError(
            "What measures is not part of this installation; run `make contrast` in a checkout of the project"
        )
    sys.path.append(str(_CHECKOUT))
    import_module("bench.__main__").app(["contrast", *context.args], prog_name=context.find_root().info_name)
