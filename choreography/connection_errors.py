"""What the driver raises when the way to RabbitMQ is lost, under names that can be caught, and what to do about it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aio_pika.exceptions import AMQPError
from aiormq import exceptions as amqp

from choreography.outgoing_message import BrokerUnavailable

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


def explain(error: Exception) -> str | None:
    """One line for an operator: what was lost and what to do; no password, and None for what is no loss."""
    match error:
        case amqp.AuthenticationError() | amqp.ProbableAuthenticationError() | amqp.ConnectionNotAllowed():
            return "RabbitMQ refuses this user, password or virtual host; correct SAGA_AMQP_URL"
        case amqp.ChannelAccessRefused():
            return f"RabbitMQ does not let this user do that ({error}); use an operator's SAGA_AMQP_URL"
        case amqp.ChannelNotFoundEntity():
            return f"RabbitMQ lacks a queue ({error}); start the services once, they declare theirs"
        case BrokerUnavailable():
            return f"{error}; see what `saga status` says and run this again, nothing is lost by that"
        case amqp.AMQPError() | OSError() | amqp.ChannelInvalidStateError():
            reason = re.sub(r"//[^/@]*@", "//", str(error)) or type(error).__name__
            return f"RabbitMQ could not be reached ({reason}); start it with `saga up`, or correct SAGA_AMQP_URL"
        case _:
            return None
