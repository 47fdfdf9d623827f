"""Compare what became of each order with what its client asked for, and with how its payment method goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bench.workload import Sale
from tests.chaos.system import System
from tests.support.load import Load

DECLINES: Final = ("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds")
NEVER_PAID: Final = (*DECLINES, "pm_error", "pm_unavailable")
NEVER_DECLINED: Final = ("pm_card_visa", "pm_slow", "pm_timeout_then_approve", "pm_error", "pm_unavailable")
_ORDERS: Final = (
    "SELECT id::text, total, coordinator, payment_method, status, cancel_reason, user_id::text, currency FROM orders"
)


def outcomes(system: System, load: Load) -> tuple[Mapping[str, int], list[str]]:
    """Count the orders by outcome, and find the wrong ones."""
    orders = {str(row["id"]): row for row in system.world.rows("orders", _ORDERS)}
    counts = Counter(_end(order) for order in orders.values())
    return counts, [*_improper(load, orders), *_twice(load, orders), *_too_few_paid(load, orders)]


def _end(order: Mapping[str, Any]) -> str:
    return str(order["cancel_reason"] or order["status"])


def _improper(load: Load, orders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for order_id, sale in load.accepted.items():
        order = orders[order_id]
        if _asked(sale) != _stored(order):
            yield f"order {order_id} is {_stored(order)}; what was asked for is {_asked(sale)}"
        method, after, end = sale.kind.payment_method, sale.kind.cancel_after, _end(order)
        if (
            (end == "PAID" and method in NEVER_PAID)
            or (end == "PAYMENT_DECLINED" and method in NEVER_DECLINED)
            or (end == "USER_REQUESTED" and after is None)
        ):
            yield f"order {order_id}, to be paid by {method}, cancelled after {after} s, is {end}"


def _twice(load: Load, orders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find orders that were placed twice. Only a client without a key who lost the answer may have two."""
    without_key = {_asked(sale) for sale in load.accepted.values() if sale.key is None}
    for order_id in orders.keys() - load.accepted.keys():
        if _stored(orders[order_id]) not in without_key:
            yield f"order {order_id} is {_stored(orders[order_id])}, which nobody was told of, or had asked for twice"


def _too_few_paid(load: Load, orders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    good = [i for i, sale in load.accepted.items() if _pays(sale)]
    paid = sum(orders[order_id]["status"] == "PAID" for order_id in good)
    if paid < len(good) / 2:
        yield f"{paid} of {len(good)} orders with a good card, which nobody cancelled, were paid"


def _pays(sale: Sale) -> bool:
    return sale.kind.payment_method == "pm_card_visa" and sale.kind.cancel_after is None


def _asked(sale: Sale) -> tuple[Any, ...]:
    body = sale.asked
    return body["total"], body["coordinator"], body.get("paymentMethod"), body["userId"]


def _stored(order: Mapping[str, Any]) -> tuple[Any, ...]:
    return order["total"], order["coordinator"], order["payment_method"], order["user_id"]


def repeated(load: Load, *, most: int) -> Iterable[str]:
    """Send some requests with a key again. Each must be answered with the same order as before."""
    keyed = [(order_id, sale) for order_id, sale in load.accepted.items() if sale.key is not None]
    for order_id, sale in keyed[:: max(1, len(keyed) // most)]:
        again = load.post(sale)
        if again != order_id:
            yield f"the Idempotency-Key of order {order_id} stands for order {again}, too"
