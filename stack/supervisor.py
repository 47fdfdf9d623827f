"""Start the stack's programs, keep them running, and let none of them outlive it."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stack import state
from stack.errors import StackError
from stack.ports import require_free
from stack.program import Program, Stage, ended, how, last_line, spawn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROBE_EVERY = 0.05
START_WITHIN = 90.0
ATTEMPTS = 5  # to become ready for the first time
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_AFTER = 10.0  # seconds of being ready after which earlier deaths are forgiven


@dataclass(frozen=True)
class Event:
    """A program changed its state: starting, ready, died, stopping, stopped."""

    name: str
    state: str
    seconds: float  # since it was last started; for `stopped`, since it was told to
    detail: str = ""


@dataclass(eq=False)
class _Child:
    program: Program
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    started: str | None = None  # as state.started_at tells it
    since: float = 0.0  # the loop's clock
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Runs programs until told to stop; one at a time on the same data."""

    def __init__(
        self,
        *,
        data: Path,
        programs: Sequence[Program],
        urls: Mapping[str, str] | None = None,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        """`on_event` is called on every change of a program's state, in the event loop."""
        self._data = data.absolute()
        self._children = [_Child(program) for program in programs]
        self._urls = dict(urls or {})
        self._stops_within = sum(
            max((each.stop_within for each in programs if each.stage is stage), default=0.0) for stage in Stage
        )
        self._on_event = on_event
        self._lock: state.Lock | None = None

    async def start(self) -> None:
        """Return when all programs are ready, a stage after the other; StackError, nothing left running, otherwise."""
        state.make_folder(self._data)
        self._lock = state.Lock(self._data)
        try:
            await asyncio.to_thread(state.end_leftovers, self._data)
            require_free({part: port for child in self._children for part, port in child.program.ports.items()})
            for stage in Stage:
                await self._start_stage([child for child in self._children if child.program.stage is stage])
        except BaseException:
            await self.stop()
            raise

    async def _start_stage(self, children: Sequence[_Child]) -> None:
        waits: dict[asyncio.Task[object], _Child] = {}
        for child in children:
            child.keeper = asyncio.create_task(self._keep(child), name=f"keep {child.program.name}")
            waits[asyncio.create_task(child.ready.wait())] = child
        keepers = {child.keeper for child in children if child.keeper}
        pending: set[asyncio.Task[object]] = set(waits)
        try:
            while pending:
                done, _ = await asyncio.wait({*pending, *keepers}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & keepers:
                    task.result()  # a keeper ends only by failing
                pending -= done
        finally:
            for task in pending:
                task.cancel()

    async def _keep(self, child: _Child) -> None:
        program, log = child.program, state.log_of(self._data, child.program.name)
        state.open_log(self._data, program.name)
        if program.prepare:
            await program.prepare()
        failures = 0
        while True:
            try:
                reason = how(await self._run(child, log))
            except StackError as error:
                if not child.ready.is_set():
                    raise
                reason = str(error)  # it ran before, so what is missing may come back
            if child.keeper is None:
                return
            lived = asyncio.get_running_loop().time() - child.since
            failures = 1 if lived > STEADY_AFTER else failures + 1
            self._became(child, "died", reason)
            if not child.ready.is_set() and (failures >= ATTEMPTS or lived >= START_WITHIN):
                raise StackError(f"{program.name} does not start ({reason}): {last_line(log)}; see {log}")
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))
            child.restarts += 1

    async def _run(self, child: _Child, log: Path) -> int:
        """One life of a program, from spawning to reaping; returns its exit code."""
        child.since = asyncio.get_running_loop().time()
        child.gone.clear()
        child.process = process = spawn(child.program, log)
        child.started = state.started_at(process.pid)
        self._became(child, "starting")
        probing = asyncio.create_task(self._probe(child))
        try:
            code = await ended(process)
        finally:
            probing.cancel()
        child.process = child.started = None
        child.gone.set()
        return code

    async def _probe(self, child: _Child) -> None:
        """Announce that the program is ready; kill one that isn't in time, as if it had died."""
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await asyncio.to_thread(child.program.ready):  # noqa: ASYNC110 - servers don't tell
                    await asyncio.sleep(PROBE_EVERY)
        except TimeoutError:
            await self._kill(child)
        except Exception as error:
            with state.log_of(self._data, child.program.name).open("a") as log:
                log.write(f"error: whether {child.program.name} is ready could not be told: {error}\n")
            await self._kill(child)
        else:
            if child.keeper:  # not told to stop meanwhile
                child.ready.set()
                self._became(child, "ready")

    async def stop(self) -> None:
        """Stop the services, then the servers; whatever doesn't end in its time is killed. Leaves no process."""
        for stage in reversed(Stage):
            children = [child for child in self._children if child.program.stage is stage and child.keeper]
            await asyncio.gather(*(self._stop(child) for child in children))
        if self._lock:
            state.clear(self._data)
            self._lock.release()
            self._lock = None

    async def _stop(self, child: _Child) -> None:
        child.since = asyncio.get_running_loop().time()
        keeper, child.keeper = child.keeper, None
        if child.process:
            self._became(child, "stopping")
            gone = asyncio.create_task(child.gone.wait())
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(child.program.stop_signal)
            done, _ = await asyncio.wait({gone}, timeout=child.program.stop_within)
            if not done:
                await self._kill(child)
                await gone
        if keeper:
            keeper.cancel()  # in its pause, or preparing
            await asyncio.wait({keeper})
            if not keeper.cancelled():
                keeper.exception()  # told by start()
        self._became(child, "stopped")

    async def _kill(self, child: _Child) -> None:
        """SIGKILL the program and all it started, which may live in sessions of their own."""
        if child.process is None:
            return
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(child.process.pid)
            family = root.children(recursive=True)
            child.process.kill()
            await asyncio.to_thread(state.kill, family)

    async def run_until_signal(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start unless started, await `then`, and stop on SIGINT, SIGTERM or SIGHUP, whenever it comes."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        for number in SIGNALS:
            loop.add_signal_handler(number, told.set)
        work = asyncio.create_task(self._start_and(then))
        signalled = asyncio.create_task(told.wait())
        try:
            await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                await signalled
        finally:
            for task in (work, signalled):
                task.cancel()
                await asyncio.wait({task})
            await self.stop()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _start_and(self, then: Callable[[], Awaitable[None]] | None) -> None:
        if self._lock is None:
            await self.start()
        if then:
            await then()

    def _became(self, child: _Child, what: str, detail: str = "") -> None:
        child.state = what
        self._write()
        seconds = asyncio.get_running_loop().time() - child.since
        self._on_event(Event(child.program.name, what, round(seconds, 3), detail))

    def _write(self) -> None:
        processes = [
            {
                "name": child.program.name,
                "pid": child.process.pid if child.process else None,
                "started": child.started,
                "port": child.program.port,
                "state": child.state,
                "restarts": child.restarts,
                "log": str(state.log_of(self._data, child.program.name)),
            }
            for child in self._children
        ]
        ready = all(child.state == "ready" for child in self._children)
        own = {"pid": os.getpid(), "started": state.started_at(os.getpid()), "stops_within": self._stops_within}
        state.write(self._data, {**own, "ready": ready, "processes": processes, "urls": self._urls})
