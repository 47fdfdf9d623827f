"""Make clients of Temporal: lazy ones for callers, connected ones for workers."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError


async def connect(address: str, namespace: str, *, runtime: Runtime | None = None) -> Client:
    """A client that connects when it is first used, so that no process waits for Temporal at its start.

    A `runtime` has the SDK measure what the client and its workers do.
    """
    return await Client.connect(address, namespace=namespace, lazy=True, runtime=runtime)


async def connect_now(client: Client) -> Client:
    """A connected client of the same server, which a worker needs. Raises RuntimeError if the server doesn't answer."""
    config = client.service_client.config
    return await Client.connect(config.target_host, namespace=client.namespace, runtime=config.runtime)


async def answers(client: Client) -> str:
    """`ok` if Temporal answers; else what is wrong."""
    try:
        healthy = await client.service_client.check_health(timeout=timedelta(seconds=1))
    except (RPCError, RuntimeError, OSError) as error:
        return f"does not answer: {type(error).__name__}"
    return "ok" if healthy else "not healthy"
