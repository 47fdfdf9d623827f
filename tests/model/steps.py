"""Describe a step of the world by the values it leaves, before they are numbered."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tests.model.state import Copy, Kind, Label, Memory, Slot

Each = TypeVar("Each")


class Draft(NamedTuple):
    """`sends` go to all bound queues, `puts` into one queue, `buries` are dead letters with their reasons."""

    label: Label
    sets: Mapping[Slot, Hashable] = {}
    sends: Sequence[int] = ()
    puts: Sequence[tuple[Slot, Copy]] = ()
    buries: Sequence[tuple[Slot, int, str]] = ()
    kind: Kind = Kind.PROGRESS
    cost: str | None = None

    def at_a_cost(self, cost: str, kind: Kind = Kind.FAULT) -> Draft:
        """The step at the cost of some budget."""
        return self._replace(kind=kind, cost=cost)


def without(values: tuple[Each, ...], one: Each) -> tuple[Each, ...]:
    """The bag without one copy of this value."""
    place = values.index(one)
    return values[:place] + values[place + 1 :]


def bag(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values in a canonical order."""
    return tuple(sorted(values, key=repr))


def places(memories: tuple[Memory, ...]) -> list[int]:
    """One instance of every set of equal ones, since these are interchangeable."""
    return [place for place, memory in enumerate(memories) if memory not in memories[:place]]


def with_memory(memories: tuple[Memory, ...], place: int, memory: Memory) -> tuple[Memory, ...]:
    """The instances of a service after one of them has changed."""
    if len(memories) == 1:
        return (memory,)
    return bag([*memories[:place], memory, *memories[place + 1 :]])
