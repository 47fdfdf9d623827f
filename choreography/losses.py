"""What the driver raises when the way to RabbitMQ is lost, under names that can be caught."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aio_pika.exceptions import AMQPError

LOST: Final = (AMQPError, OSError, TimeoutError, RuntimeError)


@contextmanager
def named() -> Iterator[None]:
    """Raise ConnectionError for what aiormq raises where a connection was closed without a reason.

    That is StopAsyncIteration in the handshake, as behind a proxy of a dead broker, and later Exception itself; and
    CancelledError where the driver has given up a broker that sends no heartbeats, though nobody has cancelled us.

    A task that is being cancelled stays so, whatever the driver raises: `asyncio.wait_for`, which it uses, forgets a
    cancellation that comes at the moment in which what it waits for fails (Python 3.11).
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        raise ConnectionError("RabbitMQ fell silent") from error
    except Exception as error:
        if _is_cancelled():
            raise asyncio.CancelledError from error
        if type(error) is Exception or isinstance(error, StopAsyncIteration):
            raise ConnectionError("RabbitMQ closed the connection without a word") from error
        raise


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
