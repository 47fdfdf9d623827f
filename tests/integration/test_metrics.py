"""The processes count what really happens: sagas once, messages by what became of them, and what is left waiting."""

from __future__ import annotations

from uuid import uuid4

import httpx

from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE
from tests.support.metrics import scrape
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

EVERY_SERVICE = ("order", "payment", "gateway")


def test_sagas_messages_and_calls_of_the_provider_are_counted_once(world: World) -> None:
    world.start(*EVERY_SERVICE)
    paid = [world.post() for _ in range(3)]
    declined = world.post("pm_card_chargeDeclined")
    failed = world.post("pm_error")
    world.wait_at_rest([*paid, declined, failed])
    assert world.request("PATCH", f"/orders/{paid[0]}/cancel").status_code == 202
    world.wait_status(paid[0], "CANCELLED", "REFUNDED")

    # Everything once more: messages are counted again, sagas are not.
    token = {"Authorization": f"Bearer {world.env['SAGA_INTERNAL_TOKEN']}"}
    acknowledged = scrape(world, "order")("saga_messages_total", queue=ORDER_QUEUE, disposition="ack")
    answer = httpx.post(
        f"http://127.0.0.1:{world.ports['payment']}/events/replay",
        json={"since": "2020-01-01T00:00:00Z"},
        headers=token,
    )
    assert answer.status_code == 200, answer.text

    def replayed() -> bool:
        return scrape(world, "order")("saga_messages_total", queue=ORDER_QUEUE, disposition="ack") > acknowledged + 4

    until(replayed, what="the order service has heard the payments' events once more")
    order, payment, gateway = (scrape(world, name) for name in EVERY_SERVICE)
    ended = {
        outcome: order("saga_ended_total", coordinator="choreography", outcome=outcome)
        for outcome in ("PAID", "CANCELLED", "FAILED")
    }
    assert ended == {"PAID": 3, "CANCELLED": 1, "FAILED": 1}
    assert order("saga_ended_total", coordinator="orchestration") == 0
    assert order("saga_duration_seconds_count", coordinator="choreography") == 5
    assert order("saga_duration_seconds_sum", coordinator="choreography") > 0
    assert order("saga_batch_size_sum") >= 11
    assert payment("saga_provider_seconds_count", operation="charge", outcome="charged") == 3
    assert payment("saga_provider_seconds_count", operation="charge", outcome="declined") == 1
    assert payment("saga_provider_seconds_count", operation="charge", outcome="refused") == 1
    assert payment("saga_provider_seconds_count", operation="refund", outcome="refunded") == 1
    assert payment("saga_messages_total", queue=PAYMENT_QUEUE, disposition="ack") >= 6
    assert gateway("saga_http_requests_total", method="POST", route="/api/orders", status="202") == 5
    assert gateway("saga_http_requests_total", method="PATCH", route="/api/orders/{orderId}/cancel", status="202") == 1
    assert not any(paid[0] in route for route in gateway.labels("saga_http_requests_total", "route"))
    assert "saga_ended_total" not in gateway.names | payment.names
    until(lambda: scrape(world, "order")("saga_outbox_events") == 0, what="the outbox is empty")


def test_dead_letters_retries_and_what_waits_in_the_outbox_can_be_seen(world: World) -> None:
    world.start("order", "gateway")
    assert scrape(world, "order")("saga_dead_letters", queue=ORDER_QUEUE) == 0
    world.publish(("orders.exchange", "order.create.requested", b"no message at all"))
    orphan = {
        "eventType": "PaymentApproved",
        "eventId": str(uuid4()),
        "occurredAt": "2026-02-15T01:42:19Z",
        "correlationId": "c",
        "payload": {"orderId": str(uuid4()), "transactionId": "t"},
    }
    world.publish(("payments.exchange", "payment.approved", orphan))
    until(lambda: scrape(world, "order")("saga_dead_letters", queue=ORDER_QUEUE) == 2, what="both are dead letters")
    order = scrape(world, "order")
    assert order("saga_messages_total", queue=ORDER_QUEUE, disposition="dead_letter") == 2
    assert order("saga_messages_total", queue=ORDER_QUEUE, disposition="retry") == 3  # as many as there are delays
    # The payment service, which should hear of an order, has never run: the event waits.
    world.post()
    until(lambda: scrape(world, "order")("saga_outbox_events") >= 1, what="order.created waits")
    oldest = scrape(world, "order")("saga_outbox_oldest_seconds")
    assert oldest > 0
    until(lambda: scrape(world, "order")("saga_outbox_oldest_seconds") > oldest + 1, what="it gets older")


def test_the_worker_tells_how_far_the_mirrors_are_behind(world: World, temporal: TemporalServer) -> None:
    address = {"temporal_address": temporal.address}
    world.start("worker", *EVERY_SERVICE, **address)
    world.wait_at_rest([world.post()])
    assert world.post(coordinator="orchestration", headers={"Prefer": "wait=20"})

    def told() -> bool:
        worker = scrape(world, "worker")
        return worker("saga_messages_total", queue=MIRROR_QUEUE, disposition="ack") >= 6 and (
            worker("saga_mirror_backlog"),
            worker("saga_mirror_lag_seconds"),
        ) == (0, 0)

    until(told, what="the mirrors know all")
    assert scrape(world, "order")("saga_ended_total", coordinator="orchestration", outcome="PAID") == 1
    assert scrape(world, "order")("saga_duration_seconds_count", coordinator="orchestration") == 1
    assert scrape(world, "worker")("temporal_workflow_completed_total") > 0
    assert scrape(world, "payment")("temporal_activity_execution_latency_seconds_count") > 0
    assert scrape(world, "gateway")("temporal_request_total") > 0
    temporal.kill()
    world.post()

    def behind() -> bool:
        worker = scrape(world, "worker")
        return worker("saga_mirror_backlog") >= 3 and worker("saga_mirror_lag_seconds") > 1

    until(behind, what="events wait for the mirrors")
    temporal.start()
    until(told, within=60, what="the mirrors have caught up")
