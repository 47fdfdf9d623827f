"""Define the checks of an audit and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from audit.sagas import Saga
from models.migrations import DatabaseName

INVARIANTS: Final[Mapping[int, str]] = {
    1: "Every order answered with 202 exists and reaches PAID, CANCELLED or FAILED",
    2: "An order is PAID only if its payment is APPROVED; at most one charge per order ever succeeds at the provider",
    3: "No order that is CANCELLED or FAILED keeps captured money: its payment ends CANCELLED, DECLINED, FAILED or "
    "REFUNDED, and the provider's own books agree to the cent",
    4: "Refunds never exceed what was captured; one refund per order",
    5: "An event is in the event log if and only if its state change committed; it is published at least once, and its "
    "effect happens once",
    6: "Both coordinators, given the same inputs, leave the same order, payment, provider books and event log",
    7: "The timeline shows every event of the saga exactly once, in causal order, even after an outage of Temporal, "
    "and a timeline rebuilt from the event logs equals the one recorded live",
}

ExternalSource: TypeAlias = Literal["dead letters", "timelines"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A check by a statement on one service's snapshot. Its rows, `id` and `detail`, are the violations."""

    service: DatabaseName
    sql: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A check of an order against its payment. `judge` takes the saga and the patience in seconds.

    It returns what is wrong, or None.
    """

    judge: Callable[[Saga, float], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class External:
    """A check of a source outside our databases. The code that reads the source reports by the check's name."""

    where: ExternalSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One condition that must hold, the invariant that it belongs to, and what to do if it is violated."""

    name: str
    invariant: int
    find: Query | Comparison | External
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A violation: the check, the id of what violates it, and how."""

    check: str
    id: str
    detail: str


@dataclass(kw_only=True, slots=True)
class Tally:
    """The violations of one check. All are counted, and the first ones are kept."""

    violations: int = 0
    examples: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding, *, keep: int) -> None:
        self.violations += 1
        if len(self.examples) < keep:
            self.examples.append(finding)


@dataclass(kw_only=True, slots=True)
class AuditReport:
    """The result of an audit. `unread` has the reasons why sources could not be read. `notes` are no violations."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        return sum(tally.violations for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0: every check holds; 1: a check is violated; 2: no check is violated, but a source could not be read."""
        if self.violations:
            return 1
        return 2 if self.unread else 0

    def add(self, finding: Finding, *, keep: int) -> None:
        self.tallies.setdefault(finding.check, Tally()).add(finding, keep=keep)

    def count(self, what: str, number: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + number

    def as_json(self, checks: tuple[Check, ...]) -> dict[str, Any]:
        """The report for other programs, with every check, also those that could not be made."""
        return {
            "clean": self.exit_code == 0,
            "violations": self.violations,
            "seen": self.seen,
            "checks": [self._check_as_json(check) for check in checks],
            "unread": self.unread,
            "leftOut": self.left_out,
            "notes": self.notes,
        }

    def _check_as_json(self, check: Check) -> dict[str, Any]:
        tally = self.tallies.get(check.name, Tally())
        return {
            "name": check.name,
            "invariant": check.invariant,
            "says": INVARIANTS[check.invariant],
            "state": self.state(check),
            "violations": tally.violations,
            "examples": [{"id": each.id, "detail": each.detail} for each in tally.examples],
            "remedy": check.remedy,
        }

    def state(self, check: Check) -> str:
        """`violated`, `unread`, `left out` or `holds`."""
        if check.name in self.tallies:
            return "violated"
        sources = _sources(check)
        if any(source in self.unread for source in sources):
            return "unread"
        return "left out" if any(source in self.left_out for source in sources) else "holds"


def _sources(check: Check) -> tuple[str, ...]:
    match check.find:
        case Query(service=service):
            return (service,)
        case Comparison():
            return ("orders", "payments")
        case External(where=where):
            return (where,)
