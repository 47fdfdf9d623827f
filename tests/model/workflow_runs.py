"""Run the real workflows without a server: give a run what has happened, and see what it waits for then.

A run is nothing but its history, as in Temporal itself: to go on from any point of it, it is played again. Histories
that differ only in the order of what happened, and that ask for the same and tell the same, are taken for one run;
`Runs.contradictions` tries whether they also go on alike.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec
from temporalio import workflow

from tests.model.activations import Asked, Input, Instance, Signal

_played: dict[tuple[Any, ...], Run] = {}  # in whatever world


@dataclass(frozen=True, kw_only=True)
class Run:
    """How far a run has come. `ended` is None, completed, failed or wedged. `told` is the answer of its queries."""

    name: str
    argument: bytes
    history: tuple[tuple[Input, ...], ...]
    asked: Mapping[Asked, int]  # with the sequence numbers by which the workflow knows them
    local: Mapping[Asked, int]  # what its present workflow task asks for, and has to have before it can end
    timers: Mapping[str, int]
    told: tuple[bytes, ...]
    ended: str | None = None
    result: bytes = b""

    @property
    def key(self) -> tuple[Any, ...]:
        happened = Counter(each for inputs in self.history for each in inputs if not _is_idempotent(each))
        heard = {each for inputs in self.history for each in inputs if _is_idempotent(each)}
        news = frozenset(msgspec.json.encode(event) for each in heard for event in msgspec.json.decode(each.argument))
        waits = frozenset(self.asked), frozenset(self.local), frozenset(self.timers)
        return self.name, self.argument, frozenset(happened.items()), news, waits, self.ended, self.told


class Runs:
    """All runs that the model has seen of some workflows, by number."""

    def __init__(self, workflows: Sequence[type[Any]]) -> None:
        self._definitions = {}
        for each in workflows:
            definition = workflow._Definition.must_from_class(each)
            self._definitions[str(definition.name)] = definition
        self._loop = asyncio.new_event_loop()
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._runs: list[Run] = []
        self._next: dict[tuple[int, tuple[Input, ...]], int] = {}
        self._merged: list[tuple[Run, int]] = []

    def __getitem__(self, number: int) -> Run:
        return self._runs[number]

    def begin(self, name: str, argument: bytes, inputs: tuple[Input, ...] = ()) -> int:
        """A new run that finds these signals with its start, after its first workflow task."""
        return self.go_on(self.fresh(name, argument), inputs)

    def fresh(self, name: str, argument: bytes) -> int:
        """A new run before its first workflow task."""
        return self._number(Run(name=name, argument=argument, history=(), asked={}, local={}, timers={}, told=()))

    def go_on(self, number: int, inputs: tuple[Input, ...]) -> int:
        """The run after it has learned all of these at once: in a workflow task, or what a local activity answers."""
        if (number, inputs) not in self._next:
            self._next[number, inputs] = self._number(self._play(self._runs[number], inputs))
        return self._next[number, inputs]

    @property
    def merged(self) -> int:
        """The number of histories that were taken for another one."""
        return len(self._merged)

    def contradictions(self) -> list[tuple[Run, tuple[Input, ...]]]:
        """Histories that were taken for one, but go on differently after the same news."""
        followed: dict[int, list[tuple[tuple[Input, ...], int]]] = {}
        for (number, inputs), then in self._next.items():
            followed.setdefault(number, []).append((inputs, then))
        return [
            (run, inputs)
            for run, number in self._merged
            for inputs, then in followed.get(number, ())
            if self._play(run, inputs).key != self._runs[then].key
        ]

    def _number(self, run: Run) -> int:
        found = self._numbers.get(run.key)
        if found is None:
            found = self._numbers[run.key] = len(self._runs)
            self._runs.append(run)
        elif run.history != self._runs[found].history:
            self._merged.append((run, found))
        return found

    def _play(self, run: Run, inputs: tuple[Input, ...]) -> Run:
        """Play the history in a fresh instance, and then the news in one activation. Repeated calls play nothing."""
        history = (*run.history, inputs)
        what = self._definitions[run.name].cls, run.argument, history
        if what not in _played:
            _played[what] = self._play_anew(run, history)
        return _played[what]

    def _play_anew(self, run: Run, history: tuple[tuple[Input, ...], ...]) -> Run:
        instance = Instance(self._definitions[run.name], run.argument, self._loop)
        try:
            for inputs in history:
                instance.learn(inputs)
            return Run(
                name=run.name,
                argument=run.argument,
                history=history,
                asked={} if instance.ended else instance.asked,
                local={} if instance.ended else instance.local,
                timers={} if instance.ended else instance.timers,
                told=() if instance.ended == "wedged" else instance.told(),
                ended=instance.ended,
                result=instance.result,
            )
        finally:
            instance.forget()


def _is_idempotent(happened: Input) -> TypeGuard[Signal]:
    """Whether the signal has a list of events. Hearing such a signal twice is the same as hearing it once."""
    return isinstance(happened, Signal) and happened.argument.startswith(b"[")
