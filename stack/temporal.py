"""Connect a process to Temporal, as its settings say."""

from __future__ import annotations

from temporalio.client import Client

from metrics.measuring import Measuring
from stack import protection
from stack.settings import Settings
from tracing.tracing import Tracing
from workflows.temporal_client import connect


async def client_of(settings: Settings, measuring: Measuring, tracing: Tracing) -> Client:
    """A client that connects when it is first used, with the SDK's own measures and traces."""
    return await connect(
        settings.temporal_address,
        settings.temporal_namespace,
        protection.of_temporal(settings.temporal_variables),
        runtime=measuring.runtime,
        interceptors=tracing.interceptors,
    )
