"""Decide what an open mirror waits for, and until when; pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, assert_never

from models.lifecycle import OrderStatus, PaymentStatus
from models.message_types import EventType
from models.times import wire_time
from workflows.mirror_record import MirrorRecord

_MOST_DOUBLINGS: Final = 10


class Watch(Enum):
    """What an open mirror waits for."""

    PAYMENT = auto()  # until the payment is settled
    COMPENSATION = auto()  # until a refund or void is confirmed
    QUIET = auto()  # for the refund of a charge that may have been under way when its payment was cancelled
    EVENTS = auto()  # for events that are still missing; nothing happens at a deadline but a look into the event logs


# Alarms: what an operator is to do about a saga that no step of ours ends.
KEPT: Final = (
    "the payment was approved, and then cancelled as if nothing had been charged: its money is with another payment "
    "service; import that one's payments"
)
# An original order service takes no steps: these are left to whoever looks.
NO_STEPS: Final = {
    Watch.PAYMENT: "the payment is not settled in time, and an original order service knows no time-out: cancel it",
    Watch.COMPENSATION: "the payment is not compensated in time, and an original order service repeats nothing",
}


def watch_of(record: MirrorRecord, *, cancel_asked: bool, alarmed: bool, quiet: bool) -> Watch | None:
    """What the mirror waits for next; None if the saga is over and all its events are known."""
    timeline = record.timeline
    unsettled = timeline.order_status is OrderStatus.PENDING_PAYMENT and timeline.payment_status is None
    if unsettled and not (cancel_asked or alarmed):
        return Watch.PAYMENT
    if record.uncompensated and not alarmed:
        return Watch.COMPENSATION
    if not record.complete or record.kept:
        return Watch.EVENTS
    if timeline.payment_status is PaymentStatus.CANCELLED and not quiet:
        return Watch.QUIET
    return None


def deadline_of(
    watch: Watch,
    record: MirrorRecord,
    *,
    now: datetime,
    payment_timeout: timedelta,
    compensation_timeout: timedelta,
    may_ask_again: bool,
    next_try: datetime | None,
    looks: int | None,
) -> tuple[datetime | None, str]:
    """The deadline of a wait, and what is waited for, in words.

    The deadline counts from the event that began the wait, so an outage doesn't extend it. `looks` is how often a
    mirror that may have missed events has looked into the event logs for them: it looks again after growing pauses.
    Other mirrors have None, and wait for events without a deadline.
    """

    def since(event_type: EventType) -> datetime:
        event = record.last(event_type)
        # An event from the future only shows that a clock is wrong.
        return min(event.occurred_at, now) if event else now

    match watch:
        case Watch.PAYMENT:
            deadline = since(EventType.ORDER_CREATED) + payment_timeout
            return deadline, f"the payment, until {wire_time(deadline)}: then the order is cancelled"
        case Watch.COMPENSATION:
            deadline = next_try or since(EventType.ORDER_CANCELLED) + compensation_timeout
            what_then = "it is asked for again" if may_ask_again else "an operator must look"
            return deadline, f"the refund or void, until {wire_time(deadline)}: then {what_then}"
        case Watch.QUIET:
            deadline = since(EventType.PAYMENT_CANCELLED) + compensation_timeout
            return deadline, f"a refund of what was under way, until {wire_time(deadline)}: then all is done"
        case Watch.EVENTS:
            what = "events that are still to come"
            if looks is None:
                return None, what
            return now + compensation_timeout * (1 << min(looks, _MOST_DOUBLINGS)), what
        case _ as never:
            assert_never(never)
