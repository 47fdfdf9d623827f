"""Send running workflows signals and updates whose arguments no workflow takes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import product
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import RawValue
from temporalio.service import RPCError

ARGUMENTS: Final[Mapping[str, Sequence[Any]]] = {
    "nothing": [],
    "null": [None],
    "a number": [7],
    "a list": [[[]]],
    "too many": [None] * 50,
    "half a document": [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{"))],
    "what is encrypted": [RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"\x00\xff"))],
    "an empty correlation id": [{"correlation_id": "", "reason": "USER_REQUESTED"}],
    "a long correlation id": [{"correlation_id": "c" * 300, "reason": "USER_REQUESTED"}],
    "an absurd reason": [{"correlation_id": "c", "reason": "BECAUSE" * 1_000}],
}
SIGNALS: Final = ("cancel", "record", "no_such_signal")
_VICTIMS: Final = 5  # workflows at a time
_WITHIN: Final = timedelta(seconds=5)

MISUSES: Final = {f"{name} with {given}": (name, given) for name, given in product(SIGNALS, ARGUMENTS)}


def misuse(address: str, what: str) -> None:
    """Send nonsense to some running workflows, which must ignore it. While Temporal is away, nothing is sent."""
    name, given = MISUSES[what]

    async def tell() -> None:
        client = await Client.connect(address)
        found = [each.id async for each in client.list_workflows("ExecutionStatus = 'Running'", limit=_VICTIMS)]
        for workflow_id in found:
            handle = client.get_workflow_handle(workflow_id)
            with suppress(RPCError):  # it has ended meanwhile
                await handle.signal(name, args=ARGUMENTS[given], rpc_timeout=_WITHIN)
            with suppress(RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
                await handle.execute_update(name, args=ARGUMENTS[given], rpc_timeout=_WITHIN)

    with suppress(RPCError, RuntimeError, TimeoutError):  # a RuntimeError is what connecting fails with
        asyncio.run(asyncio.wait_for(tell(), 30))
