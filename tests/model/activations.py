"""Talk to a workflow as Temporal's worker does: send activations, and receive commands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.bridge.proto.activity_result import ActivityResolution, Success
from temporalio.bridge.proto.activity_result import Failure as FailedActivity
from temporalio.bridge.proto.workflow_activation import (
    CancelWorkflow,
    FireTimer,
    InitializeWorkflow,
    QueryWorkflow,
    RemoveFromCache,
    ResolveActivity,
    SignalWorkflow,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from tests.model.messages import NOW, ORDER
from workflows.arguments import DATA_CONVERTER
from workflows.naming import workflow_id

_CONVERTER: Final = DATA_CONVERTER.payload_converter
_QUERIES: Final = ("status", "timeline")
_SCHEDULE_TO_CLOSE: Final = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
_TIMEOUT: Final = RetryState.RETRY_STATE_TIMEOUT
_NOT_RETRYABLE: Final = RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE


class Signal(NamedTuple):
    name: str
    argument: bytes  # a payload's data


# Errors of an activity that was given up at its deadline: an attempt was under way, or there was no time for another.
EXPIRED: Final = "the deadline has passed"
NO_TIME_LEFT: Final = "there is no time for another attempt"


class Done(NamedTuple):
    """An activity has completed. Without a result, it has failed for good with an error of this type."""

    activity: str
    argument: bytes
    result: bytes | None
    error: str = ""


class Fired(NamedTuple):
    timer: str  # its summary


class Cancelled(NamedTuple):
    """Temporal itself was asked to cancel the workflow."""

    reason: str


Input: TypeAlias = Signal | Done | Fired | Cancelled


class Asked(NamedTuple):
    """An activity that a run waits for, by name and first argument, with the argument's data."""

    activity: str
    argument: bytes
    others: tuple[bytes, ...] = ()


