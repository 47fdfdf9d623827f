"""Define how often, and with which pauses, Temporal retries the steps of a saga."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

ORDER_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)

# A longer pause between two attempts of a local step ends the workflow task. Then signals get in, and the error shows.
LOCAL_RETRIES_WITHIN: Final = timedelta(milliseconds=100)  # less than the first pause


def payment_retries(delays: Sequence[float]) -> RetryPolicy:
    """Retries with choreography's delays, as near as a geometric series comes; then with the longest delay for ever."""
    first, last = delays[0], max(delays)
    growth = (last / first) ** (1 / (len(delays) - 1)) if len(delays) > 1 else 1.0
    return RetryPolicy(
        initial_interval=timedelta(seconds=first),
        backoff_coefficient=max(1.0, growth),
        maximum_interval=timedelta(seconds=max(first, last)),
    )
