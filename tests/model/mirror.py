"""The mirror of the choreographed saga is the real SagaMirror, told by the real SagaMirrors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from models.messages import wire_form
from models.saga import Coordinator
from tests.model.activations import Signal, data_of, value_of
from tests.model.messages import ORDER, Messages
from tests.model.rules import Discipline
from tests.model.state import Label, Queue, Slot, Temporal
from tests.model.steps import Draft, without
from tests.model.temporal import Workflows
from tests.model.workflow_runs import Run, Runs
from workflows.mirrors import SagaMirrors

_COMPENSATION_TIMEOUT = 7200.0  # seconds; longer than the services' clocks are apart


class Mirror:
    """The worker's part for the events in its queue."""

    def __init__(self, workflows: Workflows, messages: Messages, discipline: Discipline) -> None:
        self._workflows = workflows
        self._messages = messages
        self._discipline = discipline
        self._loop = asyncio.new_event_loop()
        self._told: dict[tuple[Temporal, tuple[int, ...]], list[Temporal]] = {}

    def feed(self, queue: Queue, temporal: Temporal) -> Iterator[Draft]:
        """`MirrorFeed` tells one event, or all that have arrived, in one call, and then acknowledges them."""
        numbers = sorted({copy.number for copy in queue.waiting})
        together = [tuple(numbers)] if len(numbers) > 1 else []
        for told in [*((each,) for each in numbers), *together]:
            rest = queue
            for copy in queue.waiting:
                rest = rest._replace(waiting=without(rest.waiting, copy)) if copy.number in told else rest
            for after in self._tell(temporal, told):
                yield Draft(Label("tell", "worker", told), {Slot.MIRROR_QUEUE: rest, Slot.TEMPORAL: after})
                if self._discipline.feed_tells_before_ack:
                    yield Draft(Label("tell in vain", "worker", told), {Slot.TEMPORAL: after}).at_a_cost("crashes")
            if not self._discipline.feed_tells_before_ack:
                yield Draft(Label("forget to tell", "worker", told), {Slot.MIRROR_QUEUE: rest}).at_a_cost("crashes")

    def _tell(self, temporal: Temporal, numbers: tuple[int, ...]) -> list[Temporal]:
        envelopes = [self._messages.envelope(number) for number in numbers]
        events = [wire_form(each) for each in envelopes if each.coordinator is not Coordinator.ORCHESTRATION]
        if not events:
            return [temporal]
        if (temporal, numbers) not in self._told:
            client = _Client(self._workflows.runs, temporal.run)
            mirrors = SagaMirrors(
                client,  # type: ignore[arg-type]
                payment_timeout=900.0,
                compensation_timeout=_COMPENSATION_TIMEOUT,
                beside=lambda: client,  # type: ignore[arg-type,return-value]
            )
            self._loop.run_until_complete(mirrors.record(str(ORDER), events))
            self._told[temporal, numbers] = self._obey(temporal, client)
        return self._told[temporal, numbers]

    def _obey(self, temporal: Temporal, client: _Client) -> list[Temporal]:
        if client.begins is None:  # else it knows that already
            return [*self._workflows.learns(temporal, client.signal)] if client.signal is not None else [temporal]
        if temporal.run is not None and not self._discipline.successor_inherits:
            client.begins.events.clear()
        signals = () if client.signal is None else (client.signal,)
        run = self._workflows.runs.begin("SagaMirror", data_of(client.begins), signals)
        return [self._workflows.is_at(run)]


class _Client:
    """The part of Temporal's client that SagaMirrors uses. It notes the requests, and refuses as the server does."""

    def __init__(self, runs: Runs, number: int | None) -> None:
        self._run = None if number is None else runs[number]
        self.signal: Signal | None = None
        self.begins: Any = None  # what a new run begins with, if there is to be one

    async def start_workflow(
        self,
        _run: object,
        state: Any,
        *,
        id_reuse_policy: WorkflowIDReusePolicy,
        start_signal: str = "",
        start_signal_args: Sequence[Any] = (),
        **_others: object,
    ) -> None:
        if self._run is not None and self._run.ended is None and not start_signal:
            raise WorkflowAlreadyStartedError("order", "SagaMirror")
        if self._run is None or self._run.ended is not None:
            if self._run is not None and _is_refused(id_reuse_policy, self._run.ended):
                raise WorkflowAlreadyStartedError("order", "SagaMirror")
            self.begins = state
        if start_signal:
            self.signal = Signal(start_signal, data_of(start_signal_args[0]))

    def get_workflow_handle(self, _workflow_id: str, **options: Any) -> _Handle:
        assert self._run is not None
        return _Handle(self._run, options.get("result_type", object))


def _is_refused(policy: WorkflowIDReusePolicy, ended: str | None) -> bool:
    match policy:
        case WorkflowIDReusePolicy.ALLOW_DUPLICATE:
            return False
        case WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY:
            return ended == "completed"
        case _:
            return True


@dataclass(frozen=True)
class _Handle:
    run: Run
    result_type: type[Any]
    run_id: str = "run"

    async def result(self) -> Any:
        return value_of(self.run.result, self.result_type)

    async def describe(self, **_options: object) -> _Handle:
        return self

    @property
    def workflow_type(self) -> str:
        return self.run.name

    @property
    def status(self) -> WorkflowExecutionStatus:
        return WorkflowExecutionStatus.COMPLETED if self.run.ended == "completed" else WorkflowExecutionStatus.FAILED
