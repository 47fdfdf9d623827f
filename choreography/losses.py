"""What the driver raises when the way to RabbitMQ is lost, under names that can be caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aio_pika.exceptions import AMQPError

LOST: Final = (AMQPError, OSError, TimeoutError, RuntimeError)


@contextmanager
def named() -> Iterator[None]:
    """Raise ConnectionError for what aiormq raises where a connection was closed without a reason.

    That is StopAsyncIteration in the handshake, as behind a proxy of a dead broker, and later Exception itself.
    """
    try:
        yield
    except Exception as error:
        if type(error) is Exception or isinstance(error, StopAsyncIteration):
            raise ConnectionError("RabbitMQ closed the connection without a word") from error
        raise
