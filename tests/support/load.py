"""Place orders at a system under test as the measurements do, and count and judge all answers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count, takewhile
from typing import Final, Self

from bench.http_client import Answer, HttpClient
from bench.load import Placed, at_rate, post
from bench.workload import Sale

_WANTED: Final = {"POST": (202,), "PATCH": (202, 409)}  # what has failed or was declined can no longer be cancelled
_AWAY: Final = (0, 503)  # nobody answered, or somebody who cannot at the moment
_PAUSE: Final = 0.3  # seconds between two tries


class Load:
    """Clients of one or several gateways.

    Those who are `patient` try each request at one gateway after the other until it is answered.
    """

    def __init__(self, gateways: Sequence[str], *, patient: bool, timeout: float) -> None:
        self.accepted: dict[str, Sale] = {}
        self.cancelled: set[str] = set()  # whose cancellation was accepted
        self.answers: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()  # answers that must not be given
        self._gateways = gateways
        self._patient = patient
        self._timeout = timeout
        self._clients: Sequence[HttpClient] = ()
        self._turn = count()
        self._asking = 0  # requests under way
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Ask for nothing more; from any thread. Patient clients raise InterruptedError."""
        self._given_up.set()

    def run(self, sales: Iterable[Sale], *, rate: float, behind: float | None = None) -> None:
        """Place `rate` orders a second until `sales` end; returns when every request has been answered.

        Breaks off when more requests than those of `behind` seconds are under way.
        """

        def goes_on(_: Sale) -> bool:
            if behind is not None and self._asking > rate * behind:
                self.wrong["the system does not keep up with the load, which was broken off"] += 1
                return False
            return not self._given_up.is_set()

        async def place() -> None:
            async with self._connected() as client:
                await at_rate(client, takewhile(goes_on, sales), rate=rate, told=self._note)

        asyncio.run(place())

    def post(self, sale: Sale) -> str:
        """The id under which the order is accepted; "None" if it is not."""

        async def place() -> str:
            async with self._connected() as client:
                return str((await post(client, sale, time.time())).order_id)

        return asyncio.run(place())

    async def request(self, method: str, path: str, body: bytes = b"", *, key: str | None = None) -> Answer:
        """Send a request, and count its answer."""
        while not self._given_up.is_set():
            client = self._clients[next(self._turn) % len(self._clients)]
            self._asking += 1
            try:
                answer = await client.request(method, path, body, key=key)
            finally:
                self._asking -= 1
            self.answers[f"{method} {answer.status or 'without an answer'}"] += 1
            if answer.status in _WANTED[method]:
                return answer
            if not (self._patient and answer.status in _AWAY):
                self.wrong[f"{method}: {answer.status} {_reason(answer)}"] += 1
            if not self._patient or 0 < answer.status < 500:
                return answer
            await asyncio.sleep(_PAUSE)
        raise InterruptedError("the load was given up")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            clients = [HttpClient(each, timeout=self._timeout) for each in self._gateways]
            self._clients = [await stack.enter_async_context(each) for each in clients]
            yield self

    def _note(self, placed: Placed) -> None:
        if placed.order_id is None:
            return
        order_id = str(placed.order_id)
        self.accepted[order_id] = placed.sale
        if placed.cancelled == 202:
            self.cancelled.add(order_id)
        if placed.again not in (None, placed.order_id):
            self.wrong["one Idempotency-Key made two orders"] += 1


def _reason(answer: Answer) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(answer.body)["detail"])
    return ""
