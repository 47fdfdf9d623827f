"""Replace messages that the driver can't decode by marked ones that keep the bytes, so that no connection is lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import aio_pika
import pamqp.encode
import pamqp.frame
from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

from models.messages import MalformedMessage

# The name of this header is random, so nobody else can write it.
_MARK: Final = f"x-undecodable-{secrets.token_hex(16)}"

_HEAD: Final = 7  # bytes: type, channel, size
_METHOD, _HEADER = b"\1"[0], b"\2"[0]
_FIXED: Final = 12  # bytes of a content header before the flags of its properties: class, weight, body size
_HEADERS_FLAG: Final = (1 << 13).to_bytes(2, "big")
_LONGEST_CAUSE: Final = 500  # characters
_SHORT_STRING: Final = 255  # bytes

# The methods whose frames hold texts that a stranger chose: exchange and routing key.
_DELIVER, _GET_OK, _RETURN = b"\0\x3c\0\x3c", b"\0\x3c\0\x47", b"\0\x3c\0\x32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecodable:
    """Why a message can't be decoded, and its original properties: flags and values (AMQP 0-9-1, 4.2.6.1)."""

    cause: str
    properties: bytes


def undecodable(message: DeliveredMessage) -> Undecodable | None:
    """What the driver could not decode of a message; None if it decoded all of it."""
    mark: Any = (message.header.properties.headers or {}).get(_MARK)
    return mark and Undecodable(cause=mark["cause"], properties=bytes(mark["properties"]))


def check_decoded(message: DeliveredMessage) -> None:
    """Raise MalformedMessage if the driver could not decode the message."""
    if (broken := undecodable(message)) is not None:
        raise MalformedMessage(f"its properties or its routing key can't be decoded: {broken.cause}")


async def connect(url: str, **options: Any) -> AbstractConnection:
    """A connection that no message can break. It raises the errors of aio_pika.connect."""
    connection: AbstractConnection = await aio_pika.connect(url, connection_class=_MendingConnection, **options)
    return connection


class _MendingConnection(aio_pika.Connection):
    def __init__(self, url: URL, *args: Any, **options: Any) -> None:
        super().__init__(url, *args, **options)
        self.kwargs["transport_factory"] = _Transport()


class _Transport(TransportFactory):
    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await factory.create(url, **options)
        return cast(asyncio.StreamReader, _Frames(reader)), writer


class _Frames:
    """The part of a StreamReader that the driver uses. It mends the frames that the driver can't decode."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._mend = Mender()
        self._frame = b""
        self._at = 0

    def at_eof(self) -> bool:
        return self._at >= len(self._frame) and self._reader.at_eof()

    async def readexactly(self, count: int) -> bytes:
        if self._at >= len(self._frame):
            self._frame, self._at = await self._next(), 0
        part = self._frame[self._at : self._at + count]
        self._at += count
        return part

    async def _next(self) -> bytes:
        head = await self._reader.readexactly(_HEAD)
        if head.startswith(b"AMQP"):  # a broker with another version of the protocol; the driver handles that
            return head
        rest = await self._reader.readexactly(int.from_bytes(head[3:], "big") + 1)
        return self._mend(head, rest)


class Mender:
    """Turns frames that the driver can't decode into ones that it can, and leaves all others as they are."""

    def __init__(self) -> None:
        self._spoilt: dict[bytes, str] = {}  # by channel: why the method frame before the content can't be decoded

    def __call__(self, head: bytes, rest: bytes) -> bytes:
        """The frame that the driver is to get, made from the first seven bytes of a frame and its rest."""
        kind, channel = head[0], head[1:3]
        if kind == _METHOD and (place := _PLACES.get(rest[:4])) is not None:
            before, strings = place
            if rest[before(rest) : -1].isascii() or (cause := _failure(head + rest)) is None:
                return head + rest
            self._spoilt[channel] = cause
            return _framed(head, _readable(rest[:-1], before(rest), strings))
        if kind == _HEADER:
            cause = self._spoilt.pop(channel, None) if self._spoilt else None
            if cause is None and (_plain(rest) or (cause := _failure(head + rest)) is None):
                return head + rest
            return _framed(head, rest[:_FIXED] + _marked(cause, rest[_FIXED:-1]))
        return head + rest


def _failure(frame: bytes) -> str | None:
    """The driver's error for a frame; None if it can decode the frame."""
    try:
        pamqp.frame.unmarshal(frame)
    except Exception as error:  # any error would cost the connection
        return f"{type(error).__name__}: {error}"[:_LONGEST_CAUSE]
    return None


def _plain(content: bytes) -> bool:
    """Whether the driver can certainly decode this content header. That holds for nearly every message of ours.

    Asking the driver itself takes ten times as long.
    """
    layout = _layout(content[_FIXED : _FIXED + 2])
    if layout is None or not content[_FIXED + 2 : -1].isascii():
        return False
    at, end = _FIXED + 2, len(content) - 1
    for short_string in layout:
        if at >= end:
            return False
        at += 1 + content[at] if short_string else 1
    return at == end


@lru_cache(maxsize=256)
def _layout(flags: bytes) -> tuple[bool, ...] | None:
    """The types of the present properties, in order: short strings (True) and octets. None if there are others."""
    bits = int.from_bytes(flags, "big")
    kinds = "ss?oossss?ssss??"  # from the highest: content type, encoding, headers, delivery mode, priority, …
    present = [kind for place, kind in enumerate(kinds) if bits & (1 << (15 - place))]
    return None if "?" in present else tuple(kind == "s" for kind in present)


def _marked(cause: str, properties: bytes) -> bytes:
    """Properties that hold the undecodable ones and the reason why they can't be decoded."""
    told = {_MARK: {"cause": cause, "properties": bytearray(properties)}}
    return _HEADERS_FLAG + pamqp.encode.field_table(cast(Any, told))


def _readable(method: bytes, at: int, strings: int) -> bytes:
    """The content of a method frame, with its `strings` short strings from `at` on made decodable."""
    mended = [method[:at]]
    for _ in range(strings):
        end = at + 1 + method[at]
        text = method[at + 1 : end].decode("utf-8", "backslashreplace").encode()[:_SHORT_STRING]
        # A cut in the middle of a character would make it undecodable again.
        text = text.decode("utf-8", "ignore").encode()
        mended.append(bytes([len(text)]) + text)
        at = end
    return b"".join(mended) + method[at:]


_PLACES: Final[dict[bytes, tuple[Callable[[bytes], int], int]]] = {
    _DELIVER: (lambda method: 4 + 1 + method[4] + 8 + 1, 2),  # after consumer tag, delivery tag and flags
    _GET_OK: (lambda _: 4 + 8 + 1, 2),  # after delivery tag and flags
    _RETURN: (lambda _: 4 + 2, 3),  # after the reply code; the reply's text comes first
}


def _framed(head: bytes, content: bytes) -> bytes:
    return head[:3] + len(content).to_bytes(4, "big") + content + b"\xce"
