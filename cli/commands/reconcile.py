"""Have the reconciler sweep now."""

from __future__ import annotations

from cli.commands import one_line_errors
from cli.commands.options import Data, PortOffset
from cli.commands.target import find
from cli.commands.through_gateway import operate
from cli.terminal import say


@one_line_errors
def reconcile(data: Data = None, port_offset: PortOffset = None) -> None:
    """Have the reconciler look now for what fell through everything else; the Temporal UI tells what it found."""
    operate(find(data, "gateway", port_offset=port_offset), "POST", "reconcile")
    say("A sweep of the reconciler begins; the Temporal UI tells what it finds")
