"""The orchestrated saga is the real OrderSaga, started and cancelled as the gateway does it."""

from __future__ import annotations

from collections.abc import Iterator

from models.messages import Envelope
from models.saga import Coordinator
from tests.model.activations import Cancelled, Signal, data_of
from tests.model.messages import CORRELATION, ORDER, TOTAL, USER, Messages
from tests.model.state import Kind, Label, Slot, Temporal
from tests.model.steps import Draft
from tests.model.temporal import Workflows
from workflows.saga_input import CANCEL, ORDER_SAGA, CancelRequest, NewOrder, SagaInput


class Twin:
    """The saga of an order whose coordinator is orchestration."""

    def __init__(self, workflows: Workflows, messages: Messages, retries: int) -> None:
        self._workflows = workflows
        self._retries = retries
        self._create: Envelope = messages.envelope(messages.create(Coordinator.ORCHESTRATION))

    def start(self) -> Temporal:
        """Start the saga as `Orchestration.start` does. A cancellation may come before any worker begins."""
        order = NewOrder(
            user_id=str(USER),
            total=TOTAL,
            currency="USD",
            payment_method=None,
            event_id=str(self._create.event_id),
        )
        return Temporal(self._workflows.runs.fresh(ORDER_SAGA, self._input(order)))

    def cancel(self, temporal: Temporal) -> Iterator[Draft]:
        """Cancel as `Orchestration.cancel` does: the open run learns of it, or a new one does the rest."""
        if not self._workflows.budget.allows("cancels"):
            return  # what never happens need not be played
        request = Signal(CANCEL, data_of(CancelRequest(correlation_id=CORRELATION)))
        if self._workflows.run(temporal).ended is not None:
            yield _by("client", self._workflows.begins(ORDER_SAGA, self._input(None), request))
            return
        for after in self._workflows.learns(temporal, request):
            yield _by("client", after)
        for after in self._workflows.learns(temporal, Cancelled("by an operator, in Temporal")):
            yield _by("operator", after)

    def _input(self, order: NewOrder | None) -> bytes:
        return data_of(
            SagaInput(
                order_id=str(ORDER),
                correlation_id=CORRELATION,
                order=order,
                payment_timeout=900.0,
                retry_delays=[1.0] * self._retries,
            )
        )


def _by(who: str, after: Temporal) -> Draft:
    return Draft(Label("signal", who, detail="cancel"), {Slot.TEMPORAL: after}).at_a_cost("cancels", Kind.WHIM)
