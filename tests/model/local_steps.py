"""Local steps: the order service runs them in a workflow task, whose end alone makes them part of the history."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.activations import Asked, Done
from tests.model.services import Memories, Service
from tests.model.state import Copy, Label, Memory, Slot, Store, Temporal
from tests.model.steps import Draft, places, with_memory
from tests.model.temporal_activities import Activities


class LocalSteps:
    """What a workflow task does between its beginning and its end, and what cuts it short."""

    def __init__(self, workflows: Activities, orders: Service) -> None:
        self._workflows = workflows
        self._orders = orders

    def steps(self, temporal: Temporal, store: Store, memories: Memories) -> Iterator[Draft]:
        """A local step commits. Then the task goes on with its answer, or the answer comes too late for the task."""
        if temporal.task is None:
            return
        for asked in self._workflows.runs[temporal.task].local:
            for place in places(memories):
                done, after, memory = self._run(asked, store, memories[place])
                sets = {Slot.ORDERS: after, Slot.ORDER_MEMORY: with_memory(memories, place, memory)}
                on = self._workflows.comes_to(temporal, self._workflows.runs.go_on(temporal.task, (done,)))
                yield Draft(Label("local step", "order", detail=asked.activity), {**sets, Slot.TEMPORAL: on})
                yield Draft(Label("step in vain", "order", detail=asked.activity), sets).at_a_cost("incomplete")

    def _run(self, asked: Asked, store: Store, memory: Memory) -> tuple[Done, Store, Memory]:
        activity = self._workflows.activity(asked.activity, asked.argument)
        if activity.number is None:
            return self._workflows.read(activity, store, Store()), store, memory
        return self._workflows.order_step(activity, store, memory)

    def cut_short(self, temporal: Temporal, memories: Memories) -> Iterator[Draft]:
        """The task is lost, with all that it learned. The commits of its local steps stay."""
        if temporal.task is None:
            return
        lost = {Slot.TEMPORAL: temporal._replace(task=None, taken=0)}
        yield Draft(Label("lose the task", "workflow"), lost).at_a_cost("incomplete")
        for place in places(memories):
            back = [(Slot.ORDER_QUEUE, Copy(each.number, each.attempt)) for each in memories[place].held]
            dead = {**lost, Slot.ORDER_MEMORY: with_memory(memories, place, Memory())}
            yield Draft(Label("crash", "order", detail="in a task"), dead, puts=back).at_a_cost("crashes")
