"""An event that the relay cannot publish keeps no other event waiting."""

from __future__ import annotations

from uuid import uuid4

from tests.support import http
from tests.support.waiting import until
from tests.support.world import World

_LOG = """
    WITH logged AS (
        INSERT INTO event_log (event_id, order_id, event_type, occurred_at, correlation_id, coordinator, payload)
        SELECT gen_random_uuid(), id, %s, now(), 'c', 'choreography', jsonb_build_object('orderId', id::text)
        FROM unnest(%s::uuid[]) AS id RETURNING seq, order_id
    )
    INSERT INTO outbox SELECT seq, order_id, true FROM logged RETURNING seq"""
_LEFT = "SELECT e.event_type, count(*) n FROM outbox JOIN event_log e USING (seq) GROUP BY 1"


def test_events_that_only_a_newer_version_knows_are_left_to_it_and_the_others_go_out(world: World) -> None:
    more_than_a_batch = [str(uuid4()) for _ in range(600)]
    world.rows("orders", _LOG, "OrderShipped", more_than_a_batch)
    world.rows("orders", _LOG, "OrderPaid", [str(uuid4())])
    world.rows("orders", _LOG, "OrderPaid", more_than_a_batch[:1])  # has to wait for the one before it

    world.start("order")

    def only_the_unknown_are_left() -> bool:
        left = {row["event_type"]: row["n"] for row in world.rows("orders", _LEFT)}
        assert left == {"OrderShipped": 600, "OrderPaid": 1}
        return True

    until(only_the_unknown_are_left, what="the relay has published what it knows")
    assert world.processes["order"].poll() is None
    assert "a newer version's" in world.log("order")
    assert replayed(world) == 2


def replayed(world: World) -> int:
    """How many events of the order service's log were published again."""
    answer = http.client(timeout=10).post(
        f"http://127.0.0.1:{world.ports['order']}/events/replay",
        json={"since": "2020-01-01T00:00:00Z"},
        headers={"Authorization": f"Bearer {world.env['SAGA_INTERNAL_TOKEN']}"},
    )
    assert answer.status_code == 200, answer.text
    return int(answer.json()["replayed"])
