"""What came of a takeover, or would come of it: how many rows, and whether both databases then agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Totals: TypeAlias = dict[str, tuple[int, int]]  # by status: how many, and the sum of their amounts

_MOST_SHOWN: Final = 20


@dataclass(kw_only=True)
class Report:
    """`refused` says why nothing was done, `done` what each row came to; totals are of both databases afterwards."""

    refused: list[str] = field(default_factory=list)
    refusals: int = 0
    done: dict[str, int] = field(default_factory=dict)
    theirs: Totals = field(default_factory=dict)
    ours: Totals = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return self.theirs == self.ours

    def refuse(self, why: str) -> None:
        self.refusals += 1
        if len(self.refused) < _MOST_SHOWN:
            self.refused.append(why)

    def count(self, what: str, number: int = 1) -> None:
        if number:
            self.done[what] = self.done.get(what, 0) + number

    def as_json(self) -> dict[str, Any]:
        return {
            "refused": self.refused,
            "refusals": self.refusals,
            "done": self.done,
            "agrees": self.agrees,
            "theirs": _wire(self.theirs),
            "ours": _wire(self.ours),
        }


def totals_of(counted: Iterable[tuple[str, int, int]]) -> Totals:
    """The totals of (status, count, amount), those that several rows have added up."""
    found: Totals = {}
    for status, count, amount in counted:
        before = found.get(status, (0, 0))
        found[status] = (before[0] + int(count), before[1] + int(amount))
    return dict(sorted(found.items()))


def _wire(totals: Totals) -> list[dict[str, Any]]:
    return [{"status": status, "count": n, "totalAmount": amount} for status, (n, amount) in totals.items()]
