"""Write AMQP 0-9-1 frames for the hot path. All frames of one turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from struct import Struct
from typing import Final

import pamqp.encode
from aiormq.abc import AbstractChannel, ChannelFrame

from choreography.outgoing_message import OutgoingMessage

_FRAME: Final = Struct(">BHI")  # type, channel, size
_METHOD, _HEADER, _BODY = 1, 2, 3
_END: Final = b"\xce"
_CONTENT: Final = Struct(">HHQH")  # class, weight, body size, flags
_ACK: Final = Struct(">HHQB")  # class, method, delivery tag, multiple
_BASIC, _PUBLISH, _ACKNOWLEDGE = 60, 40, 80
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _EXPIRATION, _MESSAGE_ID = 1 << 10, 1 << 8, 1 << 7
_JSON: Final = b"\x10application/json"
_PERSISTENT: Final = b"\x02"


class FrameWriter:
    """Writes the frames of one channel, in the order in which they were added."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._queue: asyncio.Queue[ChannelFrame] = channel.write_queue  # type: ignore[attr-defined]
        channel.closing.add_done_callback(lambda _: self._stop())
        self._gathered: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None

    def add(self, frames: bytes) -> None:
        """Send these frames soon, together with those that are added meanwhile."""
        self._gathered.append(frames)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._gathered:
            payload = b"".join(self._gathered)
            self._gathered.clear()
            await self._queue.put(ChannelFrame(payload=payload, should_close=False))
        self._flushing = None

    def _stop(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()


def publish_frames(number: int, message: OutgoingMessage, largest_body: int) -> bytes:
    """The frames that publish a message on channel `number`, with its body in parts of at most `largest_body` bytes.

    For a value that AMQP can't carry, pamqp's error is raised: TypeError, ValueError, OverflowError or struct.error.
    """
    flags = _CONTENT_TYPE | _DELIVERY_MODE
    before, after = _JSON, _PERSISTENT  # properties are in the order of their flags, the highest first
    if message.headers:
        flags |= _HEADERS
        before += pamqp.encode.field_table(message.headers)
    if message.correlation_id is not None:
        flags |= _CORRELATION_ID
        after += _short(message.correlation_id)
    if message.expiration is not None:
        flags |= _EXPIRATION
        after += _short(str(int(message.expiration * 1000)))
    flags |= _MESSAGE_ID
    header = _CONTENT.pack(_BASIC, 0, len(message.body), flags) + before + after + _short(message.message_id)
    if len(header) > largest_body:
        raise ValueError(
            f"{len(header)} bytes of properties are too many for a frame, which has {largest_body} at most"
        )
    method = _publish_method(message.exchange, message.routing_key, message.mandatory)
    body = message.body
    parts = (body[start : start + largest_body] for start in range(0, len(body), largest_body))
    frames = (_frame(_BODY, number, part) for part in parts)
    return b"".join((_frame(_METHOD, number, method), _frame(_HEADER, number, header), *frames))


def ack_frame(number: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """The frame that acknowledges a delivery on channel `number`; with `multiple`, all earlier ones as well."""
    return _frame(_METHOD, number, _ACK.pack(_BASIC, _ACKNOWLEDGE, delivery_tag, multiple))


@lru_cache(maxsize=64)
def _publish_method(exchange: str, routing_key: str, mandatory: bool) -> bytes:
    ticket = b"\0\0"
    method = _BASIC.to_bytes(2, "big") + _PUBLISH.to_bytes(2, "big")
    return method + ticket + _short(exchange) + _short(routing_key) + bytes([mandatory])


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"{len(encoded)} bytes are too many for a short string of AMQP, which has 255 at most")
    return bytes([len(encoded)]) + encoded


def _frame(kind: int, number: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, number, len(payload)) + payload + _END
