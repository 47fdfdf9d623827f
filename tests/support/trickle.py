"""A trickle of orders and reads, from clients that do what a client may, and no more."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.support import http
from tests.support.messages import USER

_CLIENTS: Final = 3
_PATIENCE: Final = 90.0  # seconds for which a client repeats a request: on a busy machine an instance starts slowly
_PAUSE: Final = 0.2  # seconds between two requests of a client
_LONGEST: Final = 5.0  # seconds that a client waits before it tries again
_METHODS: Final = ("pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_error")


class Trickle:
    """Places orders for both coordinators, cancels some, and reads, until it is left.

    A request is repeated after a 503 with Retry-After. If it got no answer, or a 502 or 504 of the balancer, it is
    repeated if it may be: a POST only with an Idempotency-Key. What is not answered as it should be then has failed.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self.accepted: list[str] = []
        self.failed: list[str] = []
        self.repeated: Counter[str] = Counter()  # requests that a client had to make again, by what it was told
        self._url = url
        self._shown = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(_CLIENTS)

    def __enter__(self) -> Trickle:
        self._clients = [self._pool.submit(self._go_on) for _ in range(_CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.result(timeout=120)
        self._pool.shutdown()

    def _go_on(self) -> None:
        with http.client(timeout=40) as client:
            client.headers.update(self._shown)
            while not self._stop.wait(_PAUSE):
                number = next(self._numbers)
                order_id = self._place(client, number)
                if order_id is not None:
                    self._read(client, order_id, number)

    def _place(self, client: httpx.Client, number: int) -> str | None:
        headers = {}
        if number % 2:
            headers["Idempotency-Key"] = str(uuid4())
        if number % 7 == 0:
            headers["Prefer"] = "wait=20"
        body = {
            "userId": USER,
            "total": 999,
            "paymentMethod": _METHODS[number // 2 % len(_METHODS)],
            "coordinator": ("choreography", "orchestration")[number // 3 % 2],
        }
        answer = self._ask(client, "POST", "/api/orders", {200, 202}, headers=headers, json=body)
        if answer is None:
            return None
        told = answer.json()
        order_id = str(told.get("orderId") or told["id"])
        self.accepted.append(order_id)
        return order_id

    def _read(self, client: httpx.Client, order_id: str, number: int) -> None:
        self._ask(client, "GET", f"/api/orders/{order_id}", {200})
        match number % 5:
            case 0:
                self._ask(client, "PATCH", f"/api/orders/{order_id}/cancel", {202, 409})
            case 1:
                self._ask(client, "GET", f"/api/orders/{order_id}/timeline", {200, 404})
            case 2:
                self._ask(client, "GET", "/api/payments/stats", {200})
            case 3:
                self._ask(client, "GET", "/api/orders?limit=20", {200})

    def _ask(
        self, client: httpx.Client, method: str, path: str, wanted: set[int], **request: Any
    ) -> httpx.Response | None:
        told: list[str] = []
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            pause = 0.3
            try:
                answer = client.request(method, f"{self._url}{path}", **request)
            except httpx.ConnectError as error:
                again, reason = True, f"{error!r}"
            except httpx.TransportError as error:
                again, reason = may_be_repeated(method, request), f"{error!r}"
            else:
                if answer.status_code in wanted:
                    return answer
                reason = f"{answer.status_code} {title(answer)}"
                again = answer.status_code == 503 and "Retry-After" in answer.headers
                again = again or (answer.status_code in (502, 503, 504) and may_be_repeated(method, request))
                pause = min(_LONGEST, float(answer.headers.get("Retry-After", pause)))
            told.append(reason)
            if not again:
                break
            self.repeated[reason] += 1
            time.sleep(pause)  # no condition to wait for: this is how long the server asked it to wait
        self.failed.append(f"{method} {path} {request}: {told}")
        return None


def title(answer: httpx.Response) -> str:
    """What an answer says, without the ids in it."""
    with suppress(ValueError, KeyError, TypeError):
        return re.sub(r"[0-9a-f-]{36}", "…", str(answer.json()["detail"]))
    return answer.text[:100]


def may_be_repeated(method: str, request: dict[str, Any]) -> bool:
    """Whether a request has one effect, however often it is made."""
    return method != "POST" or "Idempotency-Key" in request.get("headers", {})
