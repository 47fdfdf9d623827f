"""Make clients of Temporal: lazy ones for callers, connected ones for workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Any, Final, TypeVar

from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, TLSConfig

from models import tls, tls_probe
from workflows.core_log import FORWARDED

Connected = TypeVar("Connected")

_CONNECTED_WITHIN: Final = 5.0  # seconds
_ANSWERS_WITHIN: Final = timedelta(seconds=1)
_REFUSAL_WITHIN: Final = 0.9  # seconds


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
    connecting = Client.connect(
        address,
        namespace=namespace,
        tls=given.tls,
        api_key=given.api_key,
        lazy=lazy,
        runtime=runtime or _unmeasured(),
        interceptors=interceptors,
    )
    try:
        client = await _connected_in_time(connecting, address)
    except RuntimeError as error:
        if (fault := await _refusal(address, given.tls, error)) is not None:
            raise RuntimeError(fault) from error
        raise
    _bound_connecting(client, address)
    return client


def _bound_connecting(client: Client, address: str) -> None:
    """Have no call wait for long until the client is connected.

    The SDK's time limits of calls leave that out, and all calls wait for the one that connects. A server that takes the
    connection and says nothing would hold them up for ever. The method is the SDK's own; a test looks for it.
    """
    service: Any = client.service_client
    connected = service._connected_client
    service._connected_client = lambda: _connected_in_time(connected(), address)


async def _connected_in_time(connecting: Awaitable[Connected], address: str) -> Connected:
    try:
        async with asyncio.timeout(_CONNECTED_WITHIN):
            return await connecting
    except TimeoutError:
        raise RuntimeError(f"{address} takes connections and says nothing") from None


@cache
def _unmeasured() -> Runtime:
    """The runtime of clients of which nobody measures anything; a process has one."""
    return Runtime(telemetry=TelemetryConfig(logging=FORWARDED))


async def connect_now(client: Client) -> Client:
    """A connected client of the same server, which a worker needs. Raises RuntimeError if the server doesn't answer."""
    known = client.service_client.config
    connecting = Client.connect(
        known.target_host,
        namespace=client.namespace,
        tls=known.tls,
        api_key=known.api_key,
        runtime=known.runtime,
        interceptors=client.config()["interceptors"],
    )
    return await _connected_in_time(connecting, known.target_host)


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
    """`ok` if Temporal answers; else what is wrong. A probe waits for it, so this takes less than two seconds."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN.total_seconds()):
            healthy = await client.service_client.check_health(timeout=_ANSWERS_WITHIN)
    except TimeoutError:
        return "does not answer: there is no connection within a second"
    except (RPCError, RuntimeError, OSError) as error:
        why = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_REFUSAL_WITHIN):
                why = await refusal(client, error)
        return f"does not answer: {why or type(error).__name__}"
    return "ok" if healthy else "not healthy"
