"""What takes too long is left alone, not cancelled."""

from __future__ import annotations

import asyncio

import pytest

from models.futures import result_within

pytestmark = pytest.mark.anyio


async def test_what_takes_too_long_is_not_cancelled() -> None:
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await go_on.wait()
        ended.set()

    with pytest.raises(TimeoutError):
        await result_within(slow(), 0.01)
    go_on.set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_result_and_an_error_arrive_as_they_are() -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert await result_within(asyncio.sleep(0, "yes"), 10) == "yes"
    with pytest.raises(ValueError, match="no"):
        await result_within(fail(), 10)
