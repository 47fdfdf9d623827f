"""What a contrast found, as values: printed, drawn, and kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bench.figures import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What a kill did to the sagas of one coordinator that were accepted before it and until the part was back.

    Times are in seconds and count from the kill, but for `stall`: the longest that one saga took, counted from the
    kill or from its POST, whichever came later.
    """

    killed: str
    coordinator: str
    back: float  # until the killed part was ready again
    over: float | None  # until the last of the sagas was over; None: some never were while it was waited for
    stall: float | None
    accepted: int
    refused: int  # POSTs answered with an error
    unanswered: int
    refused_until: float | None
    improper: int  # accepted orders that have not ended as they must


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One question an operator has, and where each coordinator answers it."""

    question: str
    choreography: str
    orchestration: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that one run of `saga contrast` found. By coordinator means by "choreography" and "orchestration"."""

    began: str  # ISO 8601
    seconds: float
    machine: Mapping[str, str | int | float]
    settings: Mapping[str, str | int | float | bool]
    figures: Sequence[Figure]
    latencies: Mapping[str, Mapping[str, Sequence[float]]]  # ms of single sagas, by profile, by coordinator
    cpu: Mapping[str, Mapping[str, float]]  # ms a saga, by coordinator, by process
    cpu_at_rest: Mapping[str, float]  # percent of a core, by process
    memory: Mapping[str, float]  # MiB after the load, by process
    recoveries: Sequence[Recovery]
    orders: int  # accepted in all
    improper: Sequence[str]  # those of them that have not ended as they must, and how they stand
    lines: Mapping[str, Mapping[str, int]]  # of code, by who needs them, by module
    views: Sequence[View]

    def as_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        """Raises msgspec.ValidationError for what `as_json` did not write."""
        return msgspec.json.decode(text, type=cls)
