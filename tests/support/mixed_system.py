"""A system of original services and ours, each of which is stopped, started and replaced under a trickle of orders."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from tests.support.messages import USER
from tests.support.migrating import Service, our_queues
from tests.support.original_databases import OriginalDatabases
from tests.support.original_services import DECLINED, OriginalGateway, OriginalOrderService, OriginalPaymentService
from tests.support.ports import free_port
from tests.support.world import World

SERVICES: Final[tuple[Service, ...]] = ("order", "payment")
KINDS: Final = {"order": "orders", "payment": "payments"}
PACE: Final = 0.2  # seconds between two orders


class MixedSystem:
    """Which services run, whose they are, and where the gateway finds them. In the beginning all are original ones."""

    def __init__(
        self, world: World, databases: OriginalDatabases, order: OriginalOrderService, payment: OriginalPaymentService
    ) -> None:
        self.world = world
        self.databases = databases
        self.double: dict[Service, OriginalOrderService | OriginalPaymentService] = {"order": order, "payment": payment}
        self.charged = payment.charged
        self.originals: set[Service] = {*SERVICES}
        self.gateway: World | OriginalGateway | None = None  # None: it is stopped
        self.turn = threading.Lock()  # held while a gateway that is an original one is asked
        self._ports = {name: free_port() for name in SERVICES}
        self._original_gateway = OriginalGateway(world, order_url="", payment_url="")

    def queues(self, service: Service) -> tuple[list[str], list[str]]:
        """The names of the original service's, and of ours."""
        return self.double[service].queue_names, our_queues(self.world, service)

    def start_original(self, service: Service) -> None:
        self.double[service].__enter__()

    def stop_original(self, service: Service) -> None:
        self.double[service].__exit__()

    def start_ours(self, service: Service) -> None:
        self.world.ports[service] = self._ports[service]
        self.world.start(service)

    def stop_ours(self, service: Service) -> None:
        self.world.terminate(service)

    def start_worker(self) -> None:
        self.world.start("worker", original_services=",".join(sorted(self.originals)))

    def stop_worker(self) -> None:
        self.world.terminate("worker")

    def start_gateway(self, *, ours: bool) -> None:
        for service in SERVICES:
            theirs = int(self.double[service].url.rpartition(":")[2]) if service in self.originals else 0
            self.world.ports[service] = theirs or self._ports[service]
        if ours:
            self.world.start("gateway", original_services=",".join(sorted(self.originals)))
            self.gateway = self.world
            return
        token = self.world.env["SAGA_INTERNAL_TOKEN"]
        for service in SERVICES:
            url = f"http://gateway:{token}@127.0.0.1:{self.world.ports[service]}"
            self._original_gateway.urls[KINDS[service]] = url
        self._original_gateway.__enter__()
        self.gateway = self._original_gateway

    def stop_gateway(self) -> None:
        with self.turn:
            gateway = self.gateway
            if isinstance(gateway, OriginalGateway):
                self.gateway = None
                gateway.__exit__()
        if isinstance(gateway, World):
            gateway.terminate("gateway")  # while it is asked
            self.gateway = None


@dataclass
class Trickle:
    """Orders one after the other, each with a total of its own, and some of them cancelled soon after.

    What a client was told: `accepted` (202), `cancelled` (202 to a cancellation), `unknown` (the connection broke).
    """

    system: MixedSystem
    accepted: list[int] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)  # to orders; 0: nobody was there
    trouble: BaseException | None = None

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._random = random.Random(20)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.trouble is not None:
            raise self.trouble

    def _run(self) -> None:
        n = 0
        try:
            while not self._stop.wait(PACE):
                n += 1
                self._place(n)
                if n % 3 == 0 and self.accepted:
                    self._cancel(self._random.choice(self.accepted[-6:]))
        except Exception as error:  # raised where the trickle ends
            self.trouble = error

    def _place(self, n: int) -> None:
        total = 10_000 + 10 * n + (DECLINED if n % 5 == 0 else 0)
        body: dict[str, Any] = {"userId": USER, "total": total}
        if n % 4 == 0 and not self.system.originals and self.system.gateway is self.system.world:
            body["coordinator"] = "orchestration"
        if self.system.gateway is None:
            self.answers[0] += 1
            return
        answer = self._ask("POST", "/orders", json=body)
        if answer is None:
            self.unknown.add(total)
        self.answers[answer.status_code if answer is not None else 0] += 1
        if answer is not None and answer.status_code == 202:
            self.accepted.append(total)

    def _cancel(self, total: int) -> None:
        """By the id that the list of orders tells, since that of the 202 is not known to every service.

        Only what has a payment: an original payment service charges an order whose cancellation overtook it.
        """
        page = self._ask("GET", "/orders", params={"page": 1, "limit": 50})
        if page is None or page.status_code != 200:
            return
        for row in page.json()["data"]:
            if row["total"] == total and self._has_payment(row["id"]):
                answer = self._ask("PATCH", f"/orders/{row['id']}/cancel")
                if answer is not None and answer.status_code == 202:
                    self.cancelled.add(total)

    def _has_payment(self, order_id: str) -> bool:
        found = self._ask("GET", f"/payments/order/{order_id}")
        return found is not None and found.status_code == 200

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        with self.system.turn:
            gateway = self.system.gateway
            if isinstance(gateway, OriginalGateway):
                return gateway.request(method, path, **options)
        if gateway is None:
            return None
        try:
            return gateway.request(method, path, **options)
        except httpx.TransportError:
            return None
