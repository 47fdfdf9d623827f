"""Refunds that get no answer, or that somebody has already made, are made once (docs/failures.md, row 24)."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

COORDINATORS = pytest.mark.parametrize("coordinator", ["choreography", "orchestration"])


@pytest.fixture
def paying(world: World, temporal: TemporalServer) -> World:
    """All four processes, with little patience for the provider."""
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_PROVIDER_TIMEOUT": "0.3",
        "SAGA_COMPENSATION_TIMEOUT": "1",
        "SAGA_RECONCILE_INTERVAL": "1",
    }
    world.start("order", "payment", "gateway", "worker")
    return world


def paid(world: World, coordinator: str) -> str:
    order_id = world.post(coordinator=coordinator)
    world.wait_status(order_id, "PAID", "APPROVED")
    return order_id


def cancel(world: World, order_id: str) -> None:
    assert world.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202


@COORDINATORS
def test_24_a_refund_that_gets_no_answer_is_asked_for_until_it_is_made_and_made_once(
    paying: World, coordinator: str
) -> None:
    order_id = paid(paying, coordinator)
    with psycopg.connect(paying.dsn("payments")) as provider:
        # A lock on the provider's books keeps the provider from answering.
        provider.execute("SELECT 1 FROM provider_charges FOR UPDATE")
        cancel(paying, order_id)
        paying.wait_status(order_id, "CANCELLED", "APPROVED")
        until(lambda: in_vain(paying, coordinator), what="the refund was asked for in vain for long")
        assert paying.books(order_id) == (999, 0)
    paying.wait_status(order_id, "CANCELLED", "REFUNDED")
    assert paying.books(order_id) == (999, 999)
    assert paying.events("payments", order_id) == ["PaymentApproved", "PaymentRefunded"]
    paying.prove_invariants()


def in_vain(world: World, coordinator: str) -> bool:
    """Whether the message's retries are used up. From then on the mirror or the workflow asks again."""
    if coordinator == "choreography":
        return bool(world.dead_letters())
    return world.log("payment").count("The books gave no answer on payment") >= 8


@COORDINATORS
def test_24_a_refund_that_was_already_made_counts_as_made(paying: World, coordinator: str) -> None:
    order_id = paid(paying, coordinator)
    with psycopg.connect(paying.dsn("payments"), autocommit=True) as provider:
        provider.execute("UPDATE provider_charges SET refunded = captured")  # by hand, on the provider's own pages
    cancel(paying, order_id)
    paying.wait_status(order_id, "CANCELLED", "REFUNDED")
    paying.wait_at_rest([order_id])
    assert paying.books(order_id) == (999, 999)
    assert paying.events("payments", order_id) == ["PaymentApproved", "PaymentRefunded"]


def test_24_a_refund_that_was_made_although_its_answer_was_lost_is_made_once(paying: World) -> None:
    """The payment service dies between the provider's refund and its own record of it."""
    order_id = paid(paying, "choreography")
    paying.terminate("payment")
    paying.start("payment", crash_at="payment.answered:1")
    cancel(paying, order_id)
    paying.wait_dead("payment")
    assert paying.books(order_id) == (999, 999)
    assert paying.payment(order_id)["status"] == "APPROVED"
    paying.start("payment")
    paying.wait_status(order_id, "CANCELLED", "REFUNDED")
    paying.wait_at_rest([order_id])
    assert paying.books(order_id) == (999, 999)
