"""A supervisor restarts its programs and stops them all, whatever happens to them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from embedded import state
from embedded.control import Control
from embedded.errors import StackError
from embedded.ports import LOOPBACK
from embedded.program import Program, StartStage, http_ok
from embedded.supervisor import StateChange, Supervisor
from embedded.ways import Way
from tests.support.disks import fill, small_disk
from tests.support.freezing import freeze
from tests.support.ports import free_port
from tests.support.waiting import until

ANSWERS = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
print("it listens", flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
DEAD_AFTER = 3.0


def program(data: Path, port: int, stage: StartStage) -> Program:
    return Program(
        name="web",
        argv=(sys.executable, "-c", ANSWERS, str(port)),
        env={"PATH": os.defpath},
        cwd=data,
        ports={"web": port},
        ready=lambda: http_ok(port, "/"),
        alive=lambda: http_ok(port, "/", timeout=1.0),
        stage=stage,
    )


def supervise(data: Path, port: int, stage: int, way: int) -> None:
    """Supervise in a process of its own, and print a line for every change of state. `way` leads to the program."""

    def tell(event: StateChange) -> None:
        print(event.state, event.detail, sep="\t", flush=True)

    programs = [program(data, port, StartStage(stage))]
    ways = [Way(at=(LOOPBACK, way), to=(LOOPBACK, port), ends=frozenset({"web"}))]
    supervisor = Supervisor(data=data, programs=programs, ways=ways, on_event=tell, dead_after=DEAD_AFTER)
    asyncio.run(supervisor.run_until_signal())


@dataclass
class Supervised:
    data: Path
    process: subprocess.Popen[bytes]
    told: Path
    way: int

    def states(self) -> list[str]:
        return [line.partition("\t")[0] for line in self.told.read_text().splitlines()]

    def now(self) -> dict[str, Any]:
        known = state.read(self.data)
        assert known is not None
        return dict(known["processes"][0])

    def log(self) -> str:
        return (self.data / "logs" / "web.log").read_text()

    def wait_for(self, *last: str) -> None:
        until(lambda: tuple(self.states()[-len(last) :]) == last, within=30, what=f"{last}; told {self.states()}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def begin(data: Path, stage: StartStage = StartStage.SERVICE) -> Supervised:
        data.mkdir(exist_ok=True)
        told = tmp_path / "told"
        way = free_port()
        arguments = (str(data), str(free_port()), str(int(stage)), str(way))
        with told.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", __name__, *arguments], stdout=output)
        started.append(Supervised(data, process, told, way))
        started[-1].wait_for("ready")
        return started[-1]

    yield begin
    for each in started:
        for process in (psutil.Process(each.process.pid), *psutil.Process(each.process.pid).children()):
            process.send_signal(signal.SIGCONT)
        each.process.terminate()
        each.process.wait(timeout=20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 80) as disk:
        yield disk


def test_a_program_that_runs_and_answers_nothing_is_noticed_and_started_again(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    """The program is reported as silent first, and the one started in its place is well."""
    stack = start(tmp_path / "data")
    silent = stack.now()["pid"]
    freeze(silent)
    stack.wait_for("silent")
    assert stack.now()["state"] == "silent"
    assert state.read(stack.data)["ready"] is False  # type: ignore[index]
    stack.wait_for("silent", "died", "starting", "ready")
    assert not psutil.pid_exists(silent)
    log = stack.log()
    assert "web is killed: it runs, and has not answered for" in log
    assert log.count("it listens") == 2


def test_a_program_that_answers_again_in_time_is_left_alone(start: Callable[..., Supervised], tmp_path: Path) -> None:
    stack = start(tmp_path / "data")
    go_on = freeze(stack.now()["pid"])
    stack.wait_for("silent")
    go_on()
    stack.wait_for("silent", "ready")
    assert stack.now()["restarts"] == 0


def test_a_machine_that_stood_still_is_no_programs_fault(start: Callable[..., Supervised], tmp_path: Path) -> None:
    """The supervisor stood still, too, for longer than a program may be silent, and kills nothing."""
    stack = start(tmp_path / "data")
    pid = stack.now()["pid"]
    program_goes_on, supervisor_goes_on = freeze(pid), freeze(stack.process.pid)
    stopped = psutil.Process(stack.process.pid).cpu_times()
    clock = os.times().elapsed
    until(lambda: os.times().elapsed - clock > DEAD_AFTER * 1.5, within=30, what="time passes")
    assert psutil.Process(stack.process.pid).cpu_times() == stopped
    supervisor_goes_on()
    program_goes_on()
    looked = os.times().elapsed
    until(lambda: os.times().elapsed - looked > DEAD_AFTER, within=30, what="it has been looked at again")
    assert stack.states() == ["starting", "ready"]
    assert stack.now()["pid"] == pid


def others(stack: Supervised, killed: int) -> bool:
    children = psutil.Process(stack.process.pid).children()
    return any(each.pid != killed and each.status() != psutil.STATUS_ZOMBIE for each in children)


def test_a_process_that_ends_while_the_disk_is_full_is_started_again_at_once(
    disk: Path, start: Callable[..., Supervised]
) -> None:
    """Neither the log nor the state can be written while the disk is full. Once there is room, both are."""
    stack = start(disk / "data", StartStage.SERVICE)
    make_room = fill(disk)
    killed = stack.now()["pid"]
    os.kill(killed, signal.SIGKILL)
    stack.wait_for("died", "starting", "ready")
    assert others(stack, killed)
    assert stack.now()["pid"] == killed, "what is on the disk is old"
    make_room()
    until(lambda: (now := stack.now())["state"] == "ready" and now["restarts"] == 1, what="the state is written")
    until(lambda: stack.log().count("it listens") == 2, what="the log is written")


def test_a_server_that_ends_while_the_disk_is_full_is_started_again_once_there_is_room(
    disk: Path, start: Callable[..., Supervised]
) -> None:
    """A recovery that a full disk cuts short may lose data, so the server waits, and the supervisor says why."""
    stack = start(disk / "data", StartStage.SERVER)
    make_room = fill(disk)
    killed = stack.now()["pid"]
    os.kill(killed, signal.SIGKILL)
    stack.wait_for("died", "no room")
    assert "MiB of free disk left: make room, and it goes on by itself" in stack.told.read_text()
    assert not others(stack, killed)
    make_room()
    stack.wait_for("starting", "ready")
    until(lambda: stack.now()["restarts"] == 1, what="the state is written")


def test_a_server_is_not_started_on_a_disk_without_room(tmp_path: Path, disk: Path) -> None:
    make_room = fill(disk)
    with pytest.raises(StackError, match=r"MiB of free disk left: make room, and start the stack again$"):
        asyncio.run(Supervisor(data=disk, programs=[program(disk, free_port(), StartStage.SERVER)]).start())
    make_room()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), *map(int, sys.argv[2:]))


def test_a_program_stands_still_for_as_long_as_asked_and_is_not_taken_for_dead(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    """The folder has a long path: the socket in it is reached all the same."""
    stack = start(tmp_path / ("d" * 120))
    control, pid = Control(stack.data), stack.now()["pid"]
    asyncio.run(control.freeze("web", DEAD_AFTER * 2))
    stack.wait_for("frozen")
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    assert (control.processes()[0]["state"], state.read(stack.data)["ready"]) == ("frozen", False)  # type: ignore[index]
    with pytest.raises(LookupError, match="web is frozen; only what is ready can be frozen"):
        asyncio.run(control.freeze("web", 1))
    stack.wait_for("frozen", "ready")
    assert (stack.now()["pid"], stack.now()["restarts"]) == (pid, 0)
    assert [each.pid for each in psutil.Process(stack.process.pid).children(recursive=True)] == [pid]


def test_a_program_that_is_killed_on_demand_is_started_again_even_if_it_stands_still(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    stack = start(tmp_path / "data")
    control, pid = Control(stack.data), stack.now()["pid"]
    asyncio.run(control.freeze("web", 50))
    asyncio.run(control.kill("web"))
    stack.wait_for("frozen", "died", "starting", "ready")
    assert (stack.now()["restarts"], psutil.pid_exists(pid)) == (1, False)
    assert "web is killed: an operator asked for it" in stack.log()


def test_what_stands_still_is_stopped_with_the_others_and_nobody_can_tell_any_more(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    stack = start(tmp_path / "data")
    control, pid = Control(stack.data), stack.now()["pid"]
    assert control.is_there
    asyncio.run(control.freeze("web", 50))
    stack.process.terminate()
    stack.wait_for("frozen", "ready", "stopping", "stopped")
    assert not psutil.pid_exists(pid)
    assert not control.is_there
    with pytest.raises(OSError, match=r"."):
        asyncio.run(control.kill("web"))


def test_what_stands_still_goes_on_and_ends_if_the_supervisor_is_killed(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    stack = start(tmp_path / "data")
    pid = stack.now()["pid"]
    asyncio.run(Control(stack.data).freeze("web", 2))
    stack.process.kill()
    until(lambda: not psutil.pid_exists(pid), within=20, what="nothing is left")


def test_nothing_gets_through_to_a_program_that_is_cut_off_and_it_runs_on(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    stack = start(tmp_path / "data")
    control, pid = Control(stack.data), stack.now()["pid"]
    assert control.processes()[0]["cuttable"] is True
    assert http_ok(stack.way, "/")
    asyncio.run(control.cut("web", DEAD_AFTER * 2))
    stack.wait_for("cut off")
    assert not http_ok(stack.way, "/", timeout=0.5)
    assert http_ok(stack.now()["port"], "/"), "it runs, and the supervisor is not taken in"
    with pytest.raises(LookupError, match="web is cut off; only what is ready can be frozen"):
        asyncio.run(control.freeze("web", 1))
    stack.wait_for("cut off", "ready")
    assert http_ok(stack.way, "/")
    assert (stack.now()["pid"], stack.now()["restarts"]) == (pid, 0)


def test_what_is_cut_off_is_stopped_with_the_others_and_no_way_is_left(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    for end in (signal.SIGTERM, signal.SIGKILL):
        stack = start(tmp_path / end.name)
        pid = stack.now()["pid"]
        asyncio.run(Control(stack.data).cut("web", 50))
        stack.process.send_signal(end)
        until(lambda pid=pid: not psutil.pid_exists(pid), within=20, what="nothing is left")  # type: ignore[misc]
        until(lambda stack=stack: _refuses(stack.way), within=20, what="no way is left")  # type: ignore[misc]


def _refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == errno.ECONNREFUSED


@pytest.mark.parametrize(
    "line",
    [b"", b"x", b"[]", b"{}", b'{"act":"kill"}', b'{"act":"freeze","name":"web"}', b'{"act":"cut","name":"web"}']
    + [b'{"act":"cut","name":"web","seconds":61}', b"x" * 5000]
    + [
        b'{"act":"freeze","name":"web","seconds":%s}' % each for each in (b"0", b"61", b"-1", b"1e999", b'"1"', b"true")
    ],
)
def test_nonsense_is_not_done(start: Callable[..., Supervised], tmp_path: Path, line: bytes) -> None:
    stack = start(tmp_path / "data")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(stack.data / "control"))
        client.sendall(line + b"\n")
        assert client.recv(100) in (b"", b'{"error": "is not understood"}\n')
    with pytest.raises(LookupError, match="there is no database; there are web"):
        asyncio.run(Control(stack.data).kill("database"))
    assert stack.states()[-1] == "ready"
