"""The audit also reads the workflows in Temporal and the dead letters at the broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from audit.checks import ORDERS_STORED, TIMELINES_CLOSED, TIMELINES_EQUAL, TIMELINES_EXIST
from audit.database_audit import Scope
from audit.findings import AuditReport
from audit.run import Places, audit
from choreography.topology import DEAD_LETTER_EXCHANGE, ORDER_QUEUE
from tests.support.audited import execute
from tests.support.messages import USER
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World
from workflows.naming import workflow_id

CLOSED = "ExecutionStatus = 'Completed'"


@dataclass
class Mirrored:
    """Two sagas with closed workflows, and one whose mirror still waits for a late charge."""

    world: World
    temporal: TemporalServer
    places: Places
    choreographed: str
    orchestrated: str
    cancelled: str

    def audit(self, *, grace: float = 0.0, sample: int | None = None) -> AuditReport:
        return audit(self.places, Scope(grace=grace, pause=0.2), sample=sample)

    def spoil(self, sql: str, *order_ids: str) -> None:
        assert execute(self.places.orders_db, sql, *order_ids) > 0, "nothing was planted"


def place(world: World, coordinator: str, method: str = "pm_card_visa") -> str:
    body = {"userId": USER, "total": 999, "paymentMethod": method, "coordinator": coordinator}
    answer = world.request("POST", "/orders", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["orderId"])


@pytest.fixture(scope="module")
def mirrored(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    folder: Path = tmp_path_factory.mktemp("audit")
    temporal, world = TemporalServer(folder / "temporal"), World(servers, folder)
    try:
        temporal.start()
        world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
        world.start("order", "payment", "gateway", "worker")
        choreographed, orchestrated = place(world, "choreography"), place(world, "orchestration")
        cancelled = place(world, "choreography", "pm_slow")
        until(lambda: world.payment(cancelled)["status"] == "PROCESSING", what="the charge is under way")
        assert world.request("PATCH", f"/orders/{cancelled}/cancel").status_code == 202
        world.wait_status(cancelled, "CANCELLED", "CANCELLED")
        until(lambda: temporal.count(CLOSED) == 2, what="the workflows of the paid orders have closed")
        until(lambda: temporal.count("ExecutionStatus = 'Running'") == 1, what="the cancelled order has a mirror")
        until(lambda: len(temporal.timeline(cancelled)["entries"]) == 3, what="the mirror knows of the cancellation")
        places = Places(
            orders_db=world.dsn("orders"),
            payments_db=world.dsn("payments"),
            amqp=world.amqp_url,
            temporal=temporal.address,
        )
        yield Mirrored(world, temporal, places, choreographed, orchestrated, cancelled)
    finally:
        world.close()
        temporal.kill()


def test_workflows_of_both_coordinators_tell_what_the_logs_tell(mirrored: Mirrored) -> None:
    report = mirrored.audit(sample=3)
    assert (report.unread, report.left_out, report.seen["timelines"]) == ({}, {}, 3)
    assert set(report.tallies) == {TIMELINES_CLOSED}
    assert [each.id for each in report.tallies[TIMELINES_CLOSED].examples] == [mirrored.cancelled]


def test_a_saga_that_ended_within_the_grace_has_time_to_be_mirrored(mirrored: Mirrored) -> None:
    report = mirrored.audit(grace=3600)
    assert (report.tallies, report.unread, "timelines" in report.seen) == ({}, {}, False)


def test_an_accepted_order_that_is_only_a_dead_letter_is_found(mirrored: Mirrored) -> None:
    lost = str(uuid4())
    payload = {"orderId": lost, "userId": USER, "total": 999}
    command = {
        "eventType": "CreateOrderRequested",
        "eventId": str(uuid4()),
        "occurredAt": "2026-02-15T01:42:19.000Z",
        "correlationId": "c",
        "payload": payload,
    }
    mirrored.world.publish(
        (DEAD_LETTER_EXCHANGE, ORDER_QUEUE, command),
        (DEAD_LETTER_EXCHANGE, ORDER_QUEUE, {**command, "payload": {**payload, "orderId": mirrored.cancelled}}),
        (DEAD_LETTER_EXCHANGE, ORDER_QUEUE, b"no message at all"),
    )
    report = mirrored.audit(grace=3600, sample=0)
    assert [each.id for each in report.tallies[ORDERS_STORED].examples] == [lost]
    assert (report.seen["dead letters"], set(report.tallies)) == (3, {ORDERS_STORED})
    mirrored.world.purge(f"{ORDER_QUEUE}.dead-letters")


def test_a_timeline_that_tells_other_than_the_logs_is_found(mirrored: Mirrored) -> None:
    mirrored.spoil("DELETE FROM event_log WHERE order_id = %s AND event_type = 'OrderPaid'", mirrored.choreographed)
    (finding,) = mirrored.audit().tallies[TIMELINES_EQUAL].examples
    assert (finding.id, finding.detail) == (mirrored.choreographed, "it tells OrderPaid, which no event log has")


def test_an_orchestrated_order_that_was_never_stored_is_found(mirrored: Mirrored) -> None:
    mirrored.spoil("DELETE FROM orders WHERE id = %s", mirrored.orchestrated)
    (finding,) = mirrored.audit().tallies[ORDERS_STORED].examples
    assert (finding.id, finding.detail) == (
        mirrored.orchestrated,
        "its saga has a workflow, yet the order service has no such order",
    )


def test_a_saga_without_a_workflow_is_found(mirrored: Mirrored) -> None:
    unknown = str(uuid4())
    for change in ("UPDATE orders SET id = %s WHERE id = %s", "UPDATE event_log SET order_id = %s WHERE order_id = %s"):
        mirrored.spoil(change, unknown, mirrored.choreographed)
    report = mirrored.audit()
    # The other way round: its mirror knows an order that is stored nowhere now, as after a restore.
    assert mirrored.choreographed in {each.id for each in report.tallies[ORDERS_STORED].examples}
    (finding,) = report.tallies[TIMELINES_EXIST].examples
    assert (finding.id, finding.detail) == (unknown, f"Temporal has no workflow {workflow_id(unknown)}")


def test_without_a_worker_timelines_are_unread_not_violated(mirrored: Mirrored) -> None:
    mirrored.world.terminate("worker")
    report = mirrored.audit(sample=3)
    assert "is the worker running?" in report.unread["timelines"]
    assert not {TIMELINES_EXIST, TIMELINES_EQUAL, TIMELINES_CLOSED} & set(report.tallies)
