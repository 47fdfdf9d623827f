"""Keep one client from taking what all need: requests a second, and how much of what lasts it may have at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.crowd import ALWAYS_TOLD
from api.gateway.guard import key_of
from api.problems import Problem, ProblemType, unavailable

_MOST_REMEMBERED: Final = 10_000  # clients
_STRANGERS: Final = frozenset({ProblemType.UNAUTHORIZED, ProblemType.FORBIDDEN})


def client_of(scope: Scope) -> str:
    """Who asks: the API key's name, else the address; of IPv6 the network, since one client has all of it."""
    key = key_of(scope)
    if key is not None:
        return f"key {key.name}"
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    return str(address) if address.version == 4 else str(int(address) >> 64)


class Rate:
    """So many requests a second for each client, and as many at once after a pause."""

    def __init__(self, per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # requests that are left, and since when; the latest last

    def take(self, client: str) -> int:
        """How many requests are left at once after this one. Raises Problem, 429, if it is one too many."""
        now = self._clock()
        left, since = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - since) * self.per_second)
        if left < 1:
            self._left[client] = (left, now)
            raise too_many((1 - left) / self.per_second, self.fields(0, (1 - left) / self.per_second))
        self._left[client] = (left - 1, now)
        if len(self._left) > _MOST_REMEMBERED:
            del self._left[next(iter(self._left))]
        return int(left - 1)

    def fields(self, left: int, seconds: float = 1.0) -> dict[str, str]:
        """What an answer says of the limit (draft-ietf-httpapi-ratelimit-headers)."""
        window = math.ceil(1 / self.per_second) if self.per_second < 1 else 1  # seconds for `_most` requests
        return {
            "RateLimit": f'"default";r={left};t={max(window, math.ceil(seconds))}',
            "RateLimit-Policy": f'"default";q={math.floor(self._most)};w={window}',
        }


class RateLimited:
    """The layer that refuses requests beyond the rate, inside the one that knows whose they are."""

    def __init__(self, app: ASGIApp, *, rate: Rate) -> None:
        self._app = app
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS_TOLD or _is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        fields = self._rate.fields(self._rate.take(client_of(scope)))
        told = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *told]
            await send(message)

        await self._app(scope, receive, send_told)


def _is_page(path: str) -> bool:
    """Whether this is a file of the console, of which a browser takes thirty at once, and keeps them."""
    return path == "/" or path.startswith("/console/")


class StrangersLimited:
    """The layer outside the one that asks for keys: what that one refuses counts as well, for the address."""

    def __init__(self, app: ASGIApp, *, rate: Rate) -> None:
        self._app = app
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Problem as problem:
            if problem.kind in _STRANGERS and key_of(scope) is None:
                self._rate.take(client_of(scope))
            raise


class Places:
    """So many of something that lasts, such as streams, at once; each client may have half of them."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a place until the end of the context. Raises Problem, 503, at once if none is free."""
        if self._all >= self._most or self._taken[client] >= max(1, self._most // 2):
            raise crowded(self._what)
        self._all += 1
        self._taken[client] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


def too_many(seconds: float, fields: dict[str, str]) -> Problem:
    wait = max(1, math.ceil(seconds))
    detail = f"More requests a second than SAGA_RATE_LIMIT lets each client make; try again in {wait} s"
    return Problem(ProblemType.TOO_MANY, detail, headers={"Retry-After": str(wait), **fields})


def crowded(what: str) -> Problem:
    return unavailable(f"As many {what} as this gateway keeps are open already; try again", retry_after=5)
