"""Send bytes to a gateway that has no neighbours."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_PIECE = 256 * 1024


class Peer:
    """A client that sends any bytes."""

    def __init__(self, port: int, *, address: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0))

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def send(self, *data: bytes) -> bool:
        """Send bytes. Returns False if the other side has gone before the end."""
        try:
            for each in data:
                self._socket.sendall(each)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def flood(self, piece: bytes, *, size: int) -> bool:
        """Send a piece again and again, up to a number of bytes. Returns False if the other side has gone before."""
        many = piece * max(1, _PIECE // len(piece))
        return all(self.send(many) for _ in range(-(-size // len(many))))

    def trickle(self, data: bytes, *, every: float, within: float) -> None:
        """Send bytes one by one, again and again, until an answer can be read or the time is up."""
        deadline = time.monotonic() + within
        self._socket.settimeout(every)
        for n in range(sys.maxsize):
            assert time.monotonic() < deadline, "nobody minds"
            if not self.send(data[n % len(data) :][:1]):
                break
            try:
                self._socket.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                continue
        self._socket.settimeout(20)

    def read_all(self) -> bytes:
        """All that arrives until the other side closes."""
        found = b""
        try:
            while piece := self._socket.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
        return found

    def read_one(self) -> bytes:
        """The next answer."""
        found = b""
        while b"\r\n\r\n" not in found:
            found += self._socket.recv(1) or self._gone(found)
        length = re.search(rb"content-length: (\d+)", found)
        end = len(found) + int(length[1] if length else 0)
        while len(found) < end:
            found += self._socket.recv(end - len(found)) or self._gone(found)
        return found

    def _gone(self, found: bytes) -> bytes:
        raise AssertionError(f"the connection has ended after {found!r}")


def ask(port: int, *data: bytes, address: str = "127.0.0.1") -> bytes:
    """Send these bytes from this address of loopback, and read until the other side closes."""
    with Peer(port, address=address) as peer:
        peer.send(*data)
        return peer.read_all()


def status(answer: bytes) -> int:
    """The status of the (first) answer, 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


class Alone:
    """A gateway whose neighbours are away."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def is_well(self) -> bool:
        """Whether it answers another client."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=PATIENCE)
        return answer.status_code == 200


@contextmanager
def gateway_alone(
    folder: Path, settings: Mapping[str, str], *, files: tuple[int, int] | None = None
) -> Iterator[Alone]:
    """A gateway with a soft limit of 1024 open files, or with the given soft and hard limits."""
    port, log = free_port(), folder / f"gateway-{len(list(folder.iterdir()))}.log"
    nobody = f"http://127.0.0.1:{free_port()}"
    env = {
        **os.environ,
        "SAGA_PORT": str(port),
        "SAGA_AMQP_URL": "amqp://127.0.0.1:1/",
        "SAGA_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "SAGA_ORDER_SERVICE_URL": nobody,
        "SAGA_PAYMENT_SERVICE_URL": nobody,
        **settings,
    }
    limits = files or (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "run", "gateway"],
            env=env,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
        )
    alone = Alone(port, process, log)
    try:

        def answers() -> bool:
            assert process.poll() is None, alone.log
            try:
                return alone.is_well()
            except httpx.TransportError:
                return False

        until(answers, what="the gateway answers")
        yield alone
    finally:
        process.kill()
        process.wait()
