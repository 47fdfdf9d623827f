"""A provider that takes another sum, and events of strangers, keep no money (docs/failures.md, rows 45 and 46)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.messages import USER, envelope
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World

pytestmark = pytest.mark.temporal
COORDINATORS = pytest.mark.parametrize("coordinator", ["choreography", "orchestration"])


@pytest.fixture(scope="module")
def swept(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All four processes and a sweep every second, for all tests: each has orders of its own."""
    temporal = TemporalServer(tmp_path_factory.mktemp("money") / "temporal")
    temporal.start()
    world = World(servers, tmp_path_factory.mktemp("world"))
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_RECONCILE_INTERVAL": "1",
        "SAGA_COMPENSATION_TIMEOUT": "0.5",
    }
    for name in ("order", "payment", "gateway", "worker"):
        world.start(name)
    yield world
    world.close()
    temporal.kill()


def place(world: World, coordinator: str, total: int = 999, method: str = "pm_card_visa") -> str:
    body = {"userId": USER, "total": total, "paymentMethod": method, "coordinator": coordinator}
    answer = world.request("POST", "/orders", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["orderId"])


# Row 46


def tell(world: World, event_type: str, order_id: str, **payload: object) -> None:
    """Publish an event as a stranger with the right to publish can."""
    key = "payment." + event_type.removeprefix("Payment").lower()
    world.publish(("payments.exchange", key, envelope(event_type, {"orderId": order_id, **payload})))


@contextmanager
def books_that_capture_when_told(world: World) -> Iterator[None]:
    """Inside, a charge waits in the middle of its capture. Afterwards it has captured."""
    with (
        psycopg.connect(world.dsn("payments"), autocommit=True) as holder,
        books_that(world, "INSERT", "PERFORM pg_advisory_xact_lock(46); RETURN NEW;"),
    ):
        holder.execute("SELECT pg_advisory_lock(46)")
        try:
            yield
        finally:
            holder.execute("SELECT pg_advisory_unlock(46)")
            # The trigger is dropped when the captures that wait for it have committed.


def captures(world: World) -> bool:
    """Whether a charge waits in the middle of its capture."""
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 46 AND NOT granted"
    return bool(world.rows("payments", waiting))


def told_while_its_charge_captures(swept: World, event_type: str, end: str, **payload: str) -> None:
    """A foreign event ends the order as `end` while our charge captures the money, which is refunded."""
    with books_that_capture_when_told(swept):
        order_id = place(swept, "choreography")
        until(lambda: captures(swept), what="its charge captures")
        tell(swept, event_type, order_id, **payload)
        swept.wait_status(order_id, end)
    swept.wait_status(order_id, end, "REFUNDED")
    assert swept.books(order_id) == (999, 999)
    swept.wait_at_rest([order_id])


def test_46_an_order_that_a_foreign_failure_ended_while_its_charge_captured_is_refunded(
    swept: World,
) -> None:
    told_while_its_charge_captures(swept, "PaymentFailed", "FAILED", error="told so by somebody else")


def test_46_an_order_that_a_foreign_failure_ended_before_its_charge_captured_is_never_charged(
    swept: World,
) -> None:
    order_id = place(swept, "choreography", method="pm_slow")
    swept.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    tell(swept, "PaymentFailed", order_id, error="told so by somebody else")
    swept.wait_status(order_id, "FAILED", "CANCELLED")
    until(lambda: ended(swept, order_id), what="the void is made")
    swept.wait_at_rest([order_id])
    assert swept.books(order_id) == (0, 0)


def test_46_an_order_that_a_foreign_decline_ended_while_its_charge_captured_keeps_no_money(
    swept: World,
) -> None:
    told_while_its_charge_captures(swept, "PaymentDeclined", "CANCELLED", reason="told so by somebody else")


def test_46_an_order_that_a_foreign_approval_paid_although_its_charge_was_declined_is_cancelled(
    swept: World,
) -> None:
    order_id = place(swept, "choreography", total=998, method="pm_slow")
    swept.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    with books_that(
        swept, "INSERT", "NEW.outcome := ''Declined''; NEW.captured := 0; NEW.reason := ''no''; RETURN NEW;"
    ):
        tell(swept, "PaymentApproved", order_id, transactionId="forged")
        swept.wait_status(order_id, "PAID")
        swept.wait_status(order_id, "CANCELLED", "DECLINED")
    assert swept.books(order_id) == (0, 0)


