"""Wait until everything is at rest, and find whatever breaks an invariant of docs/specification.md, section 5."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Final

from audit.checks import TIMELINES_EQUAL
from audit.database_audit import Scope
from audit.run import Places, audit
from choreography.dead_letters import DeadLetterRecord, DeadLetters
from models.saga import Coordinator
from tests.chaos.outcomes import outcomes, repeated
from tests.chaos.system import INSTANCES, System
from tests.support.load import Load
from tests.support.waiting import until

AT_REST_WITHIN: Final = 240.0  # seconds
_KEPT: Final = 1_000_000  # findings of one kind: all
_REPEATED: Final = 300  # requests


def judge(system: System, load: Load, tell: Callable[[str], None]) -> list[str]:
    """Wait for rest, and return the findings. Raises AssertionError if there is no rest, or a broken invariant."""
    world = system.world
    for name in INSTANCES:
        world.wait_ready(name)
    tell("every process is ready again")
    world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
    tell("all is at rest, and the invariants hold")
    letters = [letter for letter in world.dead_letters() if not system.poison.holds(letter)]
    tell(f"dead letters of ours: {_summary(letters)}")
    if letters:
        asyncio.run(DeadLetters(world.amqp_url).redrive(lambda letter: not system.poison.holds(letter)))
        world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
        tell(f"redriven, and all is at rest again; left: {_summary(world.dead_letters())}")
    _wait_for_workflows(system)
    tell("no workflow is open")
    poison = list(system.poison.unaccounted(world.dead_letters() + letters))
    given = asyncio.run(DeadLetters(world.amqp_url).discard(system.poison.holds))
    tell(f"{len(system.poison.doses)} messages were sent that nobody can use; {len(given)} dead letters are discarded")
    doubled = list(repeated(load, most=_REPEATED))
    world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
    _wait_for_workflows(system)
    counts, improper = outcomes(system, load)
    tell(f"requests are sent again, and all is at rest; orders ended so: {dict(counts)}")
    unheard = {each.order_id for each in letters if each.order_id} & _orchestrated(load)
    findings = [
        *load.wrong,
        *poison,
        *improper,
        *doubled,
        *_unkept_cancellations(system, load.cancelled),
        *_failed_workflows(system),
        *_audited(system, unheard),
    ]
    tell("audited")
    left = [f"dead letter {letter.reason} in {letter.queue}: {letter.error}" for letter in world.dead_letters()]
    return findings + left


def _summary(letters: Iterable[DeadLetterRecord]) -> dict[str, int]:
    return dict(Counter(f"{letter.reason} {letter.event_type} in {letter.queue}" for letter in letters))


def _wait_for_workflows(system: System) -> None:
    sagas = "WorkflowType IN ('OrderSaga', 'SagaMirror') AND ExecutionStatus = 'Running'"

    def none_open() -> bool:
        assert system.world.waiting_for_mirrors() == 0
        running = system.temporal.count(sagas)
        assert running == 0, f"{running} are open"
        return True

    until(none_open, within=AT_REST_WITHIN, what="every workflow has ended")


def _unkept_cancellations(system: System, cancelled: Collection[str]) -> list[str]:
    """Find accepted cancellations that were not carried out, although the saga did not fail first."""
    rows = system.world.rows("orders", "SELECT id FROM orders WHERE status = 'PAID' AND id = ANY(%s)", list(cancelled))
    return [f"order {row['id']} is PAID, though its cancellation was accepted" for row in rows]


def _failed_workflows(system: System) -> list[str]:
    failed = system.temporal.count("ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')")
    return [f"{failed} workflows have failed"] if failed else []


def _orchestrated(load: Load) -> set[str]:
    return {order_id for order_id, sale in load.accepted.items() if sale.coordinator is Coordinator.ORCHESTRATION}


def _audited(system: System, unheard: Collection[str]) -> list[str]:
    """The findings of `saga audit --at-rest --timelines all`.

    An orchestrated saga that has ended does not hear of a dead letter that is redriven later. The event logs tell of
    that order.
    """
    world = system.world
    places = Places(
        orders_db=world.dsn("orders"),
        payments_db=world.dsn("payments"),
        amqp=world.amqp_url,
        temporal=system.temporal.address,
    )
    report = audit(places, Scope(at_rest=True, grace=0.0, keep=_KEPT, mirror_after=system.mirror_after), sample=None)
    found = [
        f"{name}: {finding.id} {finding.detail}"
        for name, tally in report.tallies.items()
        for finding in tally.examples
        if not (name == TIMELINES_EQUAL and finding.id in unheard)
    ]
    return found + [f"{source} could not be read: {why}" for source, why in report.unread.items()]
