"""What a sweep of the reconciler is given, what it does about a saga that stands still, and what it tells; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from activities.steps import Step
from activities.stragglers import Place
from models.order import OrderStatus
from models.payment import PaymentStatus
from models.times import check_seconds
from workflows.mirror_record import MirrorRecord, repetition_of, timeout_of
from workflows.saga_steps import CHARGE_PAYMENT, COMPENSATIONS, CREATE_ORDER, SETTLE_ORDER, SagaStep

CANCEL_ORDER: Final = COMPENSATIONS[CREATE_ORDER]
CANCEL_PAYMENT: Final = COMPENSATIONS[CHARGE_PAYMENT]

# A payment in one of these has nothing due at the provider; one that is CANCELLED may still have its void due.
_WITHOUT_DUES: Final = frozenset({PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.REFUNDED})
_MOST_TOLD: Final = 100  # stragglers; the counts know all
_MOST_UNFINISHED: Final = 1000  # beyond that, the round through all cancellations finds them again
_LARGEST_PAGE: Final = 10_000  # orders
_LONGEST: Final = 300  # characters of a trouble; errors may say anything


class Part(StrEnum):
    """The parts of a sweep, in their order: what is cancelled first is not charged afterwards."""

    OVERDUE = "orders past their deadline"
    DUE = "payments that stand still"
    CANCELLED = "cancellations without compensation"  # among those since the last sweep
    AGAIN = "old cancellations without compensation"  # among a page of all, round and round


CANCELLATIONS: Final = (Part.CANCELLED, Part.AGAIN)


@dataclass(frozen=True, kw_only=True)
class Straggler:
    """A saga that was found standing still, the steps that were taken for it, and where it stood after them."""

    order_id: str
    found_among: str
    steps: list[str]
    order_status: str | None
    payment_status: str | None
    over: bool
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What came of a sweep; `found` counts by part, `left` are those that are not over yet.

    `stragglers` names a hundred, those that are not over first. `need_operator` is the number of open sagas that wait
    for one, None if nobody could tell. Every cancellation up to `checked` has been looked at, and is compensated unless
    the order is among the `unfinished`, which the next sweep takes up; `again` is how far the round through all
    cancellations has come.
    """

    found: dict[str, int] = field(default_factory=dict)
    left: int = 0
    stragglers: list[Straggler] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    need_operator: int | None = None
    unfinished: list[str] = field(default_factory=list)
    checked: Place | None = None
    again: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How long a saga may stand still before somebody else takes it on, in seconds; a page has `page` orders at most.

    `grace` comes on top of the deadline of a payment, so that mirrors and orchestrated sagas go first. A service that
    takes up nothing for `away_after` seconds is not asked again in this sweep. With `so_far` a run goes on, in `part`
    and behind `after`, where the run before it came to the end of its history.
    """

    payment_timeout: float
    grace: float
    payment_patience: float
    compensation_patience: float
    page: int = 500
    away_after: float = 30.0
    part: str = Part.OVERDUE.value
    after: Place | None = None
    so_far: SweepReport | None = None

    def __post_init__(self) -> None:
        Part(self.part)
        for name in ("payment_timeout", "grace", "payment_patience", "compensation_patience", "away_after"):
            check_seconds(name, getattr(self, name), least=0.0)
        if not 1 <= self.page <= _LARGEST_PAGE:
            raise ValueError(f"page is {self.page}; it must be 1 … {_LARGEST_PAGE} orders")


def next_step(record: MirrorRecord, *, unpaid: SagaStep | None) -> tuple[SagaStep, Step] | None:
    """The step that brings a saga on from where its event logs say that it stands; None if there is nothing to do.

    Every message is the one that the saga's own coordinator would have sent, with its id: a step that was taken before,
    or is being taken, changes nothing. `unpaid` is the step for an order whose payment is not settled, if any.
    """
    created, cancelled = record.last("OrderCreated"), record.last("OrderCancelled")
    if cancelled is not None:
        at_rest = record.timeline.payment_status in _WITHOUT_DUES
        return None if at_rest else (CANCEL_PAYMENT, repetition_of(cancelled))
    if created is None or record.timeline.order_status is not OrderStatus.PENDING_PAYMENT:
        return None
    for event_type, step in SETTLE_ORDER.items():
        if (settled := record.last(event_type)) is not None:
            return step, repetition_of(settled)
    if unpaid is CANCEL_ORDER:
        return unpaid, replace(timeout_of(created), coordinator=created.coordinator)
    return (unpaid, repetition_of(created)) if unpaid is not None else None


def told_of(found: Iterable[Straggler], report: SweepReport, part: Part) -> SweepReport:
    """The report, with what was found in a part of its sweep."""
    stragglers = list(found)
    open_ones = [each.order_id for each in stragglers if not each.over]
    unfinished = list(dict.fromkeys([*report.unfinished, *(open_ones if part in CANCELLATIONS else ())]))
    return replace(
        report,
        unfinished=unfinished[:_MOST_UNFINISHED],
        found={**report.found, part.value: report.found.get(part.value, 0) + len(stragglers)},
        left=report.left + len(open_ones),
        stragglers=sorted([*report.stragglers, *stragglers], key=lambda each: each.over)[:_MOST_TOLD],
    )


def sweep_story(report: SweepReport, under_way: Part | None) -> str:
    """The sweep as Markdown, for people who look at it in the Temporal UI."""
    parts = [f"Looking for {under_way.value}."] if under_way else []
    counts = [f"{count} {part}" for part, count in report.found.items() if count]
    parts.append(f"Found {', '.join(counts)}; {report.left} not over yet." if counts else "Nothing had fallen through.")
    if report.need_operator:
        parts.append(f"**{report.need_operator} sagas wait for an operator.**")
    parts += [f"- {_quoted(trouble)}" for trouble in report.troubles]
    if report.stragglers:
        parts.append(_table(report.stragglers))
        parts += [f"- {each.order_id}: {_quoted(each.trouble)}" for each in report.stragglers if each.trouble]
    return "\n\n".join(parts) + "\n"


def shortened(text: str) -> str:
    """A trouble on one line, of bounded length."""
    return " ".join(text.split())[:_LONGEST]


def _table(stragglers: Sequence[Straggler]) -> str:
    lines = ["| order | found among | steps taken | order is | payment is |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.order_id} | {each.found_among} | {', '.join(each.steps) or 'none'} |"
        f" {each.order_status or 'not known'} | {each.payment_status or 'not known'} |"
        for each in stragglers
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"
