"""Map each message to the step that it triggers: one table a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from activities.book import Submission
from activities.orders import Orders
from activities.payments import Payments
from models.saga import (
    CreateOrderRequested,
    Decision,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
)

# A reaction takes a message, and whether this is the last try for a step that has several.
Reaction: TypeAlias = Callable[[Submission, bool], Awaitable[Decision[Any]]]
Reactions: TypeAlias = Mapping[type[Message], Reaction]


def order_reactions(orders: Orders) -> Reactions:
    """The order service's reactions."""

    async def apply(submission: Submission, _last_try: bool) -> Decision[Any]:
        return (await orders.apply(submission)).decision

    return {
        CreateOrderRequested: apply,
        OrderCancelRequested: apply,
        PaymentApproved: apply,
        PaymentDeclined: apply,
        PaymentFailed: apply,
    }


def payment_reactions(payments: Payments) -> Reactions:
    """The payment service's reactions."""

    async def apply(submission: Submission, last_try: bool) -> Decision[Any]:
        return await payments.apply(submission, last_try=last_try)

    return {OrderCreated: apply, OrderCancelled: apply}
