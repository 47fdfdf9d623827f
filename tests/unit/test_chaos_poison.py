"""tests.chaos.poison expects each poisonous message among the dead letters, and no other message there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from choreography.dead_letters import SERVICES, DeadLetterRecord
from choreography.topology import MIRROR_QUEUE
from tests.chaos.poison import Dose, Poison, kinds
from tests.chaos.system import POISONS, TOPOLOGY

BODY = b"poison"


def letter(queue: str, body: bytes = BODY, reason: str = "MALFORMED") -> DeadLetterRecord:
    return DeadLetterRecord(
        id="1",
        queue=queue,
        reason=reason,
        error="why",
        attempts=1,
        exchange="orders.exchange",
        routing_key="order.created",
        first_failed_at=None,
        failed_at=None,
        event_type=None,
        event_id=None,
        order_id=None,
        body=body,
    )


@pytest.fixture
def poison() -> Poison:
    poison = Poison("amqp://127.0.0.1:1/", TOPOLOGY)
    poison.doses.append(Dose(name="half a message", body=BODY, services=["payment-service", "saga-mirror"]))
    return poison


def test_every_service_is_sent_something_by_every_way() -> None:
    for service in SERVICES:
        assert f"half a message into {service}" in POISONS
        assert f"half a message among the dead letters of {service}" in POISONS
    assert "half a message by order.created" in POISONS


def test_poison_that_is_a_dead_letter_in_every_queue_is_accounted_for_and_copies_count_once(poison: Poison) -> None:
    letters = [letter("payment-service"), letter("saga-mirror"), letter("saga-mirror")]
    assert list(poison.unaccounted(letters)) == []
    assert all(map(poison.holds, letters))


def test_poison_that_is_lost_in_one_queue_is_found(poison: Poison) -> None:
    assert list(poison.unaccounted([letter("saga-mirror")])) == [
        "half a message is not among the dead letters of payment-service"
    ]


def test_poison_among_the_dead_letters_of_another_queue_is_found(poison: Poison) -> None:
    letters = [letter("payment-service"), letter("saga-mirror"), letter("order-service")]
    assert list(poison.unaccounted(letters)) == [
        "something that was sent elsewhere is a dead letter of order-service: why"
    ]


@pytest.mark.parametrize(("reason", "findings"), [("REDELIVERED", 1), ("MALFORMED", 1), ("TOO_EARLY", 0)])
def test_a_message_of_ours_that_was_set_aside_for_the_sake_of_another_is_found(
    poison: Poison, reason: str, findings: int
) -> None:
    ours = letter("order-service", b"ours", reason)
    assert not poison.holds(ours)
    assert len(list(poison.unaccounted([letter("payment-service"), letter("saga-mirror"), ours]))) == findings


def test_poison_by_an_event_never_reaches_mirrors_that_hear_of_late_events_alone() -> None:
    late = dict(kinds(replace(TOPOLOGY, only_late=True)))
    assert tuple(late) == POISONS
    for name, (_, way) in late.items():
        assert (MIRROR_QUEUE in way.services) == (MIRROR_QUEUE in name)
