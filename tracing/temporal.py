"""Trace workflows and activities by the interceptor of Temporal's SDK."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Tracer
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

# The SDK's plugin measures workflows better. But it is called experimental, and it shows a workflow's span only when
# the workflow has ended, which a mirror may do after days.


class WorkflowTraces(TracingInterceptor):
    """The SDK's interceptor, except for activities that nobody traces: those of a sweep would be a trace each."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(tracer)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _TracedOnly(super().intercept_activity(next), next, self.header_key)


class _TracedOnly(ActivityInboundInterceptor):
    def __init__(self, traced: ActivityInboundInterceptor, untraced: ActivityInboundInterceptor, header: str) -> None:
        super().__init__(traced)
        self._untraced = untraced
        self._header = header

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if self._header in input.headers:
            return await super().execute_activity(input)
        return await self._untraced.execute_activity(input)
