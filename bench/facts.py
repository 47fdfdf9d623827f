"""Read from both databases what became of orders, and when; nothing is written, and no service is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bench.reader import Reader, Row
from models.conditions import ORDER_OVER, ORDER_WAITS, PAYMENT_SETTLED
from models.lifecycle import Due, OrderStatus, PaymentStatus, at_rest

_POLL: Final = 0.05  # seconds

# When the transaction that wrote a row's newest version was committed: PostgreSQL takes the time just before it flushes
# the commit. It keeps these times with `track_commit_timestamp` alone.
_ORDERS: Final = (
    "SELECT o.id, o.status, o.total, extract(epoch FROM pg_xact_commit_timestamp(o.xmin))::float8"
    " FROM orders o WHERE o.id = ANY(%s)"
)
_PAYMENTS: Final = (
    "SELECT p.order_id, p.status, p.due, coalesce(c.captured, 0), coalesce(c.refunded, 0),"
    " extract(epoch FROM pg_xact_commit_timestamp(p.xmin))::float8"
    " FROM payments p LEFT JOIN provider_charges c ON c.payment_id = p.id WHERE p.order_id = ANY(%s)"
)
_OVER: Final = f"SELECT coalesce(sum(count), 0)::bigint FROM order_totals WHERE {ORDER_OVER}"
_UNSETTLED_ORDERS: Final = (
    "SELECT (SELECT coalesce(sum(count), 0)::bigint FROM order_totals),"
    f" (SELECT coalesce(sum(count), 0)::bigint FROM order_totals WHERE {ORDER_WAITS}),"
    " (SELECT count(*) FROM outbox)"
)
_UNSETTLED_PAYMENTS: Final = (
    "SELECT (SELECT coalesce(sum(count), 0)::bigint FROM payment_sums),"
    f" (SELECT count(*) FROM payments WHERE NOT ({PAYMENT_SETTLED})),"
    " (SELECT count(*) FROM outbox)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The state of a saga, and when each service last committed a change of it, in seconds since the epoch."""

    order: OrderStatus
    payment: PaymentStatus | None
    due: str | None
    total: int
    captured: int  # these two as the provider's books have them
    refunded: int
    order_at: float
    payment_at: float

    @property
    def over(self) -> bool:
        """Whether the order is over, its payment agrees, and nothing is due at the provider."""
        return at_rest(self.order, self.payment, Due(self.due) if self.due else None)

    @property
    def at(self) -> float:
        """The time of the saga's last commit."""
        return max(self.order_at, self.payment_at)

    @property
    def proper(self) -> bool:
        """Whether the provider's books agree: they keep the money of a PAID order, and of no other."""
        kept = self.captured - self.refunded
        return self.over and kept == (self.total if self.order is OrderStatus.PAID else 0)


class Facts:
    """The two databases as an auditor reads them. A server that is away is waited for.

    The server must keep the times of commits (`track_commit_timestamp`).
    """

    def __init__(self, orders: str, payments: str) -> None:
        """The arguments are PostgreSQL URLs."""
        self._orders = Reader(orders)
        self._payments = Reader(payments)

    async def close(self) -> None:
        await asyncio.gather(self._orders.close(), self._payments.close())

    async def over(self) -> int:
        """The number of orders that have ever ended. It is cheap at any size."""
        ((count,),) = await self._orders.read(_OVER)
        return int(count)

    async def stored(self) -> int:
        """The number of orders that were ever stored."""
        ((count,),) = await self._orders.read("SELECT coalesce(sum(count), 0)::bigint FROM order_totals")
        return int(count)

    async def ends(self, order_ids: Sequence[UUID]) -> dict[UUID, End]:
        """The state of each of these sagas, without those that the order service has not stored."""
        orders, payments = await asyncio.gather(
            self._orders.read(_ORDERS, [list(order_ids)]), self._payments.read(_PAYMENTS, [list(order_ids)])
        )
        paid = {row[0]: row[1:] for row in payments}
        return {row[0]: _end(row, paid.get(row[0])) for row in orders}

    async def at_rest(self) -> bool:
        """Whether every order ever stored is over with its payment settled, and every event published."""
        ((orders, pending, waiting),), ((payments, due, unpublished),) = await asyncio.gather(
            self._orders.read(_UNSETTLED_ORDERS), self._payments.read(_UNSETTLED_PAYMENTS)
        )
        return orders == payments and not (pending or waiting or due or unpublished)

    async def wait(
        self, order_ids: Iterable[UUID], ended: Callable[[UUID, End], bool], *, within: float
    ) -> dict[UUID, End]:
        """How these sagas ended, as soon as each has `ended`, or how they stand after `within` seconds."""
        deadline = time.monotonic() + within
        found: dict[UUID, End] = {}
        missing = set(order_ids)
        while missing:
            found |= await self.ends(list(missing))
            missing = {each for each in missing if each not in found or not ended(each, found[each])}
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL)
        return found


def _end(order: Row, payment: Row | None) -> End:
    _, status, total, order_at = order
    paid, due, captured, refunded, payment_at = payment or (None, None, 0, 0, 0.0)
    return End(
        order=OrderStatus(status),
        payment=PaymentStatus(paid) if paid else None,
        due=due,
        total=total,
        captured=captured,
        refunded=refunded,
        order_at=order_at or 0.0,
        payment_at=payment_at or 0.0,
    )
