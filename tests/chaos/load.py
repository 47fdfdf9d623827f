"""Orders for both coordinators, and cancellations at any moment, from clients who do not give up."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from uuid import UUID

import httpx

from tests.support import http
from tests.support.messages import USER

METHODS: Final = (
    *("pm_card_visa",) * 5,
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_error",
    "pm_timeout_then_approve",
    "pm_unavailable",
    "pm_slow",
    None,  # the coin
)
COORDINATORS: Final = ("choreography", "orchestration")
_CLIENTS: Final = 8
_PAUSE: Final = 0.3  # seconds between a client's tries


@dataclass(frozen=True, kw_only=True)
class Sale:
    """One client's wish; `cancel_after` is in seconds, `key` an Idempotency-Key."""

    number: int
    at: float
    body: dict[str, Any]
    key: str | None
    gateway: int
    cancel_after: float | None


def sales(count: int, *, seconds: float, random: Random) -> Iterator[Sale]:
    """So many wishes, spread evenly over this time; the same for the same seed."""
    for number in range(count):
        method = random.choice(METHODS)
        body = {"userId": USER, "total": random.randint(1, 10**6), "coordinator": random.choice(COORDINATORS)}
        yield Sale(
            number=number,
            at=seconds * number / count,
            body=body | ({"paymentMethod": method} if method else {}),
            key=str(UUID(int=random.getrandbits(128), version=4)) if random.random() < 0.5 else None,
            gateway=random.randrange(3),
            cancel_after=random.choice((0.0, random.uniform(0, 1), random.uniform(0, 15)))
            if random.random() < 0.35
            else None,
        )


class Load:
    """Clients who try each request at one gateway after the other until it is answered."""

    def __init__(self, gateways: Sequence[str]) -> None:
        self.accepted: dict[str, Sale] = {}
        self.cancelled: set[str] = set()  # whose cancellation was accepted
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []  # answers that must never be given
        self._gateways = gateways
        self._http = http.client(timeout=5)
        self._began = time.monotonic()
        self._cancellations: list[tuple[float, str, int]] = []
        self._changed = threading.Condition()
        self._posted = False
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Ask for nothing more: `run` raises, instead of trying gateways that are gone for good."""
        self._given_up.set()

    def run(self, wishes: Sequence[Sale]) -> None:
        """Return when everything has been accepted, and every cancellation answered."""
        with ThreadPoolExecutor(_CLIENTS + 4) as pool:
            cancelling = [pool.submit(self._cancel_on) for _ in range(4)]
            try:
                for posted in [pool.submit(self._place, sale) for sale in wishes]:
                    posted.result()
            except BaseException:
                self.give_up()
                raise
            with self._changed:
                self._posted = True
                self._changed.notify_all()
            for cancelled in cancelling:
                cancelled.result()

    def post(self, sale: Sale) -> str:
        """The id under which the order is accepted. Raises AssertionError for an answer that must never be given."""
        headers = {"Idempotency-Key": sale.key} if sale.key else {}
        answer = self._ask("POST", "/api/orders", sale.gateway, (202,), json=sale.body, headers=headers)
        return str(answer.json()["orderId"])

    def _place(self, sale: Sale) -> None:
        self._given_up.wait(max(0.0, self._began + sale.at - time.monotonic()))
        order_id = self.post(sale)
        self.accepted[order_id] = sale
        if sale.cancel_after is not None:
            with self._changed:
                due = time.monotonic() + sale.cancel_after
                heapq.heappush(self._cancellations, (due, order_id, sale.gateway))
                self._changed.notify_all()

    def _cancel_on(self) -> None:
        while True:
            with self._changed:
                while not self._cancellations or self._cancellations[0][0] > time.monotonic():
                    if self._given_up.is_set() or (self._posted and not self._cancellations):
                        return
                    self._changed.wait(0.1)
                _, order_id, gateway = heapq.heappop(self._cancellations)
            answer = self._ask("PATCH", f"/api/orders/{order_id}/cancel", gateway + 1, (202, 404, 409))
            if answer.status_code == 202:
                self.cancelled.add(order_id)
            elif answer.status_code == 404:
                self.wrong.append(f"order {order_id} was accepted, and unknown as it was to be cancelled")

    def _ask(self, method: str, path: str, gateway: int, wanted: Sequence[int], **options: Any) -> httpx.Response:
        while not self._given_up.is_set():
            url = self._gateways[gateway % len(self._gateways)] + path
            try:
                answer = self._http.request(method, url, **options)
            except httpx.TransportError as error:
                self.answers[f"{method} {type(error).__name__}"] += 1
            else:
                self.answers[f"{method} {answer.status_code}"] += 1
                if answer.status_code in wanted:
                    return answer
                if answer.status_code != 503:
                    self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
                    if answer.status_code < 500:
                        raise AssertionError(self.wrong[-1])
            gateway += 1
            time.sleep(_PAUSE)
        raise InterruptedError("the load was given up")
