"""The embedded servers keep their data and come back when they are killed."""

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import psycopg
import pytest

from embedded import state
from embedded.errors import StackError
from embedded.ports import require_free
from stack.addresses import Ports
from stack.local import Secrets, urls
from tests.support.waiting import until

SERVERS = {"postgres", "rabbitmq", "temporal"}


def file_limit(pid: int) -> int:
    """The number of files that a process may have open, read where every user may read it."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    return int(line.split()[3])


@dataclass
class Stack:
    data: Path
    offset: int
    supervisor: subprocess.Popen[str] | None = field(default=None)

    def launch(self) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).parent / "saga"), "up", "--servers-only"]
        where = ["--data", str(self.data), "--port-offset", str(self.offset)]
        return subprocess.Popen([*command, *where], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def refusal(self) -> str:
        process = self.launch()
        _, complaint = process.communicate(timeout=10)
        assert process.returncode == 1
        return complaint.strip()

    def ensure_launched(self) -> None:
        if self.supervisor is None or self.supervisor.poll() is not None:
            self.supervisor = self.launch()

    def wait_ready(self) -> None:
        until(self.is_ready, what=f"{self.data} ready")

    def is_ready(self) -> bool:
        assert self.supervisor is not None
        if self.supervisor.poll() is not None:
            assert self.supervisor.stderr is not None
            pytest.fail(f"the supervisor ended: {self.supervisor.stderr.read()}")
        now = state.read(self.data)
        return bool(now and now["ready"] and now["pid"] == self.supervisor.pid)

    def pids(self) -> dict[str, int]:
        now = state.read(self.data)
        assert now is not None
        return {process["name"]: process["pid"] for process in now["processes"]}

    def end(self, number: signal.Signals) -> None:
        assert self.supervisor is not None
        self.supervisor.send_signal(number)
        self.supervisor.wait(timeout=60)

    @property
    def urls(self) -> dict[str, str]:
        return urls(self.offset, Secrets.of(self.data))

    def processes(self) -> list[psutil.Process]:
        """All processes that work in the folder of data or were told of it, whoever their parent is."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or not state.runs(process):
                return False
            told = [*process.cmdline(), *process.environ().values()]
            return any(str(self.data) in text for text in [*told, process.cwd()])
        return False

    def execute(self, statement: str, database: str = "orders_db") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.urls[database], connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def publish(self, text: str) -> None:
        async def work(channel: aio_pika.abc.AbstractChannel, queue: aio_pika.abc.AbstractQueue) -> None:
            message = aio_pika.Message(text.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key=queue.name)

        self._with_queue(work)

    def receive(self) -> str:
        async def work(channel: aio_pika.abc.AbstractChannel, queue: aio_pika.abc.AbstractQueue) -> str:
            message = await queue.get(no_ack=True)
            return message.body.decode() if message else ""

        return str(self._with_queue(work))

    def _with_queue(self, work: Callable[..., Any]) -> Any:
        async def connected() -> Any:
            async with await aio_pika.connect(self.urls["amqp"]) as connection:
                channel = await connection.channel()
                return await work(channel, await channel.declare_queue("kept", durable=True))

        return asyncio.run(connected())


