"""Make clients of Temporal: lazy ones for callers, connected ones for workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Final

from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, TLSConfig

from models import tls, tls_probe
from workflows.core_log import FORWARDED

_ANSWERS_WITHIN: Final = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What protects the way to Temporal, and says who we are there."""

    tls: TLSConfig | bool = False
    api_key: str | None = field(default=None, repr=False)


async def connect(
    address: str,
    namespace: str,
    protection: Protection | None = None,
    *,
    runtime: Runtime | None = None,
    interceptors: Sequence[Interceptor] = (),
    lazy: bool = True,
) -> Client:
    """A client that connects when it is first used, so that no process waits for Temporal at its start.

    A `runtime` has the SDK measure what the client and its workers do; `interceptors` hear of it. Unless the client is
    to be `lazy`, it is connected on return. Raises RuntimeError if nobody answers then.
    """
    given = protection or Protection()
    try:
        return await Client.connect(
            address,
            namespace=namespace,
            tls=given.tls,
            api_key=given.api_key,
            lazy=lazy,
            runtime=runtime or _unmeasured(),
            interceptors=interceptors,
        )
    except RuntimeError as error:
        if (fault := await _refusal(address, given.tls, error)) is not None:
            raise RuntimeError(fault) from error
        raise


@cache
def _unmeasured() -> Runtime:
    """The runtime of clients of which nobody measures anything; a process has one."""
    return Runtime(telemetry=TelemetryConfig(logging=FORWARDED))


async def connect_now(client: Client) -> Client:
    """A connected client of the same server, which a worker needs. Raises RuntimeError if the server doesn't answer."""
    known = client.service_client.config
    return await Client.connect(
        known.target_host,
        namespace=client.namespace,
        tls=known.tls,
        api_key=known.api_key,
        runtime=known.runtime,
        interceptors=client.config()["interceptors"],
    )


async def refusal(client: Client, error: Exception) -> str | None:
    """What is wrong with TLS, if a call failed for that; else None."""
    known = client.service_client.config
    return await _refusal(known.target_host, known.tls, error)


async def _refusal(target: str, protection: TLSConfig | bool | None, error: Exception) -> str | None:
    fault = tls.TEMPORAL.explain(str(error))
    if fault is not None or not protection:
        return fault
    given = protection if isinstance(protection, TLSConfig) else TLSConfig()
    host, _, port = target.rpartition(":")
    asking = partial(
        tls_probe.refusal,
        (host, int(port)),
        ca=given.server_root_ca_cert,
        certificate=given.client_cert,
        key=given.client_private_key,
        name=given.domain,
        protocol="h2",
    )
    return tls.TEMPORAL.explain(await asyncio.to_thread(asking))


async def answers(client: Client) -> str:
    """`ok` if Temporal answers; else what is wrong. This takes two seconds at most, since a probe waits for it."""
    try:
        # The client's own time limit leaves out the time in which it connects.
        async with asyncio.timeout(_ANSWERS_WITHIN.total_seconds()):
            healthy = await client.service_client.check_health(timeout=_ANSWERS_WITHIN)
    except (RPCError, RuntimeError, OSError) as error:
        why = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWERS_WITHIN.total_seconds()):
                why = await refusal(client, error)
        return f"does not answer: {why or type(error).__name__}"
    return "ok" if healthy else "not healthy"
