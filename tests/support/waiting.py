"""Wait for a condition, never for a time."""

import asyncio
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Final, Literal, TypeVar

Result = TypeVar("Result")

PATIENCE: Final = 60.0  # seconds: a busy machine takes several times what an idle one does, and only a failure waits


def until(
    condition: Callable[[], Result | Literal[False] | None], *, within: float = PATIENCE, what: str = ""
) -> Result:
    """Wait for a true answer of `condition`, and return it. Fails after `within` s, with the last answer or error."""
    deadline = time.monotonic() + within
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = condition()
        except (OSError, AssertionError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        time.sleep(0.01)
    raise AssertionError(f"not within {within:g} s: {what or condition}; last: {last!r}")


async def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Wait until `condition` answers something true, at once or when awaited. Fails after PATIENCE s."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = condition()
                if await answer if isawaitable(answer) else answer:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what or condition}") from None
