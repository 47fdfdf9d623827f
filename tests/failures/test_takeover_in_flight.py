"""The procedure of docs/migrating.md, forwards and back, while orders are placed and cancelled: no money is lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import psycopg
import pytest
from temporalio.client import Client

from audit.database_audit import Scope
from audit.run import Places, audit
from tests.support.migrating import Outcome, Service, Step, saga, steps, wait_for_state
from tests.support.mixed_system import SERVICES, MixedSystem, Trickle
from tests.support.original_databases import original_databases
from tests.support.original_services import OriginalOrderService, OriginalPaymentService, Queues, Wiring
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

RUNNING_MIRRORS = "WorkflowType = 'SagaMirror' AND ExecutionStatus = 'Running'"
NEWEST = Wiring(charge_takes=0.15)
# What was not seen is otherwise here, and queues have names like those of earlier versions.
EARLIER = replace(NEWEST, acknowledges_first=True, dead_letter_queues=False)
EARLIER_ORDER: Queues = {
    "order.process.queue": ("order.create.requested", "order.cancel.requested"),
    "payment.result.queue": ("payment.approved", "payment.declined", "payment.failed"),
}
EARLIER_PAYMENT: Queues = {"payment.process.queue": ("order.created", "order.cancelled")}
WIRINGS = {
    "newest": (NEWEST, NEWEST),
    "earlier": (replace(EARLIER, queues=EARLIER_ORDER), replace(EARLIER, queues=EARLIER_PAYMENT)),
}


@pytest.fixture(params=[*WIRINGS])
def system(world: World, temporal: TemporalServer, request: pytest.FixtureRequest) -> Iterator[MixedSystem]:
    """All original, with mirrors of ours."""
    of_order, of_payment = WIRINGS[request.param]
    queues = {**(of_order.queues or {}), **(of_payment.queues or {})}
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_INTERNAL_TOKEN": "internal-token-of-this-test",
        "SAGA_PROVIDER_LATENCY_MS": "100",
        "SAGA_PROVIDER_TIMEOUT": "15",
        "SAGA_COMPENSATION_TIMEOUT": "20",  # for so long a mirror stays open after a payment was cancelled
        # An original payment service charges once more for an event that the relay repeats, since the machine is busy.
        "SAGA_RELAY_GRACE": "30",
        "SAGA_ORIGINAL_QUEUES": ",".join(
            f"{key}={queue}" for queue, keys in queues.items() for key in keys if not key.endswith(".requested")
        ),
    }
    for service in SERVICES:  # nothing of ours has ever run
        with psycopg.connect(world.dsn(f"{service}s")) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with original_databases(world) as databases:
        order = OriginalOrderService(world, databases, of_order)
        system = MixedSystem(world, databases, order, OriginalPaymentService(world, databases, of_payment))
        for service in SERVICES:
            system.start_original(service)
        system.start_worker()
        system.start_gateway(ours=False)
        try:
            yield system
        finally:
            system.stop_gateway()
            for service in system.originals:
                system.stop_original(service)


class Procedure:
    """Follows the page's steps for one service."""

    def __init__(self, system: MixedSystem, direction: Literal["forwards", "back"], service: Service) -> None:
        self.system, self.direction, self.service = system, direction, service
        self.gateway_is_ours = system.gateway is system.world
        self.in_the_way = 0  # rows that were under way when the first step looked
        self.took = 0.0  # seconds without a gateway
        self.deeds: dict[str, Callable[[], None]] = {
            "Stop the gateway": system.stop_gateway,
            "Stop the original service": lambda: system.stop_original(service),
            "Stop our service": lambda: system.stop_ours(service),
            "Start our service": lambda: system.start_ours(service),
            "Start the original service": lambda: system.start_original(service),
            "Take the service out of `SAGA_ORIGINAL_SERVICES`": lambda: system.originals.remove(service),
            "Put the service into `SAGA_ORIGINAL_SERVICES`": lambda: system.originals.add(service),
            "Stop the worker": system.stop_worker,
            "Start the worker": system.start_worker,
            "Start the gateway": lambda: system.start_gateway(ours=self.gateway_is_ours),
        }

    def follow(self) -> None:
        """Take the steps in turn. Raises AssertionError for a step after which queues are not as the page says."""
        every = steps(self.direction, self.service)
        stopped, to_do = 0.0, deque(every)
        while to_do:
            step = to_do.popleft()
            for deed in step.deeds:
                self.deeds[deed]()
            if step.number == 2:
                stopped = time.monotonic()
            if step.number == 4 and not all(self.ends_well(command) for command in step.commands):
                for deed in step.deeds:
                    self.deeds[deed.replace("Stop", "Start")]()
                to_do = deque(every[2:])
                continue
            self.wait_done(step)
            if step.number == 6:
                audit_ours(self.system, self.service)
        self.took = time.monotonic() - stopped

    def wait_done(self, step: Step) -> None:
        """Run the step's commands until each is done: its exit code is 0. In the first step something is in the way."""
        for command in step.commands:
            if step.number == 1:
                self.in_the_way = self.answer(command)[1]["refusals"]
            else:
                until(partial(self.ends_well, command), within=120, what=command)
        theirs, ours = self.system.queues(self.service)
        for names, state in ((theirs, step.original_queues), (ours, step.our_queues)):
            wait_for_state(self.system.world, names, state, what=f"{self.direction}, {self.service}, {step.number}")

    def answer(self, command: str) -> Outcome:
        names = " ".join(self.system.double[self.service].queue_names)
        return saga(self.system.world, self.system.databases, command.replace("NAME…", names))

    def ends_well(self, command: str) -> bool:
        return self.answer(command)[0] == 0


