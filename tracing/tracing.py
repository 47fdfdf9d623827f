"""Put together what one process traces; all of it is None unless it has a provider of spans."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from temporalio.client import Interceptor

from api.telemetry import HttpTraces
from tracing import http_server
from tracing.messages import Messages
from tracing.mirrors import Mirrors
from tracing.provider import ProviderCalls
from tracing.steps import Steps

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_SCOPE: Final = "payment-saga"


class Tracing:
    """The traces of one process."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer(_SCOPE)

    @cached_property
    def messages(self) -> Messages | None:
        """For those who publish, and for a service's consumer."""
        return None if self._tracer is None else Messages(self._tracer)

    @cached_property
    def steps(self) -> Steps | None:
        """For a service's ledger."""
        return None if self._tracer is None else Steps(self._tracer)

    @property
    def mirrors(self) -> Mirrors | None:
        """For the feed of the mirrors."""
        return None if self._tracer is None else Mirrors(self._tracer)

    @property
    def provider(self) -> ProviderCalls | None:
        """For the calls of the payment provider."""
        return None if self._tracer is None else ProviderCalls(self._tracer)

    @property
    def gateway(self) -> HttpTraces | None:
        """For the gateway's application."""
        if self._provider is None or self.steps is None:
            return None
        return http_server.of_gateway(self._provider, self.steps)

    @property
    def service(self) -> HttpTraces | None:
        """For the application of another process."""
        if self._provider is None or self.steps is None:
            return None
        return http_server.of_service(self._provider, self.steps)

    @cached_property
    def interceptors(self) -> Sequence[Interceptor]:
        """For clients of Temporal, and so for their workers."""
        if self._tracer is None:
            return ()
        from tracing.temporal import WorkflowTraces  # it loads a large part of the SDK

        return (WorkflowTraces(self._tracer),)

    def end(self, *, within: float) -> None:
        """Export what is left, for at most `within` seconds."""
        if self._provider is not None:
            # A thread that nobody waits for: an endpoint that does not answer holds up the SDK's for its time limit.
            ending = threading.Thread(target=self._provider.shutdown, daemon=True)
            ending.start()
            ending.join(within)
