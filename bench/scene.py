"""Everything that is connected to one running stack while it is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from temporalio.client import Client

from bench.backlog import Backlog
from bench.own_stack import OwnStack, Running
from bench.report import Notes
from bench.trials import Trials
from bench.wal import WriteAheadLog


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One stack, from a start of it to its end, with all that loads and reads it."""

    running: Running
    trials: Trials
    backlog: Backlog
    temporal: Client
    log: WriteAheadLog

    @classmethod
    @asynccontextmanager
    async def of(cls, own: OwnStack, running: Running, notes: Notes) -> AsyncIterator[Self]:
        """Connected until the end of the context, where `notes` are told of all orders.

        The stack must have been told to keep times before it started.
        """
        async with AsyncExitStack() as stack:
            trials = await stack.enter_async_context(Trials.on(running))
            temporal = await Client.connect(running.urls["temporal"])
            backlog = Backlog.of(temporal=temporal, amqp=running.urls["amqp"], rabbitmq_api=running.rabbitmq_api)
            scene = cls(
                running=running,
                trials=trials,
                backlog=await stack.enter_async_context(backlog),
                temporal=temporal,
                log=WriteAheadLog(await stack.enter_async_context(own.superuser(running))),
            )
            try:
                yield scene
            finally:
                notes.orders += trials.orders
                notes.improper += trials.improper
