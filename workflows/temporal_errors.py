"""Say whether Temporal took a request, did not take it, or gave no answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from temporalio.service import RPCError, RPCStatusCode

# With these answers the server has done nothing. After any other failure it may have taken the request. So it may after
# RESOURCE_EXHAUSTED: the client repeats such a request by itself, and the answer to an earlier try may have been lost.
_REFUSALS: Final = frozenset(
    {
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.UNIMPLEMENTED,
    }
)


class TemporalUnavailable(Exception):
    """Temporal, or its worker, did not answer: the request may or may not have arrived. Making it again is safe."""


class RequestNotTaken(TemporalUnavailable):
    """Temporal has certainly not taken the request: nothing will come of it."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise TemporalUnavailable for every error that says that Temporal did not answer."""
    try:
        yield
    except RuntimeError as error:
        # The client has never been connected, so it has asked nobody.
        raise RequestNotTaken(f"Temporal has never been reached: {error}") from error
    except (RPCError, OSError) as error:
        refused = isinstance(error, RPCError) and error.status in _REFUSALS
        raise (RequestNotTaken if refused else TemporalUnavailable)(f"Temporal does not answer: {error}") from error


def is_away(error: Exception) -> bool:
    """Whether this error says that Temporal is away or overloaded, and not that it refuses the request."""
    if isinstance(error, RPCError):
        return error.status not in (
            RPCStatusCode.INVALID_ARGUMENT,
            RPCStatusCode.FAILED_PRECONDITION,
            RPCStatusCode.OUT_OF_RANGE,
            RPCStatusCode.UNIMPLEMENTED,
        )
    return isinstance(error, RuntimeError | OSError)  # a connection that was never made; a timeout
