"""Properties of AMQP messages that the driver can't decode, or that no process may believe."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from tests.support.raw_amqp import (
    CONTENT_TYPE,
    CORRELATION_ID,
    DELIVERY_MODE,
    HEADERS,
    MESSAGE_ID,
    REPLY_TO,
    TIMESTAMP,
    properties,
    short,
    table,
)

PERSISTENT: Final = (DELIVERY_MODE, b"\2")
MICROSECONDS: Final = struct.pack(">Q", 1795853786000000)
BAD: Final = b"caf\xe9 \xff"
PLAIN: Final = properties(PERSISTENT)


def _nested(levels: int) -> bytes:
    """A table in a table in a table, and so on."""
    content = b"\0\0\0\0"
    for _ in range(levels):
        content = table((b"", b"F" + content))
    return content


# What the driver can't decode.
BROKEN: Final[Mapping[str, bytes]] = {
    "a timestamp in microseconds": properties(PERSISTENT, (TIMESTAMP, MICROSECONDS)),
    "a timestamp of all ones": properties(PERSISTENT, (TIMESTAMP, b"\xff" * 8)),
    "a correlation id in Latin-1": properties(PERSISTENT, (CORRELATION_ID, short(BAD))),
    "a message id in Latin-1": properties(PERSISTENT, (MESSAGE_ID, short(BAD))),
    "a content type in Latin-1": properties(PERSISTENT, (CONTENT_TYPE, short(BAD))),
    "a reply-to in Latin-1": properties(PERSISTENT, (REPLY_TO, short(BAD))),
    "a header's name in Latin-1": properties(PERSISTENT, (HEADERS, table((BAD, b"t\1")))),
    "a header in microseconds": properties(PERSISTENT, (HEADERS, table((b"at", b"T" + MICROSECONDS)))),
    "tables 2,000 deep": properties(PERSISTENT, (HEADERS, _nested(2_000))),
    "120 KB of properties": properties(
        PERSISTENT, (HEADERS, table((b"large", b"S" + (120_000).to_bytes(4, "big") + b"x" * 120_000), (BAD, b"t\1")))
    ),
}
# The driver can decode these. No process may believe them, fail at them, or fail to write them again.
STRANGE: Final[Mapping[str, bytes]] = {
    name: properties(PERSISTENT, (HEADERS, table(*fields)))
    for name, fields in {
        "another time": [(b"x-saga-first-failed-at", b"T" + struct.pack(">Q", 1795853786))],
        "a time that is none": [(b"x-saga-first-failed-at", b"S\0\0\0\5today")],
        "as many attempts as there are": [(b"x-saga-attempt", b"l" + (2**63 - 1).to_bytes(8, "big"))],
        "a number too large for its type": [(b"x-saga-error", b"d" + struct.pack(">d", 1e300))],
        "no count": [(b"x-saga-attempt", b"d" + struct.pack(">d", 1.5))],
        "a fraction": [(b"x-saga-reason", b"D\xff\xff\xff\xff\xff")],
        "bytes": [(b"x-saga-exchange", b"S\0\0\0\2\xff\xfe"), (b"x-saga-queue", b"x\0\0\0\1\xff")],
        "a table": [(b"x-saga-routing-key", b"F" + table((b"a", b"V")))],
        "an array": [(b"x-saga-dead-letter-id", b"A\0\0\0\2t\1")],
        "what fills a frame": [(b"x-saga-note", b"S" + (125_000).to_bytes(4, "big") + b"n" * 125_000)],
        "deliveries that never were": [(b"x-delivery-count", b"l" + (10**9).to_bytes(8, "big"))],
        "forged properties": [(b"x-saga-undecodable-properties", b"S\0\0\0\3abc")],
    }.items()
}
