"""Define a reconciler's sweep: its input, its next step for a saga that stands still, and its report; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from activities.steps import StepInput
from activities.stragglers import Place
from models.lifecycle import OrderStatus
from models.message_types import EventType
from models.messages import Envelope
from models.originals import Originals, ServiceName
from models.saga import CancelReason
from models.times import check_seconds
from workflows.mirror_record import MirrorRecord, cancellation_of, repetition_of
from workflows.saga_steps import CHARGE_PAYMENT, COMPENSATIONS, CREATE_ORDER, SETTLE_ORDER, SagaStep

CANCEL_ORDER: Final = COMPENSATIONS[CREATE_ORDER]
CANCEL_PAYMENT: Final = COMPENSATIONS[CHARGE_PAYMENT]

_MOST_TOLD: Final = 100  # stragglers; the counts include all
_MOST_UNFINISHED: Final = 1000  # orders; the round through all cancellations finds those that are left out
_LARGEST_PAGE: Final = 10_000  # orders


class Part(StrEnum):
    """The parts of a sweep, in order. Overdue orders come first, so that they are cancelled and not charged."""

    OVERDUE = "orders past their deadline"
    DUE = "payments that stand still"
    # CANCELLED looks at the orders that ended since the last sweep; AGAIN at a page of all such orders, in rounds.
    CANCELLED = "cancellations without compensation"
    AGAIN = "old cancellations without compensation"
    ENDED = "payments without money whose orders are not off"  # among those that ended since the last sweep


CANCELLATIONS: Final = (Part.CANCELLED, Part.AGAIN)
# What compares two services needs both; what a saga is repeated from is the order service's event log.
_WITHOUT_PAYMENTS: Final = frozenset({Part.OVERDUE})


def is_possible(part: Part, originals: Originals) -> bool:
    """Whether the services that are ours are enough for this part of a sweep."""
    return not originals or (ServiceName.ORDER not in originals and part in _WITHOUT_PAYMENTS)


@dataclass(frozen=True, kw_only=True)
class Straggler:
    """A saga that stood still, the steps that were taken for it, and its state after them."""

    order_id: str
    found_among: str
    steps: list[str]
    order_status: str | None
    payment_status: str | None
    over: bool
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """The result of a sweep. `found` counts the stragglers by part; `left` counts those that are not over yet.

    `stragglers` names at most a hundred, first those that are not over. `need_operator` is the number of open sagas
    that wait for an operator, None if it isn't known. All cancellations up to `checked` have been looked at; they are
    compensated, except the orders in `unfinished`, which the next sweep takes up. `again` is the progress of the round
    through all cancellations. All payments without money up to `ended` have been looked at; their orders are off,
    except those in `unmatched`.
    """

    found: dict[str, int] = field(default_factory=dict)
    left: int = 0
    stragglers: list[Straggler] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    need_operator: int | None = None
    unfinished: list[str] = field(default_factory=list)
    checked: Place | None = None
    again: Place | None = None
    ended: Place | None = None
    unmatched: list[str] = field(default_factory=list)

    def place(self, part: Part) -> Place | None:
        """The place up to which earlier sweeps have come in this part."""
        return {Part.CANCELLED: self.checked, Part.AGAIN: self.again, Part.ENDED: self.ended}.get(part)

    def left_over(self, part: Part) -> list[str]:
        """The orders that earlier sweeps have found and not brought to an end."""
        return {Part.CANCELLED: self.unfinished, Part.ENDED: self.unmatched}.get(part, [])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How long a saga may stand still before the reconciler acts, in seconds. A page has at most `page` orders.

    `grace` is added to a payment's deadline, so that mirrors and orchestrated sagas act first. A service that takes no
    work for `away_after` seconds is not asked again in this sweep. With `so_far`, the run continues an earlier one that
    had too long a history, in `part` and after the place `after`.
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
    originals: list[str] = field(default_factory=list)  # the services that are not ours, which nothing is asked of

    def __post_init__(self) -> None:
        Part(self.part)
        for name in self.originals:
            ServiceName(name)
        for name in ("payment_timeout", "grace", "payment_patience", "compensation_patience", "away_after"):
            check_seconds(name, getattr(self, name), least=0.0)
        if not 1 <= self.page <= _LARGEST_PAGE:
            raise ValueError(f"page is {self.page}; it must be 1 … {_LARGEST_PAGE} orders")


def next_step(record: MirrorRecord, *, unpaid: SagaStep | None, due: bool = False) -> tuple[SagaStep, StepInput] | None:
    """The next step of a saga by its event logs; None if there is nothing to do.

    Every message is the one that the saga's own coordinator would send, with the same id. So a step that was taken
    before, or is being taken, changes nothing. `unpaid` is the step for an order whose payment is not settled, if any.
    `due` says that something is due at the provider; no event tells that.
    """
    created, payment = record.last(EventType.ORDER_CREATED), record.timeline.payment_status
    if (off := record.last(EventType.ORDER_CANCELLED) or record.last(EventType.ORDER_FAILED)) is not None:
        # A payment that is CANCELLED may still have its void due.
        done = payment is not None and payment.without_money and not payment.may_owe
        return None if done else (CANCEL_PAYMENT, repetition_of(off))
    if created is None:
        return None
    if record.timeline.order_status is OrderStatus.PENDING_PAYMENT:
        return _settling(record, created, unpaid)
    if payment is not None and payment.without_money:
        # A message from elsewhere made it PAID, without any money. Only a user's reason can cancel a PAID order.
        return CANCEL_ORDER, cancellation_of(created, CancelReason.USER_REQUESTED, created.coordinator)
    return (CHARGE_PAYMENT, repetition_of(created)) if due else None


def _settling(record: MirrorRecord, created: Envelope, unpaid: SagaStep | None) -> tuple[SagaStep, StepInput] | None:
    """The step for an order that waits for its payment."""
    payment = record.timeline.payment_status
    called_off = payment is not None and payment.called_off
    for event_type in EventType:
        # A called-off payment must not pay its order. The deadline cancels the order.
        settles = event_type in SETTLE_ORDER and not called_off
        if settles and (settled := record.last(event_type)) is not None:
            return SETTLE_ORDER[event_type], repetition_of(settled)
    if unpaid is CANCEL_ORDER:
        return unpaid, cancellation_of(created, CancelReason.PAYMENT_TIMEOUT, created.coordinator)
    return (unpaid, repetition_of(created)) if unpaid is not None else None


def without_left_over(report: SweepReport, part: Part) -> SweepReport:
    """The report without the left-over orders of this part, which are being taken up."""
    if part is Part.ENDED:
        return replace(report, unmatched=[])
    return replace(report, unfinished=[]) if part is Part.CANCELLED else report


def gone_by(report: SweepReport, part: Part, page: Sequence[Place], *, more: bool) -> SweepReport:
    """The report with the progress of this part after a page. Without `more` pages, a round begins again."""
    if part is Part.AGAIN:
        return replace(report, again=page[-1] if more else None)
    if not page:
        return report
    if part is Part.ENDED:
        # No round finds what has no room here, so the next sweep comes this way again.
        return report if len(report.unmatched) == _MOST_UNFINISHED else replace(report, ended=page[-1])
    return replace(report, checked=page[-1]) if part is Part.CANCELLED else report


def told_of(found: Iterable[Straggler], report: SweepReport, part: Part) -> SweepReport:
    """The report with the stragglers that were found in this part."""
    stragglers = list(found)
    open_ones = [each.order_id for each in stragglers if not each.over]
    unfinished = [*report.unfinished, *(open_ones if part in CANCELLATIONS else ())]
    unmatched = [*report.unmatched, *(open_ones if part is Part.ENDED else ())]
    return replace(
        report,
        unfinished=list(dict.fromkeys(unfinished))[:_MOST_UNFINISHED],
        unmatched=list(dict.fromkeys(unmatched))[:_MOST_UNFINISHED],
        found={**report.found, part.value: report.found.get(part.value, 0) + len(stragglers)},
        left=report.left + len(open_ones),
        stragglers=sorted([*report.stragglers, *stragglers], key=lambda each: each.over)[:_MOST_TOLD],
    )


def sweep_story(report: SweepReport, under_way: Part | None) -> str:
    """The sweep as Markdown, for people in the Temporal UI."""
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
