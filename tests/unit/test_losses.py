"""Errors that mean a lost connection to RabbitMQ are told apart from all others."""

from __future__ import annotations

import asyncio

import pytest

from choreography import connection_errors

pytestmark = pytest.mark.anyio


async def wait_for_ever() -> None:
    with connection_errors.named():
        await asyncio.Event().wait()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), StopAsyncIteration(), Exception()])
async def test_an_error_of_the_driver_without_a_message_is_a_lost_connection(error: BaseException) -> None:
    with pytest.raises(connection_errors.LOST), connection_errors.named():
        raise error


async def test_a_cancelled_task_stays_cancelled() -> None:
    task = asyncio.create_task(wait_for_ever())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_as_the_driver_fails_is_not_lost() -> None:
    """Up to Python 3.11 `asyncio.wait_for` forgets the cancellation, and raises the error that it waited for."""
    failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect() -> None:
        with connection_errors.named():
            await asyncio.wait_for(failing, 60)

    task = asyncio.create_task(connect())
    await asyncio.sleep(0)
    failing.set_exception(ConnectionRefusedError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_out_is_no_lost_connection() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_for_ever()


async def test_an_error_of_any_other_kind_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError), connection_errors.named():
        raise KeyError
