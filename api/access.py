"""Decide under which host names a process answers, and which web pages may use it (RFC 9110, 7.4; Fetch)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from api.loopback import is_loopback
from api.problems import Problem, ProblemType

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_MOST_REMEMBERED: Final = 64
# The fields that a page of another origin may read and send beyond the "CORS-safelisted" ones (Fetch).
_READABLE: Final = b"Location, Preference-Applied, Retry-After, X-Correlation-Id"
_SENDABLE: Final = b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-Correlation-Id"
_PREFLIGHT_IS_VALID: Final = b"600"  # seconds

Fields = list[tuple[bytes, bytes]]


class Access:
    """The host names beside loopback's own, and the foreign origins, that an operator has allowed."""

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower().rstrip(".").encode() for host in hosts)
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._known: set[bytes] = set()

    def check_host(self, host: bytes) -> None:
        """Raise Problem unless this host name is allowed. A web page can make its own name lead to our address."""
        if host in self._known:
            return
        name = name_of(host)
        if name not in self._hosts and not is_loopback(name.decode()):
            raise misdirected(name.decode())
        if len(self._known) < _MOST_REMEMBERED:
            self._known.add(host)

    def check_page(self, origin: bytes | None, site: bytes | None, host: bytes) -> None:
        """Raise Problem unless the page that asks for a change is one of ours, or of an allowed origin.

        A browser names the page's origin. A client that names none is no browser. The scheme is not compared, because a
        proxy may end TLS.
        """
        if origin is not None:
            if self.allows(origin) or (b"://" in origin and origin.split(b"://", 1)[1].lower() == host.lower()):
                return
        elif site is None or site in (b"same-origin", b"none"):
            return
        raise foreign_page()

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this foreign origin may read answers."""
        return origin.lower() in self._origins

    def fields_for(self, origin: bytes | None) -> Fields:
        """The answer's fields that tell a browser whether a page of this origin may read it."""
        if not self._origins:
            return []
        vary = (b"vary", b"Origin")  # a cached answer for one origin must not serve another one
        if origin is None or not self.allows(origin):
            return [vary]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _READABLE), vary]

    def preflight_fields_for(self, origin: bytes | None, methods: bytes) -> Fields:
        """The additional fields of the answer to a preflight request."""
        if origin is None or not self.allows(origin):
            return []
        return [
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", _SENDABLE),
            (b"access-control-max-age", _PREFLIGHT_IS_VALID),
        ]


def misdirected(name: str) -> Problem:
    return Problem(
        ProblemType.MISDIRECTED, f"Host {name} is not served here: use localhost, or name it in SAGA_ALLOWED_HOSTS"
    )


def foreign_page() -> Problem:
    detail = "A web page of another origin may change nothing here; name its origin in SAGA_CORS_ORIGINS to allow it"
    return Problem(ProblemType.FORBIDDEN, detail)


def name_of(host: bytes) -> bytes:
    """The name in a Host field, in lower case and without the port. Raises Problem if it can't be a host."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65_535:
        raise Problem(ProblemType.REFUSED, "The Host field must be a name or an address, with a port or without")
    return match[1].lower().rstrip(b".")
