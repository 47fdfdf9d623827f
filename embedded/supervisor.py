"""Start the stack's programs, keep them running, and stop them all at the end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedded import control, porter, state
from embedded.child import Child
from embedded.limits import raise_file_limit
from embedded.ports import LOOPBACK, require_free
from embedded.program import Program, StartStage
from embedded.ways import Way, Ways

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEAD_AFTER = 60.0  # seconds without an answer after which a running program counts as dead
FILES = 65_536  # open files for each server; Erlang reserves memory for as many as it may have
WRITE_AGAIN = 1.0  # seconds before the state is written again after a failure


@dataclass(frozen=True)
class StateChange:
    """A program has changed its state. Child names the states."""

    name: str
    state: str
    seconds: float  # since the last start; for `stopped`, since the order to stop
    log: Path
    detail: str = ""


class Supervisor:
    """Runs programs until it is told to stop. Only one supervisor runs on the same data at a time."""

    def __init__(
        self,
        *,
        data: Path,
        programs: Sequence[Program],
        ways: Sequence[Way] = (),
        urls: Mapping[str, str] | None = None,
        on_event: Callable[[StateChange], None] = lambda _: None,
        dead_after: float = DEAD_AFTER,
    ) -> None:
        """`on_event` is called in the event loop at every change of a program's state.

        A program to which one of the `ways` leads can be cut off.
        """
        self._data = data.absolute()
        self._children = [Child(program, self._data, tell=self._became, dead_after=dead_after) for program in programs]
        self._urls = dict(urls or {})
        self._stops_within = sum(
            max((each.stop_within for each in programs if each.stage is stage), default=0.0) for stage in StartStage
        )
        self._on_event = on_event
        self._lock: state.Lock | None = None
        self._writing: asyncio.Task[None] | None = None
        self._doors: list[asyncio.Server] = []
        self._ways = Ways(ways)
        self._control = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start all programs, stage by stage, and wait until they are ready.

        Raises StackError if that fails; then nothing is left running.
        """
        state.make_folder(self._data)
        self._lock = state.Lock(self._data)
        raise_file_limit(FILES)
        # The probe of a program that hangs blocks its thread. The other probes must not wait for that.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * len(self._children) + 4))
        try:
            await asyncio.to_thread(state.end_leftovers, self._data)
            require_free({part: port for child in self._children for part, port in child.program.ports.items()})
            doors = {(LOOPBACK, at): to for child in self._children for at, to in child.program.doors.items()}
            self._doors = await porter.stand(doors, porter.allowed_hosts())
            await self._ways.stand()
            await self._control.enter_async_context(control.listening(self._data, self))
            for stage in StartStage:
                await self._start_stage([child for child in self._children if child.program.stage is stage])
        except BaseException:
            await self.stop()
            raise

    async def _start_stage(self, children: Sequence[Child]) -> None:
        keepers = {child.keep() for child in children}
        pending: set[asyncio.Task[object]] = {asyncio.create_task(child.ready.wait()) for child in children}
        try:
            while pending:
                done, _ = await asyncio.wait({*pending, *keepers}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & keepers:
                    task.result()  # a keeper ends only by failing
                pending -= done
        finally:
            for task in pending:
                task.cancel()

    async def kill(self, name: str) -> None:
        """SIGKILL a program and all of its processes; it is started again. Raises LookupError if it doesn't run."""
        child = self._child(name)
        if child.process is None:
            raise LookupError(f"{name} is {child.state}, and does not run")
        await child.kill("an operator asked for it")

    async def freeze(self, name: str, seconds: float) -> None:
        """Have a program and all of its processes stand still for so long. Raises LookupError unless it is ready."""
        self._child(name).freeze(seconds)

    async def cut(self, name: str, seconds: float) -> None:
        """Let nothing through to a program, or from it, for so long. Raises LookupError unless it is ready."""
        child = self._child(name)
        if not self._ways.lead_to(name):
            raise LookupError(f"{name} is reached directly, so that nothing can cut it off")
        child.cut_off(seconds)
        self._ways.cut(name, seconds, then=child.rejoin)

    def _child(self, name: str) -> Child:
        for child in self._children:
            if child.program.name == name:
                return child
        raise LookupError(f"there is no {name}; there are {', '.join(each.program.name for each in self._children)}")

    async def stop(self) -> None:
        """Stop the services, then the servers. Kill those that don't end in time. No process is left."""
        await self._control.aclose()
        self._ways.heal()
        for stage in reversed(StartStage):
            children = [child for child in self._children if child.program.stage is stage and child.keeper]
            await asyncio.gather(*(child.stop() for child in children))
        for door in self._doors:
            door.close()
        self._ways.close()
        if self._writing:
            self._writing.cancel()
        if self._lock:
            state.clear(self._data)
            self._lock.release()
            self._lock = None

    async def run_until_signal(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start unless started, await `then`, and stop on SIGINT, SIGTERM or SIGHUP, also during the start."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        # Under nohup, or after a script's `&`, some of them are ignored, and must stay so.
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heeded:
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
                if not task.cancelled():
                    task.exception()  # the start fails while it is given up, which interests nobody
            await self.stop()
            for number in heeded:
                loop.remove_signal_handler(number)

    async def _start_and(self, then: Callable[[], Awaitable[None]] | None) -> None:
        if self._lock is None:
            await self.start()
        if then:
            await then()

    def _became(self, child: Child, what: str, detail: str) -> None:
        seconds = round(asyncio.get_running_loop().time() - child.since, 3)
        if self._writing is None or self._writing.done():
            self._write()
        with contextlib.suppress(OSError):  # the output's reader may have gone, or the disk may be full
            self._on_event(StateChange(child.program.name, what, seconds, child.log.path, detail))

    def _write(self) -> None:
        """Write the state for other processes. If that fails, for example on a full disk, try again later."""
        try:
            state.write(self._data, self._state())
        except OSError:
            self._writing = asyncio.create_task(self._write_again())

    async def _write_again(self) -> None:
        while True:
            await asyncio.sleep(WRITE_AGAIN)
            with contextlib.suppress(OSError):
                return state.write(self._data, self._state())

    def _state(self) -> dict[str, object]:
        processes = [
            {
                "name": child.program.name,
                "pid": child.process.pid if child.process else None,
                "started": child.started,
                "port": child.program.port,
                "state": child.state,
                "restarts": child.restarts,
                "log": str(child.log.path),
                "cuttable": self._ways.lead_to(child.program.name),
            }
            for child in self._children
        ]
        ready = all(child.state == "ready" for child in self._children)
        own = {"pid": os.getpid(), "started": state.started_at(os.getpid()), "stops_within": self._stops_within}
        return {**own, "ready": ready, "processes": processes, "urls": self._urls}
