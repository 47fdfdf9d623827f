"""Check the arguments that reach a workflow from outside, so that no argument can stop a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.exceptions import ApplicationError

from models.messages import Envelope, MalformedMessage, read_wire
from workflows.naming import workflow_id

Value = TypeVar("Value")

_LONGEST: Final = 300  # characters of a reason


class InvalidArguments(ApplicationError):
    """The arguments are not valid; the text says why. It fails a run or an update, never a workflow task."""

    def __init__(self, why: str) -> None:
        super().__init__(why[:_LONGEST], type="Malformed", non_retryable=True)


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Stands for an argument that no converter can decode."""

    why: str


class ReadsAnything(DefaultPayloadConverter):
    """Temporal's own converter, except that decoding an argument without a type never fails.

    Workflows and handlers take `*given: Any`, so that their arguments are decoded without types. With types, Temporal
    checks neither the number of arguments nor the type of a value that is not JSON, and an error there fails the
    workflow task for ever.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type[Any]] | None = None) -> list[Any]:
        if type_hints:
            return super().from_payloads(payloads, type_hints)
        return [self._read(payload) for payload in payloads]

    def _read(self, payload: Payload) -> Any:
        try:
            return super().from_payloads([payload])[0]
        except Exception as error:  # whatever a stranger's bytes make a decoder raise
            return Unreadable(why=f"it can't be decoded: {type(error).__name__}: {error}"[:_LONGEST])


DATA_CONVERTER: Final = replace(DataConverter.default, payload_converter_class=ReadsAnything)


def the_argument(kind: type[Value], given: Sequence[Any]) -> Value:
    """The one argument that was given, as a value of type `kind`. Raises InvalidArguments."""
    if len(given) != 1:
        raise InvalidArguments(f"one argument is taken, a {kind.__name__}; {len(given)} were given")
    [argument] = given
    if isinstance(argument, Unreadable):
        raise InvalidArguments(f"a {kind.__name__} is taken, and {argument.why}")
    try:
        return msgspec.convert(argument, kind)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidArguments(f"a {kind.__name__} is taken: {error}") from None


def argument_or_refusal(
    kind: type[Value], given: Sequence[Any], *, blank: Value
) -> tuple[Value, InvalidArguments | None]:
    """The one argument of an order's own workflow; or the blank one, and why the given ones are refused."""
    try:
        check_workflow_id(own_order_id())
        return the_argument(kind, given), None
    except InvalidArguments as refused:
        return blank, refused


def the_event(wire: Mapping[str, Any]) -> Envelope:
    """An event from a service's event log. Raises InvalidArguments if nobody can read it: an operator must look."""
    try:
        return read_wire(wire)[0]
    except MalformedMessage as error:
        raise InvalidArguments(f"an event log has an event that can't be read: {error}") from None


def check_workflow_id(order_id: str) -> None:
    """Raise InvalidArguments unless the caller is this order's workflow. Under another id an order could have two."""
    try:
        wanted = workflow_id(UUID(order_id))
    except ValueError:
        raise InvalidArguments(f"{order_id[:40]!r} is not the id of an order") from None
    if workflow.info().workflow_id != wanted:
        raise InvalidArguments(f"the workflow of order {order_id} must have the id {wanted}")


def own_order_id() -> str:
    """The id of the order whose workflow calls this, taken from the workflow's id."""
    return workflow.info().workflow_id.removeprefix(workflow_id(""))
