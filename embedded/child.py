"""Keep one program running: start it, probe it, and start it again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import psutil

from embedded import state
from embedded.errors import StackError
from embedded.freezing import Frozen
from embedded.log_files import LogFile
from embedded.program import Program, StartStage, ended, how, spawn

PROBE_EVERY = 0.05
START_WITHIN = 90.0
ATTEMPTS = 5  # to become ready for the first time
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_AFTER = 10.0  # seconds of life after which earlier deaths no longer count
ROOM_EVERY = 1.0  # seconds between two looks at a full disk
LOOKS = 30  # probes of a ready program within the time after which it would count as dead
LATE = 0.5  # seconds; if we wake later than this, the delay does not count as the program's silence
MOST_PATIENCE = 16  # the patience is at most this many times the first one, after restarts that did not help

OnStateChange: TypeAlias = Callable[["Child", str, str], None]


class Child:
    """A program and its present process.

    Its states are: waiting, starting, ready, silent (it was ready and doesn't answer now), frozen (an operator has it
    stand still), cut off (it runs, and nothing gets through to it), died, no room (the disk is too full to start it),
    stopping, stopped.
    """

    def __init__(self, program: Program, data: Path, *, tell: OnStateChange, dead_after: float) -> None:
        """`tell` is called with every new state. A program that is silent for `dead_after` seconds is killed."""
        self.program = program
        self.state = "waiting"
        self.process: subprocess.Popen[bytes] | None = None
        self.started: str | None = None  # as state.started_at returns it
        self.since = 0.0  # the loop's clock
        self.restarts = 0
        self.ready = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.log = LogFile(state.log_of(data, program.name))
        self._data = data
        self._tell = tell
        self._dead_after = dead_after
        self._patience = 1
        self._gone = asyncio.Event()
        self._frozen: Frozen | None = None

    def keep(self) -> asyncio.Task[None]:
        """Keep the program running until it is stopped. The task ends only by failing."""
        self.keeper = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")
        return self.keeper

    async def _keep(self) -> None:
        if self.program.prepare:
            await self.program.prepare()
        failures = 0
        while True:
            try:
                await self._wait_for_room()
                reason = how(await self._run())
            except (StackError, OSError) as error:
                if not self.ready.is_set():
                    raise
                reason = str(error)  # the program ran before, so what is missing may come back
            if self.keeper is None:
                return
            lived = asyncio.get_running_loop().time() - self.since
            failures = 1 if lived > STEADY_AFTER else failures + 1
            self._became("died", reason)
            if not self.ready.is_set() and (failures >= ATTEMPTS or lived >= START_WITHIN):
                last = await asyncio.to_thread(self.log.last_line)
                raise StackError(f"{self.program.name} does not start ({reason}): {last}; see {self.log.path}")
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))
            self.restarts += 1

    async def _wait_for_room(self) -> None:
        """Wait until the disk has room for a server. Raises StackError if it has none at the first start."""
        if self.program.stage is not StartStage.SERVER or (wanted := state.want_of_room(self._data)) is None:
            return
        if not self.ready.is_set():  # the supervisor gives up a first start, and stops
            raise StackError(f"{wanted}, and start the stack again")
        self._became("no room", f"{wanted}, and it goes on by itself")
        while not state.has_room(self._data):  # noqa: ASYNC110 - nothing reports room
            await asyncio.sleep(ROOM_EVERY)

    async def _run(self) -> int:
        """Run the program once, from spawning to reaping. Returns its exit code."""
        self.since = asyncio.get_running_loop().time()
        self._gone.clear()
        self.log.note(f"start of {self.program.name}")
        self.process = process = spawn(self.program, self.log)
        watching = asyncio.create_task(self._watch())
        try:
            self.started = state.started_at(process.pid)
            self._became("starting")
            return await ended(process)
        finally:
            watching.cancel()
            if process.returncode is None:  # we failed to watch it, for want of a file descriptor or the like
                process.kill()
                process.wait()
            self.process = self.started = None
            self._resume()  # what it had started may still stand still
            self._gone.set()

    async def _watch(self) -> None:
        """Announce when the program is ready and when it is silent. Kill it if it stays silent."""
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await asyncio.to_thread(self.program.ready):  # noqa: ASYNC110 - servers don't report it
                    await asyncio.sleep(PROBE_EVERY)
                mended = await asyncio.to_thread(self.program.mend) if self.program.mend else ""
        except TimeoutError:
            await self.kill(f"it was not ready within {START_WITHIN:g} s")
        except Exception as error:
            await self.kill(f"whether it is ready could not be told: {error}")
        else:
            if self.keeper:  # not told to stop meanwhile
                self.ready.set()
                self._became("ready", mended)
                await self._look_after()

    async def _look_after(self) -> None:
        clock = asyncio.get_running_loop().time
        look_every, patience = self._dead_after / LOOKS, self._dead_after * self._patience
        answered = clock()
        looking = asyncio.create_task(self._answers())
        while True:
            begun = clock()
            await asyncio.sleep(look_every)
            if (late := clock() - begun - look_every) > LATE:
                answered += late  # the machine slept, or was too busy even for us, so the program is not to blame
            if self._frozen is not None:
                answered = clock()
            if looking.done():
                if looking.result():
                    answered = clock()
                looking = asyncio.create_task(self._answers())
            silent = clock() - answered
            if silent < look_every and self.state == "silent":
                self._became("ready", "it answers again")
            if silent > self._dead_after / 4 and self.state == "ready":
                self._became("silent", f"it has not answered for {silent:.0f} s")
            if silent > patience:
                self._patience = min(self._patience * 2, MOST_PATIENCE)
                await self.kill(f"it runs, and has not answered for {silent:.0f} s")
                return
            if answered - self.since > self._dead_after * MOST_PATIENCE:
                self._patience = 1  # it has been well for long

    async def _answers(self) -> bool:
        """Whether the program answers; one that does is tended."""
        try:
            if not await asyncio.to_thread(self.program.alive):
                return False
            tended = await asyncio.to_thread(self.program.tend) if self.program.tend else ""
        except Exception as error:  # any error of the probe counts as no answer
            self.log.note(f"whether {self.program.name} is alive could not be told: {error}")
            return False
        if tended and self.state == "ready":  # else it has ended meanwhile, or is being stopped
            self._became("ready", tended)
        return True

    async def stop(self) -> None:
        """Stop the program. It is killed if it doesn't end in time."""
        self.thaw()
        self.since = asyncio.get_running_loop().time()
        keeper, self.keeper = self.keeper, None
        if self.process:
            self._became("stopping")
            gone = asyncio.create_task(self._gone.wait())
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.program.stop_signal)
            done, _ = await asyncio.wait({gone}, timeout=self.program.stop_within)
            if not done:
                await self.kill(f"it did not stop within {self.program.stop_within:g} s")
                await gone
        if keeper:
            keeper.cancel()  # in its pause, or preparing
            await asyncio.wait({keeper})
            if not keeper.cancelled():
                keeper.exception()  # the task that waits for it reports the error
        self.log.close()
        self._became("stopped")

    async def kill(self, why: str) -> None:
        """SIGKILL the program and all processes that it started, also those with sessions of their own."""
        if self.process is None:
            return
        self.log.note(f"{self.program.name} is killed: {why}")
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self.process.pid)
            family = root.children(recursive=True)
            self.process.kill()
            await asyncio.to_thread(state.kill, family)

    def freeze(self, seconds: float) -> None:
        """Have the program and all processes that it started stand still for so long. Raises LookupError."""
        process = self._require_ready("frozen")
        try:
            self._frozen = Frozen(process.pid, seconds)
        except psutil.Error as error:
            raise LookupError(f"{self.program.name} has just ended") from error
        self._became("frozen", f"for {seconds:g} s")
        asyncio.get_running_loop().call_later(seconds, self.thaw, self._frozen)

    def cut_off(self, seconds: float) -> None:
        """Take note that nothing gets through to the program for so long. Raises LookupError unless it is ready."""
        self._require_ready("cut off")
        self._became("cut off", f"for {seconds:g} s")

    def rejoin(self) -> None:
        """Take note that it can be reached again."""
        if self.state == "cut off":
            self._became("ready", "it can be reached again")

    def _require_ready(self, what: str) -> subprocess.Popen[bytes]:
        if self.process is None or self.state != "ready":
            raise LookupError(f"{self.program.name} is {self.state}; only what is ready can be {what}")
        return self.process

    def thaw(self, frozen: Frozen | None = None) -> None:
        """Let what was frozen go on; nothing if it goes on already, or runs no more."""
        if self._frozen is not None and frozen in (None, self._frozen):
            self._resume()
            if self.state == "frozen":
                self._became("ready", "it goes on")

    def _resume(self) -> None:
        frozen, self._frozen = self._frozen, None
        if frozen is not None:
            frozen.resume()

    def _became(self, what: str, detail: str = "") -> None:
        self.state = what
        if detail:
            self.log.note(f"{self.program.name}: {what} ({detail})")
        self._tell(self, what, detail)