def free_offset() -> int:
    for offset in random.sample(range(1000, 4500, 37), 50):
        with contextlib.suppress(StackError):
            require_free(vars(Ports.shifted(offset)))
            return offset
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """Two stacks on empty data, one in a folder closed to other users, one under a path too long for a unix socket."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    first = Stack(closed / "data", free_offset())
    first.ensure_launched()
    until(lambda: state.read(first.data), what="the first stack's ports in use")
    second = Stack(tmp_path_factory.mktemp("long") / ("n" * 100) / "data", free_offset())
    second.ensure_launched()
    try:
        yield first, second
    finally:
        for stack in (first, second):
            if stack.supervisor:
                stack.supervisor.terminate()
        for stack in (first, second):
            if stack.supervisor:
                stack.supervisor.wait(timeout=60)
            state.kill(stack.processes())


@pytest.fixture
def stack(stacks: tuple[Stack, Stack]) -> Stack:
    stacks[0].ensure_launched()
    stacks[0].wait_ready()
    return stacks[0]


@pytest.fixture
def other(stacks: tuple[Stack, Stack]) -> Stack:
    stacks[1].ensure_launched()
    stacks[1].wait_ready()
    return stacks[1]


def test_two_stacks_come_up_from_empty_data_side_by_side(stack: Stack, other: Stack) -> None:
    """Each stack has servers and data of its own, open to its own users."""
    assert SERVERS == stack.pids().keys() == other.pids().keys()
    assert not set(stack.pids().values()) & set(other.pids().values())
    for one in (stack, other):
        one.execute("CREATE TABLE whose (data text)")
        one.execute(f"INSERT INTO whose VALUES ('{one.offset}')")
        one.publish(str(one.offset))
    for one in (stack, other):
        assert [(str(one.offset),)] == one.execute("SELECT data FROM whose")
        assert str(one.offset) == one.receive()
        with socket.create_connection(("127.0.0.1", Ports.shifted(one.offset).temporal_ui), timeout=5):
            pass


def test_a_role_opens_its_own_database_alone(stack: Stack) -> None:
    """A role can open neither the other's database nor the superuser's, nor its own with a wrong password."""
    assert stack.execute("SELECT current_user::text", "payments_db") == [("payments",)]
    mine = stack.urls["orders_db"]
    closed = [
        mine.removesuffix("/orders") + "/payments",
        mine.removesuffix("/orders") + "/postgres",
        stack.urls["payments_db"].removesuffix("/payments") + "/orders",
        mine.replace("//orders:", "//postgres:"),
        mine.replace("//orders:", "//orders:x"),
    ]
    for url in closed:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=5)


def test_everything_listens_on_loopback_alone_and_secrets_are_private(stack: Stack) -> None:
    """No process has a port open to the network, and only the owner can read files with passwords."""
    ours = {process.pid for process in stack.processes()}
    listening = [
        connection.laddr
        for connection in psutil.net_connections(kind="tcp")
        if connection.laddr and connection.pid in ours and connection.status == psutil.CONN_LISTEN
    ]
    assert {Ports.shifted(stack.offset).amqp, Ports.shifted(stack.offset).postgres} <= {at.port for at in listening}
    assert all(ip_address(at.ip).is_loopback for at in listening)
    private = [stack.data / name for name in ("secrets.json", "state.json", "rabbitmq/advanced.config")]
    assert {0} == {path.stat().st_mode & 0o077 for path in private}


def test_servers_may_have_as_many_connections_as_the_system_allows(stack: Stack) -> None:
    """A shell begins with a limit of 1,024 open files, and the servers raise it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for pid in stack.pids().values():
        assert file_limit(pid) >= min(most, 65_536)


def test_a_second_start_on_the_same_data_is_refused(stack: Stack) -> None:
    """One line says which process runs there, and the first stack goes on."""
    assert stack.supervisor is not None
    refusal = stack.refusal()
    assert f"already runs on {stack.data} (pid {stack.supervisor.pid})" in refusal
    assert "\n" not in refusal
    assert stack.is_ready()


def test_a_taken_port_is_named_with_its_holder(stack: Stack, tmp_path: Path) -> None:
    """One line says what to do, and nothing is left running."""
    newcomer = Stack(tmp_path / "data", stack.offset)
    refusal = newcomer.refusal()
    assert f"Port {Ports.shifted(stack.offset).postgres}, which postgres needs, is taken by postgres" in refusal
    assert "--port-offset" in refusal
    assert "\n" not in refusal
    assert newcomer.processes() == []


def test_a_killed_server_is_restarted_with_its_data(stack: Stack) -> None:
    """All servers are killed with kill -9 at once."""
    stack.execute("CREATE TABLE survivors (name text)")
    stack.execute("INSERT INTO survivors VALUES ('row')")
    stack.publish("survivor")
    before = stack.pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not set(before.values()) & set(stack.pids().values()), what="the deaths noticed")
    stack.wait_ready()
    assert stack.execute("SELECT name FROM survivors") == [("row",)]
    assert stack.receive() == "survivor"


def test_nothing_outlives_a_killed_supervisor_and_the_data_do(other: Stack) -> None:
    """No grandchild is left either, and the next start finds the data as they were."""
    other.execute("CREATE TABLE outlive (name text)")
    other.execute("INSERT INTO outlive VALUES ('row')")
    other.publish("kept")
    known = other.processes()
    assert len(known) > len(SERVERS) + 3, "grandchildren are among them"
    other.end(signal.SIGKILL)
    other.ensure_launched()  # at once, while the old ones may still be ending
    until(lambda: not any(map(state.runs, known)), what="all children gone")
    other.wait_ready()
    assert other.execute("SELECT name FROM outlive") == [("row",)]
    assert other.receive() == "kept"


def test_a_stop_leaves_no_process_and_keeps_the_data(stack: Stack) -> None:
    """Not even epmd is left, and the next start finds what was written."""
    stack.execute("CREATE TABLE stopped (name text)")
    stack.publish("stopped")
    ports = vars(Ports.shifted(stack.offset))
    stack.end(signal.SIGTERM)
    assert stack.processes() == []
    assert state.read(stack.data) is None
    require_free(ports)
    stack.ensure_launched()
    stack.wait_ready()
    assert stack.execute("SELECT name FROM stopped") == []
    assert stack.receive() == "stopped"
