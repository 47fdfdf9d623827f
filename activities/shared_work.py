"""Do a piece of work once for all who wait for its result. The work goes on when they have left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger()

Result = TypeVar("Result")


@dataclass(slots=True)
class _Work(Generic[Result]):
    task: asyncio.Task[Result]
    waiting: int = 0


class SharedWork(Generic[Result]):
    """The pieces of work that are under way, by name.

    An error goes to everyone who waits. If nobody waits any more, the error is logged: in one line if it is one of the
    `expected` ones, else with its traceback.
    """

    def __init__(self, *, expected: tuple[type[Exception], ...]) -> None:
        self._expected = expected
        self._under_way: dict[str, _Work[Result]] = {}

    async def result(self, name: str, begin: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the work with this name, which begins here unless it is under way. Raises the work's error."""
        work = self._under_way.get(name)
        if work is None:
            work = self._under_way[name] = _Work(asyncio.create_task(begin()))
            work.task.add_done_callback(lambda _: self._ended(name))
        work.waiting += 1
        try:
            await asyncio.wait((work.task,))  # who is cancelled here does not cancel the work
        finally:
            work.waiting -= 1
        return work.task.result()

    def _ended(self, name: str) -> None:
        work = self._under_way.pop(name)
        error = None if work.task.cancelled() else work.task.exception()
        if error is not None and not work.waiting:
            traceback = None if isinstance(error, self._expected) else error
            log.warning("work_failed_unheard", work=name, error=f"{type(error).__name__}: {error}", exc_info=traceback)
