"""Leave futures whose result may interest nobody, or nobody any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Value = TypeVar("Value")


def forget_error(done: asyncio.Future[Any]) -> None:
    """As a done callback: asyncio shall not complain of an error that nobody has retrieved. Who waits still gets it."""
    if not done.cancelled():
        done.exception()


async def result_within(awaitable: Awaitable[Value], seconds: float) -> Value:
    """The result. Raises TimeoutError if it takes longer, and does not cancel it.

    A query that is cancelled asks the server to give it up, and waits for that. A silent server lets it wait for long.
    """
    task = asyncio.ensure_future(awaitable)
    task.add_done_callback(forget_error)
    done, _ = await asyncio.wait((task,), timeout=seconds)
    if not done:
        raise TimeoutError
    return task.result()
