"""Translate the driver's errors about a lost connection into errors that can be caught, and explain them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aio_pika.exceptions import AMQPError
from aiormq import exceptions as amqp

from choreography.outgoing_message import BrokerUnavailable
from models import tls

LOST: Final = (AMQPError, OSError, TimeoutError, RuntimeError)


@contextmanager
def named() -> Iterator[None]:
    """Raise ConnectionError where aiormq raises something unusual for a lost connection.

    If a connection is closed without a reason, aiormq raises StopAsyncIteration during the handshake (for example
    behind a proxy of a dead broker), and a bare Exception later. If the driver gives up a broker that sends no
    heartbeats, it raises CancelledError, although nobody has cancelled the task.

    A task that is being cancelled stays cancelled, whatever the driver raises. The driver uses `asyncio.wait_for`,
    which in Python 3.11 forgets a cancellation that comes at the moment in which the awaited call fails.
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
    """What was lost and what to do, in one line without a password; None if the error is no lost connection."""
    if (fault := tls.BROKER.explain(str(error))) is not None:
        return f"RabbitMQ could not be reached: {fault}"
    match error:
        case OSError(filename=str(path)):
            return f"{path}: {error.strerror}; correct the path"
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
