"""Read the target of a request: its path, its query, and the host that it may name."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

import httptools


@dataclass(frozen=True, slots=True)
class Target:
    """A request's target as ASGI tells it."""

    path: str  # decoded
    raw_path: bytes
    query: bytes
    host: bytes | None = None  # with its port; it replaces the Host field (RFC 9112, 3.2.2)


def target_of(url: bytes) -> Target:
    """The target in this request line. Raises ValueError unless it is a path or a URL in ASCII, or `*`."""
    if url == b"*":  # OPTIONS about the whole server
        return Target("*", b"*", b"")
    try:
        target = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise ValueError(str(error)) from None
    path = (target.path or b"/").decode("ascii")
    host: bytes | None = None
    if target.host:
        host = b"[%s]" % target.host if b":" in target.host else target.host
        host = b"%s:%d" % (host, target.port) if target.port else host
    decoded = urllib.parse.unquote(path) if "%" in path else path
    return Target(decoded, target.path or b"/", target.query or b"", host)
