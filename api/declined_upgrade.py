"""Read the body of a request that offers to change the protocol. httptools takes such a request for one without a body.

An HTTP client may make the offer with any request (RFC 9110, 7.8). Java's makes it by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import httptools

_FRAMING: Final = (b"content-length", b"transfer-encoding")


class _Body:
    """What the parser calls."""

    def __init__(self, on_body: Callable[[bytes], None], on_message_complete: Callable[[], None]) -> None:
        self.on_body = on_body
        self.on_message_complete = on_message_complete


def parser_of_body(
    fields: Iterable[tuple[bytes, bytes]], on_body: Callable[[bytes], None], at_end: Callable[[], None]
) -> httptools.HttpRequestParser | None:
    """A parser for the bytes after the header with these fields; None if no body follows."""
    framing = [b"%s: %s\r\n" % field for field in fields if field[0] in _FRAMING]
    if not framing:
        return None
    parser = httptools.HttpRequestParser(_Body(on_body, at_end))
    parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
    return parser
