"""Compare a workflow's timeline with the one of the event logs, which may lack removed events; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from models.saga import derived_id

_BEYOND_DOUBT: Final = ("eventId", "eventType", "at", "actor", "summary")  # fields that depend on no other entry


@dataclass(frozen=True, kw_only=True)
class RemovedUntil:
    """The times up to which each service may have removed events; None: it has removed none."""

    orders: datetime | None
    payments: datetime | None

    def may_have(self, entry: Mapping[str, Any], logged: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether this entry may have been removed: the log has no entry of that service that is as old."""
        until = self.orders if entry["actor"] == "order-service" else self.payments
        if until is None or _at(entry) > until:
            return False
        return all(other["actor"] != entry["actor"] or _at(other) > _at(entry) for other in logged.values())


def difference_of(told: Mapping[str, Any], logged: Mapping[str, Any], removed: RemovedUntil) -> str | None:
    """How a workflow's timeline differs from the one of the event logs; None if there is no unexplained difference."""
    there, here = _by_event(told), _by_event(logged)
    if missing := [entry["eventType"] for event_id, entry in here.items() if event_id not in there]:
        return f"it lacks {', '.join(missing)}"
    unknown = [entry for event_id, entry in there.items() if event_id not in here]
    ours = [entry for entry in unknown if not _is_a_strangers(entry, here, UUID(told["orderId"]))]
    if unexplained := [entry["eventType"] for entry in ours if not removed.may_have(entry, here)]:
        return f"it tells {', '.join(unexplained)}, which no event log has"
    entries = [entry for entry in told.get("entries", ()) if entry["eventId"] in here]
    # Elapsed times, statuses and names of causes depend on earlier entries, so they differ if those are removed.
    alike = entries == logged["entries"] if not unknown else _in_short(entries) == _in_short(logged["entries"])
    if not alike:
        return "it has the events of the logs, but in another order, more than once, or with other words"
    return None


def _is_a_strangers(entry: Mapping[str, Any], logged: Mapping[str, Mapping[str, Any]], order_id: UUID) -> bool:
    """Whether somebody else may have published this event. Mirrors show such events, and no service logs them.

    Our own events are recognised by their ids. A payment event that the order answered may be a stranger's. An order
    event that the payment answered may not, because money has moved for it.
    """
    answered = {str(other["cause"]["causationId"]) for other in logged.values() if other["actor"] != entry["actor"]}
    if entry["actor"] == "order-service":
        return not _is_ours(entry, order_id) and str(entry["eventId"]) not in answered
    return not _is_ours(entry, order_id) or str(entry["eventId"]) in answered


def _is_ours(entry: Mapping[str, Any], order_id: UUID) -> bool:
    """Whether the event has the id that our services would give it."""
    cause = entry["cause"]["causationId"]
    name = str(entry["eventType"])
    return cause is not None and str(entry["eventId"]) == str(derived_id(order_id, name, str(cause)))


def _in_short(entries: Any) -> list[list[Any]]:
    return [[entry[name] for name in _BEYOND_DOUBT] for entry in entries]


def _by_event(timeline: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {str(entry["eventId"]): entry for entry in timeline.get("entries", ())}


def _at(entry: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])
