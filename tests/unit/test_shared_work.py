"""Work that several wait for is done once, and tells its error even if all of them have left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from activities.providers import ProviderUnavailable
from activities.shared_work import SharedWork

pytestmark = pytest.mark.anyio


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the event loop complains about, such as errors that nobody has retrieved."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


class Work:
    """Work that ends when it is told to. It counts how often it was begun."""

    def __init__(self, *expected: type[Exception]) -> None:
        self.shared = SharedWork[str](expected=expected)
        self.begun = 0
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def _work(self) -> str:
        self.begun += 1
        return await self.end

    def result(self) -> Coroutine[Any, Any, str]:
        return self.shared.result("charge", self._work)

    async def abandoned(self, error: Exception) -> None:
        """Two wait and are cancelled. Then the work fails."""
        waiting = [asyncio.create_task(self.result()) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        self.end.set_exception(error)
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()  # a future complains when it is freed


async def test_all_who_wait_get_the_result_of_one_piece_of_work() -> None:
    work = Work()
    waiting = [asyncio.create_task(work.result()) for _ in range(3)]
    await asyncio.sleep(0)
    work.end.set_result("charged")
    assert await asyncio.gather(*waiting) == ["charged"] * 3
    assert work.begun == 1


async def test_work_goes_on_when_a_waiter_leaves() -> None:
    work = Work()
    leaving, staying = asyncio.create_task(work.result()), asyncio.create_task(work.result())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait((leaving,))
    work.end.set_result("charged")
    assert await staying == "charged"


async def test_an_expected_error_that_nobody_hears_is_one_line(complaints: list[dict[str, Any]]) -> None:
    work = Work(ProviderUnavailable)
    with capture_logs() as logs:
        await work.abandoned(ProviderUnavailable("no answer"))
    assert [(each["event"], each["work"], each["error"], each["exc_info"]) for each in logs] == [
        ("work_failed_unheard", "charge", "ProviderUnavailable: no answer", None)
    ]
    del work
    await turns()
    assert complaints == []


async def test_an_unexpected_error_that_nobody_hears_is_logged_with_its_traceback(
    complaints: list[dict[str, Any]],
) -> None:
    work, error = Work(ProviderUnavailable), KeyError("a fault")
    with capture_logs() as logs:
        await work.abandoned(error)
    assert [each["exc_info"] for each in logs] == [error]
    del work
    await turns()
    assert complaints == []


async def test_an_error_that_a_waiter_hears_is_not_logged() -> None:
    work = Work()
    waiting = asyncio.create_task(work.result())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        work.end.set_exception(ProviderUnavailable("no answer"))
        with suppress(ProviderUnavailable):
            await waiting
    assert logs == []
