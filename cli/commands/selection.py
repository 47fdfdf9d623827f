"""Select the dead letters that a command is about, and act on them only."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

import typer

from cli.printed_tables import text
from embedded.errors import StackError

if TYPE_CHECKING:
    from choreography.dead_letters import DeadLetterRecord, Wanted

    Act: TypeAlias = Callable[[Wanted], Awaitable[list[DeadLetterRecord]]]
Key: TypeAlias = tuple[str, str, bytes]

# Seconds before each look: RabbitMQ takes a moment to put back the messages of an earlier look.
_LOOKS: Final = (0.0, 0.2, 0.5, 1.0)
_LOOK_THERE: Final = "it may have been redriven or discarded already: see `saga dead-letters list`"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected dead letters: those whose ids begin with one of `beginnings`; without any, those that match."""

    beginnings: Sequence[str]
    wanted: Wanted

    @classmethod
    def of(
        cls,
        ids: list[str] | None,
        every: bool,
        reason: str | None,
        queue: str | None,
        event_type: str | None,
        order: UUID | None,
    ) -> Selection:
        """The selection by a command's arguments. Raises BadParameter unless they are either ids or --all."""
        if bool(ids) == every:
            raise typer.BadParameter("Name the ids, or add --all for all that the filters let through")
        if ids and any(given is not None for given in (reason, queue, event_type, order)):
            raise typer.BadParameter("Filters go with --all, not with ids")
        return cls(beginnings=ids or [], wanted=matching(reason, queue, event_type, order))

    def among(self, known: Sequence[DeadLetterRecord]) -> list[DeadLetterRecord]:
        """The selected ones of these dead letters. Raises StackError if a beginning fits several ids."""
        return _choose(known, self.beginnings) if self.beginnings else list(filter(self.wanted, known))

    def missing(self, chosen: Sequence[DeadLetterRecord]) -> list[str]:
        """The beginnings that fit none of the chosen dead letters."""
        return [each for each in self.beginnings if not any(one.id.startswith(each) for one in chosen)]

    def check_found(self, chosen: Sequence[DeadLetterRecord]) -> None:
        """Raise StackError if a beginning fits no dead letter."""
        if missing := self.missing(chosen):
            told = ", ".join(map(text, missing))
            raise StackError(f"No dead letter has an id that starts with {told}; {_LOOK_THERE}")


def _choose(known: Sequence[DeadLetterRecord], beginnings: Iterable[str]) -> list[DeadLetterRecord]:
    chosen: list[DeadLetterRecord] = []
    for beginning in beginnings:
        if not beginning.strip():
            raise typer.BadParameter("An id must not be empty")
        fitting = [record for record in known if record.id.startswith(beginning)]
        exact = [record for record in fitting if record.id == beginning]
        if len({record.id for record in fitting}) > 1 and not exact:
            raise StackError(f"{len(fitting)} dead letters have an id that starts with {text(beginning)}; give more")
        chosen += exact or fitting
    return chosen


def matching(reason: str | None, queue: str | None, event_type: str | None, order: UUID | None) -> Wanted:
    """A function that tells whether a dead letter matches all given filters, whatever the case of letters."""
    wanted = {"reason": reason, "queue": queue, "event_type": event_type, "order_id": str(order) if order else None}
    given = {name: value.lower() for name, value in wanted.items() if value is not None}

    def matches(record: DeadLetterRecord) -> bool:
        return all(str(getattr(record, name)).lower() == value for name, value in given.items())

    return matches


async def look(
    all_known: Callable[[], Awaitable[list[DeadLetterRecord]]], selection: Selection
) -> list[DeadLetterRecord]:
    """The selected dead letters. Named ones that aren't found are looked for a few times."""
    chosen: list[DeadLetterRecord] = []
    for pause in _LOOKS:
        await sleep(pause)
        chosen = selection.among(await all_known())
        if not selection.missing(chosen):
            break
    return chosen


async def apply(act: Act, chosen: Sequence[DeadLetterRecord]) -> list[DeadLetterRecord]:
    """Act on these dead letters only. Those that are gone by now are left out."""
    done: list[DeadLetterRecord] = []
    for pause in _LOOKS:
        missing = {_key(record) for record in chosen} - {_key(record) for record in done}
        if not missing:
            break
        await sleep(pause)
        done += await act(_among(missing))
    return done


def _among(keys: set[Key]) -> Wanted:
    return lambda record: _key(record) in keys


def _key(record: DeadLetterRecord) -> Key:
    # The id alone is not enough: strangers may give several messages the same one.
    return record.queue, record.id, record.body
