"""Reach Temporal: lazily by those who only ask it, in earnest by those who work for it."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError


async def connect(address: str, namespace: str) -> Client:
    """A client that connects when it is first used, so that nobody has to wait for Temporal to start."""
    return await Client.connect(address, namespace=namespace, lazy=True)


async def connect_now(client: Client) -> Client:
    """A client of the same server that is connected, as a worker needs it. Raises RuntimeError if nobody answers."""
    return await Client.connect(client.service_client.config.target_host, namespace=client.namespace)


async def answers(client: Client) -> str:
    """Whether Temporal answers: "ok", or what is wrong."""
    try:
        healthy = await client.service_client.check_health(timeout=timedelta(seconds=1))
    except (RPCError, RuntimeError, OSError) as error:
        return f"does not answer: {type(error).__name__}"
    return "ok" if healthy else "not healthy"
