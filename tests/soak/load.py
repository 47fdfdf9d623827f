"""Offer orders at a steady rate, however slowly they are answered, and count the answers that must not be given."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

import httpx

from tests.support.messages import USER

# What settles by itself within a second or two; None: the coin.
METHODS: Final = (
    *("pm_card_visa",) * 6,
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_error",
    "pm_timeout_then_approve",
    None,
)
ORCHESTRATED: Final = 0.05  # share of the orders; the others are choreographed
KEYED: Final = 0.25  # share with an Idempotency-Key
REPEATED: Final = 0.2  # share of those that are sent twice
CANCELLED: Final = 0.1  # share that is cancelled
CANCEL_WITHIN: Final = 5.0  # seconds
_BEHIND: Final = 10.0  # seconds of load that may wait for an answer; more, and the system does not keep up


@dataclass(frozen=True, kw_only=True, slots=True)
class Sale:
    """One order to place; `cancel_after` is in seconds from its acceptance."""

    body: dict[str, Any]
    key: str | None
    twice: bool
    cancel_after: float | None


def sales(random: Random) -> Iterator[Sale]:
    """Without end, and the same for the same seed."""
    while True:
        method = random.choice(METHODS)
        coordinator = "orchestration" if random.random() < ORCHESTRATED else "choreography"
        body = {"userId": USER, "total": random.randint(1, 10**6), "coordinator": coordinator}
        key = str(UUID(int=random.getrandbits(128), version=4)) if random.random() < KEYED else None
        yield Sale(
            body=body | ({"paymentMethod": method} if method else {}),
            key=key,
            twice=key is not None and random.random() < REPEATED,
            cancel_after=random.uniform(0, CANCEL_WITHIN) if random.random() < CANCELLED else None,
        )


@dataclass(kw_only=True)
class Load:
    """Clients of one gateway, as many as it takes to keep the rate."""

    gateway: str
    accepted: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)  # answers that must not be given, and how often they were
    _asking: int = 0  # requests under way
    _given_up: threading.Event = field(default_factory=threading.Event)

    def give_up(self) -> None:
        """Place no more orders; from any thread."""
        self._given_up.set()

    def run(self, random: Random, *, rate: float, seconds: float) -> None:
        """Place `rate` orders a second for so many seconds; returns when every request has been answered."""
        asyncio.run(self._run(random, rate=rate, seconds=seconds))

    async def _run(self, random: Random, *, rate: float, seconds: float) -> None:
        began = time.monotonic()
        # Given up before the gateway does, after 5 s: else a request may meet a connection that is just being closed.
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=2)
        async with (
            httpx.AsyncClient(base_url=self.gateway, timeout=20, limits=limits, trust_env=False) as client,
            asyncio.TaskGroup() as placing,
        ):
            for number, sale in enumerate(sales(random)):
                due = began + number / rate
                if due > began + seconds or self._given_up.is_set():
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if self._asking > rate * _BEHIND:
                    self.wrong["the system does not keep up with the load, which was broken off"] += 1
                    break
                placing.create_task(self._place(client, sale))

    async def _place(self, client: httpx.AsyncClient, sale: Sale) -> None:
        headers = {"Idempotency-Key": sale.key} if sale.key else {}
        post = {"json": sale.body, "headers": headers}
        answer = await self._ask(client, "POST", "/api/orders", (202,), **post)
        if answer is None:
            return
        order_id = str(answer.json()["orderId"])
        self.accepted.append(order_id)
        if sale.twice:
            again = await self._ask(client, "POST", "/api/orders", (202,), **post)
            if again is not None and again.json()["orderId"] != order_id:
                self.wrong["one Idempotency-Key made two orders"] += 1
        if sale.cancel_after is not None:
            await asyncio.sleep(sale.cancel_after)
            # What has failed or was declined meanwhile can no longer be cancelled.
            await self._ask(client, "PATCH", f"/api/orders/{order_id}/cancel", (202, 409))

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, wanted: tuple[int, ...], **options: Any
    ) -> httpx.Response | None:
        self._asking += 1
        try:
            answer = await client.request(method, path, **options)
        except httpx.TransportError as error:
            self.wrong[f"{method}: {type(error).__name__}"] += 1
            return None
        finally:
            self._asking -= 1
        self.answers[f"{method} {answer.status_code}"] += 1
        if answer.status_code in wanted:
            return answer
        self.wrong[f"{method}: {answer.status_code} {_reason(answer)}"] += 1
        return None


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
