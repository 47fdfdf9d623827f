"""Names that workflows, workers, the gateway and the command line share."""

from __future__ import annotations

from typing import Final
from uuid import UUID

# One task queue for each service's activities, one for the mirrors, and one for the other workflows.
ORDER_TASK_QUEUE: Final = "order-service"
PAYMENT_TASK_QUEUE: Final = "payment-service"
SAGA_TASK_QUEUE: Final = "sagas"
MIRROR_TASK_QUEUE: Final = "mirrors"


def workflow_id(order_id: UUID | str) -> str:
    """The id of an order's workflow, whichever coordinator it has: an order never has two."""
    return f"order-{order_id}"
