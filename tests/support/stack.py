"""A running embedded stack, and the command `saga` as a user runs it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika


@dataclass(frozen=True)
class Stack:
    """A running stack and its command line."""

    data: Path
    urls: dict[str, str]

    @property
    def gateway(self) -> str:
        return self.urls["gateway"]

    @property
    def offset(self) -> int:
        return int(self.gateway.rpartition(":")[2]) - 3000

    def saga(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return run_saga(*arguments, "--data", str(self.data), check=check, text=text)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.saga(*arguments, "--json").stdout)


def run_saga(*arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    result = subprocess.run(
        [str(Path(sys.executable).parent / "saga"), *arguments],
        capture_output=True,
        text=True,
        input=text,
        timeout=150,
        check=False,
        env={**os.environ, "SAGA_PROVIDER_LATENCY_MS": "100", "SAGA_RETRY_DELAYS": "0.2,0.4"},
    )
    assert not check or result.returncode == 0, (arguments, result.stdout, result.stderr)
    return result


def terminal(columns: int) -> tuple[int, int]:
    """A terminal with this width: the side of the test, and the side for a program."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    return ours, theirs


def publish(stack: Stack, routing_key: str, *bodies: bytes) -> None:
    """Publish messages as anybody may send them, in this order."""

    async def send() -> None:
        async with await aio_pika.connect(stack.urls["amqp"]) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.get_exchange(f"{routing_key.split('.')[0]}s.exchange", ensure=False)
            for body in bodies:
                await exchange.publish(aio_pika.Message(body, message_id=str(uuid4())), routing_key)

    asyncio.run(send())


def dead_letters(stack: Stack) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = stack.json("dead-letters", "list")["data"]
    return letters


_ORDER = "019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50"
# Commands that look for a stack: each takes --data and --port-offset, as `saga up` does.
FINDERS = [
    ("status",),
    ("down",),
    ("audit",),
    ("reconcile",),
    ("order", "create", "--total", "1"),
    ("order", "list"),
    ("order", "get", _ORDER),
    ("order", "cancel", _ORDER),
    ("order", "timeline", _ORDER),
    ("order", "watch", _ORDER),
    ("events", "list"),
    ("events", "replay", "--yes"),
    ("dead-letters", "list"),
    ("dead-letters", "show", "1"),
    ("dead-letters", "redrive", "1"),
    ("dead-letters", "discard", "1"),
]
