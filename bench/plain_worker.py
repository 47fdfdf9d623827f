"""A process that works for the plain workflows until its input ends: `python -m bench.plain_worker ADDRESS`."""

from __future__ import annotations

import asyncio
import sys

from temporalio.client import Client
from temporalio.worker import Worker

from bench.plain_workflows import PLAIN_TASK_QUEUE, PlainSaga, charge_payment, create_order, settle_order


async def _work(address: str) -> None:
    client = await Client.connect(address)
    # The SDK's defaults, as whoever follows its guide has them.
    plain = Worker(
        client,
        task_queue=PLAIN_TASK_QUEUE,
        workflows=[PlainSaga],
        activities=[create_order, charge_payment, settle_order],
    )
    async with plain:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
