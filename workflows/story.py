"""Tell how a saga stands: as Markdown for people in the Temporal UI, and as a status for programs; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.messages import Envelope
from workflows.timeline import Cause, Entry, Timeline

_LONGEST: Final = 300  # characters of one sentence; a reason may come from anywhere


def story(
    timeline: Timeline, *, waiting_for: str | None = None, alarm: str | None = None, unknown: Sequence[str] = ()
) -> str:
    """The saga's state, what it waits for, and a list of what has happened. An alarm comes first.

    `unknown` are the types of ignored events.
    """
    parts = [f"> **An operator must look:** {_plain(alarm)}"] if alarm else []
    parts.append(_standing(timeline))
    if waiting_for:
        parts.append(f"Waiting for {_plain(waiting_for)}.")
    parts.append(_list(timeline) if timeline.entries else "Nothing has been heard of this order yet.")
    if unknown:
        parts.append(f"Ignored events of unknown types: {', '.join(map(_plain, unknown))}.")
    return "\n\n".join(parts) + "\n"


def status(
    timeline: Timeline, cancelled: Envelope | None, *, waiting_for: str | None, alarm: str | None
) -> dict[str, Any]:
    """The saga's status for a program. Workflows answer it to the query `status`."""
    return {
        "orderId": timeline.order_id,
        "orderStatus": timeline.order_status,
        "paymentStatus": timeline.payment_status,
        "cancelReason": cancelled.payload.get("reason") if cancelled else None,
        "over": timeline.over,
        "waitingFor": waiting_for,
        "needsOperator": alarm is not None,
    }


def headline(order_created: Mapping[str, Any] | None, order_id: object) -> str:
    """One line that tells sagas apart in a list, made of the payload of OrderCreated if that is known."""
    if order_created is None:
        return f"Order {order_id}"
    total, currency = order_created.get("total"), order_created.get("currency") or "USD"
    customer = str(order_created.get("userId"))
    return f"{_plain(total)} {_plain(currency)} · customer {_plain(customer[:8])}…"


def _standing(timeline: Timeline) -> str:
    order, payment = timeline.order_status or "not heard of", timeline.payment_status or "not settled"
    end = "over" if timeline.over else "under way"
    return f"**Order {order}, payment {payment}**: {end}, coordinated by {timeline.coordinator or 'nobody known'}."


def _list(timeline: Timeline) -> str:
    # A list, because the UI's pane is too narrow for a table.
    return "\n".join(map(_item, timeline.entries))


def _item(entry: Entry) -> str:
    cause = _because_of(entry.cause)
    told = f"{entry.actor.replace('-', ' ')}, because of {cause}" if cause else entry.actor.replace("-", " ")
    return f"1. **+{elapsed(entry.elapsed_ms)}** {_plain(entry.summary)} *({told})*"


def elapsed(milliseconds: int) -> str:
    """A duration as people say it: 250 ms, 1.5 s, 15 min 0 s, 2 h 5 min."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _because_of(cause: Cause) -> str:
    return _plain(cause.name or cause.id or "")


def _plain(value: object) -> str:
    """Text from outside, on one line, of bounded length, with its Markdown escaped."""
    text = " ".join(str(value).split())
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    for sign in "\\|*`<[":
        text = text.replace(sign, "\\" + sign)
    return text