def audit_ours(system: MixedSystem, swapped: Service) -> None:
    """Audit what is ours while nothing is under way, with the service that is swapped: its rows are in both places."""
    ours = {swapped, *SERVICES} - (system.originals - {swapped})
    known = {service: system.world.dsn(f"{service}s") for service in ours}
    places = Places(orders_db=known.get("order", ""), payments_db=known.get("payment", ""))
    report = audit(places, Scope(at_rest=True, pause=0.0))
    found = [finding for tally in report.tallies.values() for finding in tally.examples]
    assert report.exit_code == 0, (found, report.unread)


def flow(trickle: Trickle) -> None:
    """Let orders be placed and cancelled for a while."""
    accepted, cancelled = len(trickle.accepted), len(trickle.cancelled)

    def flowed() -> bool:
        assert trickle.trouble is None, trickle.trouble
        return len(trickle.accepted) >= accepted + 8 and len(trickle.cancelled) >= cancelled + 2

    until(flowed, within=120, what="orders are placed and cancelled")


def test_48_services_are_replaced_and_brought_back_one_at_a_time_while_orders_are_placed(
    system: MixedSystem, temporal: TemporalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    followed: list[Procedure] = []

    def swap(direction: Literal["forwards", "back"], service: Service) -> None:
        flow(trickle)
        procedure = Procedure(system, direction, service)
        procedure.follow()
        followed.append(procedure)

    def swap_gateway(*, ours: bool) -> None:
        flow(trickle)
        system.stop_gateway()
        system.start_gateway(ours=ours)

    with Trickle(system) as trickle:
        swap("forwards", "payment")
        swap("forwards", "order")
        swap_gateway(ours=True)
        flow(trickle)
        swap("back", "payment")
        swap("back", "order")
        swap_gateway(ours=False)
        flow(trickle)
    assert sum(procedure.in_the_way for procedure in followed) > 0, "orders were in flight"
    with capsys.disabled():
        print({f"{each.direction} {each.service}": round(each.took, 1) for each in followed}, dict(trickle.answers))
    prove_nothing_lost(system, trickle)
    prove_mirrors_closed(temporal)


def prove_nothing_lost(system: MixedSystem, trickle: Trickle) -> None:
    """By sums over all four databases, by what clients were told, and by what was charged."""

    def at_rest() -> dict[str, Any]:
        code, told = saga(system.world, system.databases, "migrate check")
        assert (code, told["underWay"]) == (0, 0), told
        return dict(told)

    checked = until(at_rest, within=120, what="nothing is under way")
    assert checked["sums"]["kept"] == checked["sums"]["paid orders"]
    captured, refunded = checked["sums"]["captured"], checked["sums"]["refunded"]
    assert captured["amount"] - refunded["amount"] == checked["sums"]["kept"]["amount"]

    orders = system.databases.execute("orders", 'SELECT "id", "total", "status"::text FROM "Order"')
    stored = Counter(row["total"] for row in orders)
    assert max(stored.values()) == 1
    assert {*trickle.accepted} <= {*stored} <= {*trickle.accepted} | trickle.unknown
    status = {row["total"]: row["status"] for row in orders}
    assert {status[total] for total in trickle.cancelled} <= {"CANCELLED", "FAILED"}
    assert checked["sums"]["orders"] == {"count": len(stored), "amount": sum(stored)}

    ours = "SELECT order_id FROM payments JOIN provider_charges c ON c.payment_id = payments.id WHERE captured > 0"
    mine = f"{ours} AND c.transaction_id NOT LIKE 'original-%%'"
    charged = Counter(str(row["order_id"]) for row in system.world.rows("payments", mine))
    charged.update(system.charged)
    assert max(charged.values()) == 1
    assert {row["id"] for row in orders if row["status"] == "PAID"} <= {*charged}
    assert sum(charged.values()) == captured["count"]


def prove_mirrors_closed(temporal: TemporalServer) -> None:
    async def running(client: Client) -> list[str]:
        return [each.id.removeprefix("order-") async for each in client.list_workflows(RUNNING_MIRRORS)]

    try:
        until(lambda: temporal.count(RUNNING_MIRRORS) == 0, within=180, what="all mirrors close")
    except AssertionError:
        open_ones = temporal.ask(running)
        pytest.fail(f"{len(open_ones)} mirrors wait: {[temporal.timeline(each) for each in open_ones[:3]]}")
    assert temporal.count("NeedsOperator = true") == 0