FOREIGN = {
    "PaymentApproved": {"transactionId": "forged"},
    "PaymentDeclined": {"reason": "told so by somebody else"},
    "PaymentFailed": {"error": "told so by somebody else"},
}


@pytest.mark.parametrize("event_type", FOREIGN)
def test_46_a_foreign_event_moves_no_orchestrated_order(swept: World, event_type: str) -> None:
    order_id = place(swept, "orchestration", method="pm_slow")
    swept.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    tell(swept, event_type, order_id, **FOREIGN[event_type])
    swept.wait_status(order_id, "PAID", "APPROVED")
    assert swept.books(order_id) == (999, 0)
    swept.wait_at_rest([order_id])


def ended(world: World, order_id: str) -> bool:
    payment = world.find_payment(order_id)
    return payment is not None and payment["due"] is None and payment["status"] != "PROCESSING"


# Row 45


@contextmanager
def books_that(world: World, event: str, what: str) -> Iterator[None]:
    """Inside, a trigger changes what is written into the provider's books."""
    with psycopg.connect(world.dsn("payments"), autocommit=True) as books:
        books.execute(
            f"CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {what} END';"
            f" CREATE TRIGGER lie BEFORE {event} ON provider_charges FOR EACH ROW EXECUTE FUNCTION lie()"
        )
        try:
            yield
        finally:
            books.execute("DROP TRIGGER lie ON provider_charges; DROP FUNCTION lie()")


LIES = {
    "more": ("NEW.captured := NEW.captured + 1; RETURN NEW;", 1000),
    "less": ("NEW.captured := NEW.captured - 1; RETURN NEW;", 998),
    "another currency": ("NEW.currency := ''EUR''; RETURN NEW;", 999),
}


@COORDINATORS
@pytest.mark.parametrize("lie", LIES)
def test_45_what_was_captured_otherwise_than_asked_is_given_back_and_never_approved(
    swept: World, coordinator: str, lie: str
) -> None:
    what, captured = LIES[lie]
    with books_that(swept, "INSERT", what):
        order_id = place(swept, coordinator)
        swept.wait_status(order_id, "FAILED", "FAILED")
    assert swept.books(order_id) == (captured, captured)
    assert swept.events("payments", order_id) == ["PaymentFailed"]
    reason = swept.payment(order_id)["reason"]
    assert f"captured {captured} " in reason
    assert "instead of 999 USD" in reason
    swept.wait_at_rest([order_id])


@COORDINATORS
def test_45_what_cannot_be_given_back_is_told_to_an_operator_and_given_back_once_it_can_be(
    swept: World, coordinator: str
) -> None:
    before = len(swept.dead_letters())
    with books_that(
        swept,
        "INSERT OR UPDATE",
        "IF TG_OP = ''INSERT'' THEN NEW.captured := 1000; ELSE RETURN NULL; END IF; RETURN NEW;",
    ):
        order_id = place(swept, coordinator)
        until(lambda: swept.books(order_id) == (1000, 0), what="it is captured")
        if coordinator == "choreography":
            until(lambda: len(swept.dead_letters()) > before, what="a dead letter tells an operator")
            assert "is not what was captured" in swept.dead_letters()[-1].error
        else:
            told = "RefundRefused"
            until(lambda: told in swept.log("payment"), what="the workflow's step is refused")
        order, payment = swept.order(order_id), swept.payment(order_id)
        assert order
        assert payment
        assert (order["status"], payment["status"], payment["due"]) == ("PENDING_PAYMENT", "PROCESSING", "charge")
        violated = swept.audited().tallies["payments are captured once and in full"]
        assert order_id in {finding.id for finding in violated.examples}
    swept.wait_status(order_id, "FAILED", "FAILED")  # the reconciler asks again
    assert swept.books(order_id) == (1000, 1000)
    swept.wait_at_rest([order_id])


@COORDINATORS
def test_45_what_was_captured_otherwise_is_given_back_when_its_order_is_cancelled_meanwhile(
    swept: World, coordinator: str
) -> None:
    with books_that(swept, "INSERT", "NEW.captured := NEW.captured + 1; RETURN NEW;"):
        order_id = place(swept, coordinator, method="pm_timeout_then_approve")
        until(lambda: swept.books(order_id)[0] == 1000, what="it is captured, and the answer lost")
        assert swept.request("PATCH", f"/orders/{order_id}/cancel").status_code in (202, 409)
        until(lambda: swept.books(order_id) == (1000, 1000), what="it is given back")
    swept.wait_at_rest([order_id])
    assert swept.order(order_id)["status"] in ("CANCELLED", "FAILED")
