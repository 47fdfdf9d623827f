"""List the checks of an audit, in the order in which they are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from audit import sagas
from audit import statements as sql
from audit.findings import Check, Comparison, External, Query

ORDERS_STORED: Final = "accepted orders are stored"
SAGAS_END: Final = "sagas end"
TIMELINES_EXIST: Final = "every saga has a workflow"
TIMELINES_EQUAL: Final = "timelines equal the event logs"
TIMELINES_CLOSED: Final = "workflows close with their sagas"

_LOOK: Final = "see `saga order timeline ID`; the reconciler repeats what a saga missed, then audit again"
_LOGS: Final = "a row or an event was changed outside the ledger: restore that database to before it happened"
_TOTALS: Final = "if nothing else is violated, stop the service and count them anew as its migration did; else restore"
_BOOKS: Final = "compare with the provider's statement, refund there what was taken too much, and correct the payment"
_RELAY: Final = "see what the service's log says of relay_failed, and whether the broker answers"


def _of_each_service(what: str, invariant: int, statement: str, remedy: str) -> tuple[Check, Check]:
    """A check of the order service's database, and the same one of the payment service's."""
    order = Check(name=f"order {what}", invariant=invariant, find=Query(service="orders", sql=statement), remedy=remedy)
    return order, replace(order, name=f"payment {what}", find=Query(service="payments", sql=statement))


CHECKS: Final = (
    Check(
        name=ORDERS_STORED,
        invariant=1,
        find=External(where="dead letters"),
        remedy="if its command is a dead letter, `saga dead-letters show ID`, then redrive it; if a workflow alone "
        "knows it, that database was restored to before it was stored",
    ),
    Check(name=SAGAS_END, invariant=1, find=Comparison(judge=sagas.unfinished), remedy=_LOOK),
    Check(
        name="a paid order has an approved payment",
        invariant=2,
        find=Comparison(judge=sagas.unpaid),
        remedy=_BOOKS,
    ),
    Check(
        name="payments are captured once and in full",
        invariant=2,
        find=Query(service="payments", sql=sql.CAPTURED),
        remedy=_BOOKS,
    ),
    Check(
        name="no charge stands for two payments",
        invariant=2,
        find=Query(service="payments", sql=sql.CHARGED_TWICE),
        remedy=_BOOKS,
    ),
    Check(
        name="an order that is off has no payment",
        invariant=3,
        find=Comparison(judge=sagas.uncompensated),
        remedy=_LOOK,
    ),
    Check(
        name="no money is kept for nothing",
        invariant=3,
        find=Query(service="payments", sql=sql.KEPT),
        remedy="refund it at the provider; " + _LOGS,
    ),
    Check(
        name="order and payment are of one amount",
        invariant=3,
        find=Comparison(judge=sagas.unequal),
        remedy=_BOOKS,
    ),
    Check(
        name="refunds give back all, once",
        invariant=4,
        find=Query(service="payments", sql=sql.REFUNDED),
        remedy=_BOOKS,
    ),
    Check(
        name="orders are what their log tells",
        invariant=5,
        find=Query(service="orders", sql=sql.ORDER_LIVES),
        remedy=_LOGS,
    ),
    Check(
        name="payments are what their log tells",
        invariant=5,
        find=Query(service="payments", sql=sql.PAYMENT_LIVES),
        remedy=_LOGS,
    ),
    Check(name="payments follow from orders", invariant=5, find=Comparison(judge=sagas.unasked), remedy=_LOOK),
    *_of_each_service("events are logged once", 5, sql.EVENTS_TWICE, _LOGS),
    *_of_each_service("events are published", 5, sql.UNPUBLISHED, _RELAY),
    Check(
        name="order totals equal the counts",
        invariant=5,
        find=Query(service="orders", sql=sql.ORDER_TOTALS),
        remedy=_TOTALS,
    ),
    Check(
        name="payment totals equal the counts",
        invariant=5,
        find=Query(service="payments", sql=sql.PAYMENT_TOTALS),
        remedy=_TOTALS,
    ),
    Check(name="a saga has one coordinator", invariant=6, find=Comparison(judge=sagas.mixed), remedy=_LOGS),
    *_of_each_service("events name their causes", 7, sql.EVENTS_WITHOUT_CAUSE, _LOGS),
    Check(name="causes are logged", invariant=7, find=Comparison(judge=sagas.uncaused), remedy=_LOGS),
    Check(
        name=TIMELINES_EXIST,
        invariant=7,
        find=External(where="timelines"),
        remedy="`saga events replay --order ID` has its mirror made anew; an orchestrated saga's workflow can't be, "
        "but `saga order timeline ID` tells its timeline",
    ),
    Check(
        name=TIMELINES_EQUAL,
        invariant=7,
        find=External(where="timelines"),
        remedy="`saga events replay --order ID` tells the mirror what it missed",
    ),
    Check(
        name=TIMELINES_CLOSED,
        invariant=7,
        find=External(where="timelines"),
        remedy="open it in the Temporal UI: its current details say what it waits for",
    ),
)
