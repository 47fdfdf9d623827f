"""Run one process of the system. It loads only the modules that it needs."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import assert_never

import structlog

from activities import crash_points
from api.loopback import is_loopback_address
from embedded.errors import StackError
from embedded.limits import raise_file_limit
from stack.addresses import Process
from stack.process import Wired, listen, serve, stop_signal
from stack.settings import Settings
from stack.traces import tracing_of
from tracing.tracing import Tracing

log = structlog.get_logger()


async def run(process: Process, settings: Settings) -> None:
    """Run one process until SIGTERM or SIGINT, then finish begun work. Raises StackError if it can't start."""
    crash_points.arm(settings.crash_at)
    raise_file_limit()
    stop = stop_signal(timeout=settings.shutdown_timeout)
    if process == "gateway":
        _refuse_to_be_open(settings)
    with listen(settings.host, settings.port_of(process), process) as listener:
        async with AsyncExitStack() as stack:
            tracing = stack.enter_context(tracing_of(process, os.environ))
            wired = await _wire(process, settings, stack, stop, tracing)
            if wired is not None:
                await serve(
                    wired,
                    listener,
                    stop,
                    timeout=settings.shutdown_timeout,
                    request_timeout=settings.request_timeout,
                    connections=settings.connections,
                    proxies=settings.trusted_proxies,
                )


def _refuse_to_be_open(settings: Settings) -> None:
    """Raises StackError if whoever reaches the gateway from elsewhere may use it, and nobody has said so."""
    if settings.api_keys or settings.host == "localhost" or is_loopback_address(settings.host):
        return
    if not settings.open:
        raise StackError(
            f"Without API keys the gateway serves loopback alone, not SAGA_HOST={settings.host}: set SAGA_API_KEYS "
            "(`saga keys new` makes them), or SAGA_OPEN=true if something else keeps strangers out"
        )
    log.warning("gateway_is_open", host=settings.host, why="it has no API keys: whoever reaches it may do everything")


async def _wire(
    process: Process, settings: Settings, stack: AsyncExitStack, stop: asyncio.Event, tracing: Tracing
) -> Wired | None:
    match process:
        case "gateway":
            from stack.wire_gateway import wire_gateway

            return await wire_gateway(settings, stack, tracing)
        case "order":
            from stack.wire_services import wire_order_service

            return await wire_order_service(settings, stack, stop, tracing)
        case "payment":
            from stack.wire_services import wire_payment_service

            return await wire_payment_service(settings, stack, stop, tracing)
        case "worker":
            from stack.wire_worker import wire_worker

            return await wire_worker(settings, tracing)
        case _ as never:
            assert_never(never)
