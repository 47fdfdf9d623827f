"""Define the names that workflows, workers, the gateway and the command line share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from models.originals import Originals, ServiceName

# One task queue for each service's activities, one for the mirrors, and one for the other workflows.
ORDER_TASK_QUEUE: Final = "order-service"
PAYMENT_TASK_QUEUE: Final = "payment-service"
SAGA_TASK_QUEUE: Final = "sagas"
MIRROR_TASK_QUEUE: Final = "mirrors"
RECONCILER_ID: Final = "reconciler"  # of the schedule; its runs have the time of their start behind it
_OF_SERVICES: Final[Mapping[ServiceName, str]] = {
    ServiceName.ORDER: ORDER_TASK_QUEUE,
    ServiceName.PAYMENT: PAYMENT_TASK_QUEUE,
}


def queues_of(services: Originals) -> frozenset[str]:
    """The task queues that these services would work on: nobody does while they are original ones."""
    return frozenset(_OF_SERVICES[name] for name in services)


def workflow_id(order_id: UUID | str) -> str:
    """The id of an order's workflow. It is the same for both coordinators, so an order never has two workflows."""
    return f"order-{order_id}"
