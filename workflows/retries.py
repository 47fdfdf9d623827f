"""How often, and how long apart, Temporal tries the steps of a saga."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

ORDER_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)

# A pause between two attempts of a local step ends the workflow task, which lets signals in and shows the error.
LOCAL_RETRIES_WITHIN: Final = timedelta(milliseconds=100)  # less than the first pause


def payment_retries(delays: Sequence[float]) -> RetryPolicy:
    """As many and as long as choreography's, as near as a geometric series comes; then on at the longest."""
    first, last = delays[0], max(delays)
    growth = (last / first) ** (1 / (len(delays) - 1)) if len(delays) > 1 else 1.0
    return RetryPolicy(
        initial_interval=timedelta(seconds=first),
        backoff_coefficient=max(1.0, growth),
        maximum_interval=timedelta(seconds=max(first, last)),
    )
