"""Hold back the events of a compensation that may soon be done, so that a saga that is soon over gets no mirror."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from models.message_types import EventType
from workflows.mirror_arrivals import Arrivals

Item = TypeVar("Item")

# With these events a saga is over. One whose payment was voided is not: its charge may still be under way.
_OVER: Final = frozenset({EventType.ORDER_CANCELLED, EventType.PAYMENT_REFUNDED})
_REMEMBERED: Final = 10_000  # sagas without a mirror, whose events may come once more


class Patience(Generic[Item]):
    """Holds the events of young sagas for `after` seconds from their cancellation, for at most `most` orders.

    A saga is held only from its cancellation on, and only if no mirror can know any of its events. Else a mirror may
    exist, and must be told the others. `event_of` gives an item's event in wire form.
    """

    def __init__(self, *, after: float, most: int, event_of: Callable[[Item], dict[str, Any]]) -> None:
        self._most = most
        self._event_of = event_of
        self._held: Arrivals[Item] = Arrivals(gather=after)
        self._left_out: OrderedDict[str, set[str]] = OrderedDict()

    def clear(self) -> None:
        self._held.clear()

    @property
    def ripe_at(self) -> float | None:
        """The time at which the longest-held saga must be told, on the event loop's clock."""
        return first[1] if (first := self._held.first) is not None else None

    def holds(self, order_id: str, item: Item, *, size: int, untold: bool, now: float) -> bool:
        """Whether this event is held. `untold` says that no mirror can know it, nor any before it."""
        begins = self._event_of(item)["eventType"] == EventType.ORDER_CANCELLED
        if not untold or not (begins or order_id in self._held):
            return False
        self._held.add(order_id, item, size=size, now=now)
        return True

    def is_known(self, order_id: str, item: Item) -> bool:
        """Whether this is a copy of an event whose saga has just ended without a mirror."""
        return self._event_of(item)["eventId"] in self._left_out.get(order_id, ())

    def over(self, order_id: str) -> Sequence[Item]:
        """All held items of this saga, if it is over. It then gets no mirror."""
        events = [self._event_of(item) for item in self._held.of(order_id)]
        if {event["eventType"] for event in events} != _OVER:
            return ()
        self._left_out[order_id] = {str(event["eventId"]) for event in events}
        if len(self._left_out) > _REMEMBERED:
            self._left_out.popitem(last=False)
        return self._held.take(order_id)

    def released(self, now: float, *, order_id: str | None = None) -> Iterator[tuple[str, list[Item]]]:
        """The sagas to tell now: those held long enough, the longest-held ones beyond `most`, and `order_id`."""
        if order_id is not None and order_id in self._held:
            yield order_id, self._held.take(order_id)
        while (first := self._held.first) is not None and (first[1] <= now or len(self._held) > self._most):
            yield first[0], self._held.take(first[0])
