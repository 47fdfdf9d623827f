"""Define the facts by which Temporal can search for sagas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from models.lifecycle import OrderStatus
from models.message_types import EventType
from models.messages import Envelope
from models.money import MAX_TOTAL
from models.saga import Coordinator
from models.texts import plain
from workflows.timeline import Timeline

ORDER_STATUS: Final = SearchAttributeKey.for_keyword("OrderStatus")
PAYMENT_STATUS: Final = SearchAttributeKey.for_keyword("PaymentStatus")
COORDINATOR: Final = SearchAttributeKey.for_keyword("Coordinator")
CUSTOMER_ID: Final = SearchAttributeKey.for_keyword("CustomerId")
TOTAL: Final = SearchAttributeKey.for_int("Total")  # minor units
CANCEL_REASON: Final = SearchAttributeKey.for_keyword("CancelReason")
NEEDS_OPERATOR: Final = SearchAttributeKey.for_bool("NeedsOperator")

ALL: Final[tuple[SearchAttributeKey[Any], ...]] = (
    ORDER_STATUS,
    PAYMENT_STATUS,
    COORDINATOR,
    CUSTOMER_ID,
    TOTAL,
    CANCEL_REASON,
    NEEDS_OPERATOR,
)
_LONGEST: Final = 200  # characters; other services may write what they like


def attributes(
    timeline: Timeline, events: Iterable[Envelope], *, needs_operator: bool = False
) -> TypedSearchAttributes:
    """The attributes of a saga by its events and their timeline. Unknown facts are left out."""
    payloads: dict[str, Mapping[str, Any]] = {event.event_type: event.payload for event in events}
    created, cancelled = payloads.get(EventType.ORDER_CREATED, {}), payloads.get(EventType.ORDER_CANCELLED, {})
    total = created.get("total")
    if isinstance(total, float) and total.is_integer():
        total = int(total)  # the original services send JavaScript numbers
    pairs: list[SearchAttributePair[Any] | None] = [
        _keyword(ORDER_STATUS, timeline.order_status),
        _keyword(PAYMENT_STATUS, timeline.payment_status),
        _keyword(COORDINATOR, timeline.coordinator),
        _keyword(CUSTOMER_ID, created.get("userId")),
        SearchAttributePair(TOTAL, total) if type(total) is int and 0 < total <= MAX_TOTAL else None,
        _keyword(CANCEL_REASON, cancelled.get("reason")),
        SearchAttributePair(NEEDS_OPERATOR, needs_operator),
    ]
    return TypedSearchAttributes([pair for pair in pairs if pair is not None])


def of_new_order(user_id: str, total: int, coordinator: Coordinator) -> TypedSearchAttributes:
    """The attributes of a saga before its first event."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(ORDER_STATUS, OrderStatus.PENDING_PAYMENT.value),
            SearchAttributePair(COORDINATOR, coordinator.value),
            SearchAttributePair(CUSTOMER_ID, user_id),
            SearchAttributePair(TOTAL, total),
            SearchAttributePair(NEEDS_OPERATOR, False),
        ]
    )


def updates(current: TypedSearchAttributes, wanted: TypedSearchAttributes) -> list[SearchAttributeUpdate[Any]]:
    """The upserts that turn `current` into `wanted`. No attribute is ever removed."""
    return [pair.key.value_set(pair.value) for pair in wanted if current.get(pair.key) != pair.value]


def _keyword(key: SearchAttributeKey[str], value: object) -> SearchAttributePair[str] | None:
    return SearchAttributePair(key, plain(str(value)[:_LONGEST])) if value else None
