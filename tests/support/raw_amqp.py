"""Publish messages that no driver would write, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame
from pamqp.header import ProtocolHeader

CONTENT_TYPE, HEADERS, DELIVERY_MODE, PRIORITY = 1 << 15, 1 << 13, 1 << 12, 1 << 11
CORRELATION_ID, REPLY_TO, MESSAGE_ID, TIMESTAMP = 1 << 10, 1 << 9, 1 << 7, 1 << 6
_PART: Final = 100_000  # bytes of a body in one frame


@dataclass(frozen=True, kw_only=True)
class RawMessage:
    """A message as its publisher wrote it; `properties` are flags and values (AMQP 0-9-1, 4.2.6.1)."""

    exchange: str
    routing_key: bytes
    body: bytes
    properties: bytes = b"\0\0"


def properties(*values: tuple[int, bytes]) -> bytes:
    """Flags and values, the highest flag first."""
    ordered = sorted(values, reverse=True)
    return sum(flag for flag, _ in ordered).to_bytes(2, "big") + b"".join(value for _, value in ordered)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(*fields: tuple[bytes, bytes]) -> bytes:
    """A table of names and values, each value with its type before it."""
    content = b"".join(short(name) + value for name, value in fields)
    return len(content).to_bytes(4, "big") + content


def publish(amqp_url: str, messages: Iterable[RawMessage], *, timeout: float = 30) -> None:
    """Publish in this order, confirmed. Raises OSError if RabbitMQ refuses one of them or is silent for `timeout` s."""
    url = urlsplit(amqp_url)
    with socket.create_connection((url.hostname or "", url.port or 5672), timeout=timeout) as way:
        stream = way.makefile("rwb")

        def send(*frames: bytes) -> None:
            stream.write(b"".join(frames))
            stream.flush()

        def answer(*expected: type[Frame]) -> Frame:
            head = stream.read(7)
            if len(head) < 7:
                raise ConnectionError("RabbitMQ closed the connection")
            rest = stream.read(int.from_bytes(head[3:], "big") + 1)
            frame = pamqp.frame.unmarshal(head + rest)[2]
            if not isinstance(frame, expected):
                raise ConnectionError(f"RabbitMQ answered {frame.name}: {getattr(frame, 'reply_text', '')}")
            return frame

        login = f"\0{unquote(url.username or '')}\0{unquote(url.password or '')}"
        send(ProtocolHeader().marshal())
        answer(commands.Connection.Start)
        send(_method(0, commands.Connection.StartOk(mechanism="PLAIN", response=login)))
        answer(commands.Connection.Tune)
        send(
            _method(0, commands.Connection.TuneOk(channel_max=1, frame_max=131_072, heartbeat=0)),
            _method(0, commands.Connection.Open(virtual_host=unquote(url.path[1:]) or "/")),
        )
        answer(commands.Connection.OpenOk)
        send(_method(1, commands.Channel.Open()))
        answer(commands.Channel.OpenOk)
        send(_method(1, commands.Confirm.Select()))
        answer(commands.Confirm.SelectOk)
        for message in messages:
            send(*_content(message))
            answer(commands.Basic.Ack)


def _content(message: RawMessage) -> Iterable[bytes]:
    method = struct.pack(">HHH", 60, 40, 0) + short(message.exchange.encode()) + short(message.routing_key) + b"\0"
    yield _frame(1, method)
    yield _frame(2, struct.pack(">HHQ", 60, 0, len(message.body)) + message.properties)
    for start in range(0, len(message.body), _PART):
        yield _frame(3, message.body[start : start + _PART])


def _frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(content)) + content + b"\xce"


def _method(channel: int, frame: Frame) -> bytes:
    return pamqp.frame.marshal(frame, channel)
