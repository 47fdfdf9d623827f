"""What a mirror and a sweep know of original services: which events never come, and which steps nobody takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from models.lifecycle import OrderStatus
from models.messages import Envelope, wire_form
from models.originals import Originals, ServiceName
from tests.support.events import (
    APPROVED,
    CANCELLED_AS_DECLINED,
    CANCELLED_BY_USER,
    CREATED,
    DECLINED,
    FAILED,
    PAID,
    PAYMENT_CANCELLED,
    REFUNDED,
)
from workflows.mirror_record import MirrorRecord, MirrorState
from workflows.mirror_watch import Watch, watch_of
from workflows.sweep import Part, Sweep, is_possible
from workflows.timeline import build

ORDER: Originals = frozenset({ServiceName.ORDER})
PAYMENT: Originals = frozenset({ServiceName.PAYMENT})
BOTH = ORDER | PAYMENT


def record(events: Sequence[Envelope], originals: Originals) -> MirrorRecord:
    return MirrorRecord(map(wire_form, events), originals=sorted(originals))


def watched(events: Sequence[Envelope], originals: Originals) -> Watch | None:
    return watch_of(record(events, originals), cancel_asked=False, alarmed=False, quiet=False)


@pytest.mark.parametrize(
    ("originals", "events", "status"),
    [
        (ORDER, [CREATED, APPROVED], "PAID"),
        (ORDER, [CREATED, FAILED], "FAILED"),
        (ORDER, [CREATED, DECLINED, CANCELLED_AS_DECLINED], "FAILED"),
        (ORDER, [CREATED, APPROVED, CANCELLED_BY_USER, REFUNDED], "CANCELLED"),
        (PAYMENT, [CREATED, APPROVED, PAID], "PAID"),
        (PAYMENT, [CREATED, DECLINED, CANCELLED_AS_DECLINED], "CANCELLED"),
        (PAYMENT, [CREATED, CANCELLED_BY_USER], "CANCELLED"),
        (PAYMENT, [CREATED, APPROVED, PAID, CANCELLED_BY_USER], "CANCELLED"),
        (BOTH, [CREATED, APPROVED], "PAID"),
        (BOTH, [CREATED, DECLINED], "FAILED"),
        (BOTH, [CREATED, APPROVED, CANCELLED_BY_USER], "CANCELLED"),
        (BOTH, [CREATED, CANCELLED_BY_USER], "CANCELLED"),
    ],
)
def test_47_a_mirror_closes_without_the_events_that_original_services_never_send(
    originals: Originals, events: list[Envelope], status: str
) -> None:
    timeline = record(events, originals).timeline
    assert (timeline.order_status, timeline.over, watched(events, originals)) == (status, True, None)


@pytest.mark.parametrize(
    ("originals", "events", "watch"),
    [
        (ORDER, [CREATED], Watch.PAYMENT),
        (BOTH, [CREATED], Watch.PAYMENT),
        (ORDER, [APPROVED], Watch.EVENTS),
        (ORDER, [CREATED, APPROVED, CANCELLED_BY_USER], Watch.COMPENSATION),
        (ORDER, [CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED], Watch.QUIET),
        (PAYMENT, [CREATED, APPROVED], Watch.EVENTS),
    ],
)
def test_47_what_services_of_ours_still_tell_is_waited_for(
    originals: Originals, events: list[Envelope], watch: Watch
) -> None:
    assert watched(events, originals) is watch


def test_48_money_that_another_payment_service_has_captured_is_never_taken_for_cancelled() -> None:
    story = [CREATED, APPROVED, PAID, CANCELLED_BY_USER, PAYMENT_CANCELLED]
    assert (record(story, frozenset()).kept, watched(story, frozenset())) == (True, Watch.EVENTS)
    given_back = [*story, REFUNDED]
    assert (record(given_back, frozenset()).kept, watched(given_back, frozenset())) == (False, None)
    assert not record([CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED], frozenset()).kept


@pytest.mark.parametrize("events", [[CREATED, APPROVED], [CREATED, APPROVED, PAID, CANCELLED_BY_USER]])
def test_without_original_services_nothing_is_taken_for_granted(events: list[Envelope]) -> None:
    assert not build(events).over
    assert build(events).order_status is (OrderStatus.PENDING_PAYMENT if len(events) == 2 else OrderStatus.CANCELLED)


@pytest.mark.parametrize(
    ("originals", "parts"),
    [(frozenset(), [*Part]), (PAYMENT, [Part.OVERDUE]), (ORDER, []), (BOTH, [])],
)
def test_47_a_sweep_asks_nothing_of_original_services(originals: Originals, parts: list[Part]) -> None:
    assert [part for part in Part if is_possible(part, originals)] == parts


@pytest.mark.parametrize("kind", [MirrorState, Sweep])
def test_a_workflow_is_not_begun_with_a_service_that_nobody_knows(kind: Any) -> None:
    patience = dict.fromkeys(("payment_timeout", "compensation_timeout"), 1.0)
    if kind is Sweep:
        names = ("payment_timeout", "grace", "payment_patience", "compensation_patience")
        patience = dict.fromkeys(names, 1.0)
    kind(**patience, originals=["order", "payment"])
    with pytest.raises(ValueError, match="gateway"):
        kind(**patience, originals=["gateway"])