class Instance:
    """A workflow that has just begun, and what it waits for."""

    def __init__(self, definition: Any, argument: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.asked: dict[Asked, int] = {}
        self.local: dict[Asked, int] = {}  # local activities
        self.timers: dict[str, int] = {}
        self.ended: str | None = None
        self.result = b""
        self._instance = loop.run_until_complete(_created(definition))
        begins = InitializeWorkflow(
            workflow_type=definition.name, workflow_id=workflow_id(ORDER), arguments=[_payload(argument)]
        )
        self._start = [WorkflowActivationJob(initialize_workflow=begins)]

    def learn(self, inputs: Sequence[Input]) -> None:
        """Give the workflow all of these in one workflow task."""
        jobs = [*self._start, *(self._job(each) for each in inputs)]
        self._start = []
        completion = self._activate(jobs)
        if completion.HasField("failed"):
            self.ended, self.result = "wedged", completion.failed.failure.message.encode()
            return
        for command in completion.successful.commands:
            self._obey(command)

    def told(self) -> tuple[bytes, ...]:
        """The answers to its queries."""
        queries = [WorkflowActivationJob(query_workflow=QueryWorkflow(query_id=q, query_type=q)) for q in _QUERIES]
        commands = self._activate(queries).successful.commands
        return tuple(each.respond_to_query.succeeded.response.data for each in commands)

    def forget(self) -> None:
        """Evict the workflow, as a worker with a full cache does."""
        self._activate([WorkflowActivationJob(remove_from_cache=RemoveFromCache())])

    def _job(self, happened: Input) -> WorkflowActivationJob:
        match happened:
            case Signal(name, argument):
                signal = SignalWorkflow(signal_name=name, input=[_payload(argument)], originating_event_id=1)
                return WorkflowActivationJob(signal_workflow=signal)
            case Cancelled(reason):
                return WorkflowActivationJob(cancel_workflow=CancelWorkflow(reason=reason))
            case Fired(timer):
                return WorkflowActivationJob(fire_timer=FireTimer(seq=self.timers.pop(timer)))
            case Done(activity, argument, result, error):
                local = any(each[:2] == (activity, argument) for each in self.local)
                asked = self.local if local else self.asked
                which = next(each for each in asked if each[:2] == (activity, argument))
                if result is not None:
                    resolution = ActivityResolution(completed=Success(result=_payload(result)))
                else:
                    resolution = ActivityResolution(failed=FailedActivity(failure=_failure(activity, error)))
                resolved = ResolveActivity(seq=asked.pop(which), result=resolution, is_local=local)
                return WorkflowActivationJob(resolve_activity=resolved)

    def _obey(self, command: Any) -> None:
        match command.WhichOneof("variant"):
            case "schedule_activity":
                _note(command.schedule_activity, self.asked)
            case "schedule_local_activity":
                _note(command.schedule_local_activity, self.local)
            case "start_timer":
                summary = str(msgspec.json.decode(command.user_metadata.summary.data))
                assert summary not in self.timers, f"two timers are called {summary}; the model can't tell them apart"
                self.timers[summary] = command.start_timer.seq
            case "cancel_timer":
                for summary in [each for each, seq in self.timers.items() if seq == command.cancel_timer.seq]:
                    del self.timers[summary]
            case "complete_workflow_execution":
                self.ended, self.result = "completed", bytes(command.complete_workflow_execution.result.data)
            case "fail_workflow_execution":
                self.ended, self.result = "failed", command.fail_workflow_execution.failure.message.encode()
            case "upsert_workflow_search_attributes" | "set_patch_marker":
                pass
            case other:
                raise NotImplementedError(f"the model doesn't know what a workflow's command {other} leads to")

    def _activate(self, jobs: Sequence[WorkflowActivationJob]) -> Any:
        activation = WorkflowActivation(run_id="run", jobs=jobs)
        activation.timestamp.FromDatetime(NOW)
        return self._instance.activate(activation)


def _note(wanted: Any, asked: dict[Asked, int]) -> None:
    first, *others = [bytes(each.data) for each in wanted.arguments]
    found = Asked(wanted.activity_type, first, tuple(others))
    assert found not in asked, f"{found.activity} is asked for twice at once; the model can't tell them apart"
    asked[found] = wanted.seq


def data_of(value: Any) -> bytes:
    """A value as Temporal's converter writes it."""
    return bytes(_CONVERTER.to_payloads([value])[0].data)


def value_of(data: bytes, kind: type[Any]) -> Any:
    """A value as Temporal's converter reads it."""
    return _CONVERTER.from_payloads([_payload(data)], [kind])[0]


def _payload(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def _failure(activity: str, error: str) -> Failure:
    if error == EXPIRED:
        cause = Failure(message=error, timeout_failure_info=TimeoutFailureInfo(timeout_type=_SCHEDULE_TO_CLOSE))
    else:
        told = ApplicationFailureInfo(type=error, non_retryable=error != NO_TIME_LEFT)
        cause = Failure(message=error, application_failure_info=told)
    failure = Failure(message="Activity task failed", cause=cause)
    failure.activity_failure_info.activity_type.name = activity
    failure.activity_failure_info.retry_state = _TIMEOUT if error in (EXPIRED, NO_TIME_LEFT) else _NOT_RETRYABLE
    return failure


async def _created(definition: Any) -> WorkflowInstance:
    details = WorkflowInstanceDetails(
        payload_converter_factory=DATA_CONVERTER.payload_converter_class,
        failure_converter_class=DATA_CONVERTER.failure_converter_class,
        interceptor_classes=[],
        defn=definition,
        info=_info(definition.name),
        randomness_seed=0,
        extern_functions={"__temporal_assert_local_activity_valid": lambda _name: None},
        disable_eager_activity_execution=True,
        worker_level_failure_exception_types=[],
        patch_activation_callback=None,
        last_completion_result=Payloads(),
        last_failure=None,
    )
    return UnsandboxedWorkflowRunner().create_instance(details)


def _info(name: str) -> workflow.Info:
    return workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=None,
        first_execution_run_id="run",
        headers={},
        namespace="model",
        original_execution_run_id="run",
        parent=None,
        priority=Priority.default,
        raw_memo={},
        retry_policy=None,
        root=None,
        run_id="run",
        run_timeout=None,
        search_attributes={},
        start_time=NOW,
        task_queue="sagas",
        task_timeout=timedelta(seconds=10),
        typed_search_attributes=TypedSearchAttributes([]),  # its own: an upsert changes it
        workflow_id=workflow_id(ORDER),
        workflow_start_time=NOW,
        workflow_type=name,
    )
