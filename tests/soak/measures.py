"""Every measure of a soak has a name, and a rule for how it may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.chaos.system import PROCESSES
from tests.soak.verdict import Rule

MIB: Final = 2.0**20
DAY: Final = 86_400.0  # seconds
# Orders, and seconds, until pools, caches and heaps are as full as they get: at 80 orders a second, the memory of
# gateway and services rose for the first 10,500 orders and no more.
WARM_ORDERS: Final = 15_000
WARM_SECONDS: Final = 300.0

# These tables keep their rows for good and grow with the orders. Only the size of a row must not grow.
GROWING: Final = ("orders.orders", "payments.payments", "payments.provider_charges")
# Retention removes these rows: they grow until the first row is old enough, and no further.
KEPT_FOR_A_WHILE: Final = ("orders.event_log", "payments.event_log", "orders.idempotency_keys")


def rules(*, rate: float, kept: float) -> Callable[[str], Rule | None]:
    """The rule of each measure at `rate` orders a second, when retention removes rows after `kept` seconds.

    None for measures that are only reported: what other people's servers use, CPU, and what grows by design.
    """

    warm = max(WARM_SECONDS, WARM_ORDERS / rate)

    def rule_of(measure: str) -> Rule | None:
        kind, _, subject = measure.partition(" of ")
        match kind:
            case "memory" | "open files" | "threads":
                return _of_process(kind, warm) if subject in PROCESSES else None
            case "connections":
                return Rule(slack=2, after=warm)
            case "messages":
                return Rule(most=0) if subject.endswith(".dead-letters") else Rule(slack=3 * rate, most=30 * rate)
            case "outbox":
                return Rule(slack=3 * rate, most=30 * rate)
            case "open workflows":
                return Rule(slack=3 * rate, most=60 * rate)
            case "rows":
                return Rule(after=kept) if subject in KEPT_FOR_A_WHILE else None
            case "bytes a row":
                return Rule(slack=20, after=warm) if subject in GROWING else None
            case "bytes":
                return _of_table(subject, kept if subject in KEPT_FOR_A_WHILE else warm)
            case _:
                return None

    return rule_of


def _of_process(kind: str, warm: float) -> Rule:
    match kind:
        case "memory":
            return Rule(slack=4 * MIB, doubling=DAY, after=warm)
        case "open files":
            return Rule(slack=10, after=warm)
        case _:
            return Rule(slack=3, after=warm)


def _of_table(table: str, filled: float) -> Rule | None:
    """The size of a table and its indexes on disk. The room of removed rows is used again after a vacuum."""
    if table in GROWING:
        return None
    return Rule(share=0.25, slack=MIB, after=filled)
