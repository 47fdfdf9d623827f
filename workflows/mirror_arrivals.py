"""Hold what has arrived for the mirrors, by order, until it is told."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_LARGEST_SIGNAL: Final = 1024 * 1024  # bytes; Temporal takes two million


class Arrivals(Generic[Item]):
    """Items by order, the longest-waiting order first. An order's items are gathered for `gather` seconds."""

    def __init__(self, *, gather: float) -> None:
        self._gather = gather
        self._arrived: dict[str, list[tuple[Item, int]]] = {}
        self._ripe_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._ripe_at)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._ripe_at

    @property
    def first(self) -> tuple[str, float] | None:
        """The longest-waiting order, and the time from which its items may be told."""
        return next(iter(self._ripe_at.items()), None)

    def firsts(self) -> Iterator[Item]:
        """What arrived first for each order, the longest-waiting order's first."""
        return (items[0][0] for items in self._arrived.values())

    def of(self, order_id: str) -> list[Item]:
        """The items that have arrived for this order so far."""
        return [item for item, _ in self._arrived[order_id]]

    def add(self, order_id: str, item: Item, *, size: int, now: float) -> None:
        """Add an item of `size` bytes that arrived at `now`, on the event loop's clock."""
        self._arrived.setdefault(order_id, []).append((item, size))
        self._ripe_at.setdefault(order_id, now + self._gather)

    def clear(self) -> None:
        self._arrived.clear()
        self._ripe_at.clear()

    def besides(self, others: Container[str]) -> Iterator[tuple[str, float]]:
        """The orders that are not in `others`, each with the time from which its items may be told."""
        return ((order_id, ripe) for order_id, ripe in self._ripe_at.items() if order_id not in others)

    def take(self, order_id: str) -> list[Item]:
        """Remove and return an order's items, as many as fit into a signal. The others stay, and may be told next."""
        arrived, ripe_at = self._arrived.pop(order_id), self._ripe_at.pop(order_id)
        size, fitting = 0, 0
        while fitting < len(arrived) and size + arrived[fitting][1] <= _LARGEST_SIGNAL:
            size += arrived[fitting][1]
            fitting += 1
        if rest := arrived[fitting:]:
            self._arrived[order_id], self._ripe_at[order_id] = rest, ripe_at
        return [item for item, _ in arrived[:fitting]]
