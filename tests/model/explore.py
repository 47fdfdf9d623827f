"""Explore every state of a world breadth-first, so that the first violation has the shortest trace."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from structlog.testing import capture_logs

from tests.model.invariants import Broken, Invariants
from tests.model.state import Kind, Move, State
from tests.model.world import World


@dataclass(frozen=True, kw_only=True)
class Violation:
    """The broken invariant, and the shortest way to it."""

    broken: Broken
    trace: tuple[tuple[Move, State], ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was explored. `exhaustive` is False if a violation or the limit of states ended the search early."""

    states: int
    transitions: int
    rests: int
    depth: int
    seconds: float  # of processor time
    exhaustive: bool
    violation: Violation | None = None
    at_rest: frozenset[Any] = field(default_factory=frozenset)  # what the runs have left, as `World.left` compares it


class Explorer:
    """Breadth-first search over one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._invariants = Invariants(world)
        self._seen: dict[State, int] = {}
        self._parents = array("i")
        self._transitions = 0
        self._resting = array("i")
        self._left: set[Any] = set()
        # For each state, those from which a move leads to it that is sure to happen: a list linked through `_older`.
        self._newest = array("i")
        self._older = array("i")
        self._whence = array("i")

    def run(self, limit: int | None = None) -> Report:
        """Explore until nothing is new, an invariant is broken, or the limit of states is passed."""
        began = time.process_time()
        with capture_logs():  # what the ledger logs about messages that change nothing
            depth, broken, exhaustive = self._search(limit)
            if broken is None and exhaustive:
                broken = self._endless()
            violation = None if broken is None else self._violation(*broken)
        return Report(
            states=len(self._seen),
            transitions=self._transitions,
            rests=len(self._resting),
            depth=depth,
            seconds=time.process_time() - began,
            exhaustive=exhaustive and violation is None,
            violation=violation,
            at_rest=frozenset(self._left),
        )

    def _search(self, limit: int | None) -> tuple[int, tuple[Broken, State] | None, bool]:
        start = self._world.start()
        self._see(start, -1)
        frontier, depth = [start], 0
        while frontier:
            found: list[State] = []
            for state in frontier:
                broken = self._expand(state, found)
                if broken is not None:
                    return depth, broken, False
            if limit is not None and len(self._seen) > limit:
                return depth, None, False
            frontier, depth = found, depth + 1
        return depth - 1, None, True

    def _see(self, state: State, parent: int) -> int:
        number = self._seen[state] = len(self._parents)
        self._parents.append(parent)
        self._newest.append(-1)
        return number

    def _expand(self, state: State, found: list[State]) -> tuple[Broken, State] | None:
        me = self._seen[state]
        seen, after, progress = self._seen, self._world.after, False
        for move in self._world.moves_of(state):
            new = after(state, move)
            if new is None:
                continue
            self._transitions += 1
            number = seen.get(new)
            if number is None:
                number = self._see(new, me)
                broken = self._invariants.broken(new)
                if broken is not None:
                    return broken, new
                found.append(new)
            if move.kind is Kind.PROGRESS and number != me:
                progress = True
                self._older.append(self._newest[number])
                self._newest[number] = len(self._whence)
                self._whence.append(me)
        return None if progress else self._rest(state, me)

    def _rest(self, state: State, me: int) -> tuple[Broken, State] | None:
        self._resting.append(me)
        self._left.add(self._world.left(state))
        broken = self._invariants.broken_at_rest(state)
        return None if broken is None else (broken, state)

    def _endless(self) -> tuple[Broken, State] | None:
        """The nearest state from which no fair run comes to rest."""
        ends = bytearray(len(self._parents))
        waiting = list(self._resting)
        for number in waiting:
            ends[number] = 1
        while waiting:
            edge = self._newest[waiting.pop()]
            while edge != -1:
                whence = self._whence[edge]
                if not ends[whence]:
                    ends[whence] = 1
                    waiting.append(whence)
                edge = self._older[edge]
        number = ends.find(0)
        if number == -1:
            return None
        return Broken(invariant="end", why="from here on nothing leads to an end"), list(self._seen)[number]

    def _violation(self, broken: Broken, state: State) -> Violation:
        states = list(self._seen)
        path = [state]
        while (parent := self._parents[self._seen[path[-1]]]) != -1:
            path.append(states[parent])
        path.reverse()
        trace = tuple((self._step(before, then), then) for before, then in pairwise(path))
        return Violation(broken=broken, trace=trace)

    def _step(self, before: State, then: State) -> Move:
        return next(move for move in self._world.moves_of(before) if self._world.after(before, move) == then)
