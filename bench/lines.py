"""How much code each coordinator needs: which module belongs to which, and how many lines of code it has."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("activities", "choreography", "workflows")

SHARED: Final = "both"
CHOREOGRAPHY: Final = "choreography"
MIRROR: Final = "choreography's mirror"
ORCHESTRATION: Final = "orchestration"

# Who would miss the module. Both need the publishing of events, for orchestrated sagas have theirs published, too, and
# the running of steps as activities, which the mirror's timers ask for. The mirror is choreography's: an orchestrated
# saga tells its own story.
NEEDED_BY: Final[Mapping[str, str]] = {
    "activities/batch.py": SHARED,
    "activities/book.py": SHARED,
    "activities/crash_points.py": SHARED,
    "activities/history.py": SHARED,
    "activities/ledger.py": SHARED,
    "activities/order_activities.py": SHARED,
    "activities/orders.py": SHARED,
    "activities/order_stragglers.py": SHARED,
    "activities/payment_stragglers.py": SHARED,
    "activities/payment_activities.py": SHARED,
    "activities/payments.py": SHARED,
    "activities/providers/__init__.py": SHARED,
    "activities/providers/simulated.py": SHARED,
    "activities/providers/stripe.py": SHARED,
    "activities/providers/stripe_answers.py": SHARED,
    "activities/providers/stripe_requests.py": SHARED,
    "activities/reconstruction.py": SHARED,
    "activities/retention.py": SHARED,
    "activities/steps.py": SHARED,
    "activities/stragglers.py": SHARED,
    "activities/activity_protocol.py": SHARED,
    "activities/writes.py": SHARED,
    "choreography/broker.py": SHARED,
    "choreography/confirms.py": SHARED,
    "choreography/feed.py": SHARED,
    "choreography/frames.py": SHARED,
    "choreography/connection_errors.py": SHARED,
    "choreography/outgoing_message.py": SHARED,
    "choreography/command_publisher.py": SHARED,
    "choreography/publisher.py": SHARED,
    "choreography/relay.py": SHARED,
    "choreography/readers.py": SHARED,
    "choreography/log_throttle.py": SHARED,
    "choreography/replay.py": SHARED,
    "choreography/topology.py": SHARED,
    "choreography/undecodable.py": SHARED,
    "choreography/acknowledgements.py": CHOREOGRAPHY,
    "choreography/consumer.py": CHOREOGRAPHY,
    "choreography/dead_letters.py": CHOREOGRAPHY,
    "choreography/disposition.py": CHOREOGRAPHY,
    "choreography/headers.py": CHOREOGRAPHY,
    "choreography/reactions.py": CHOREOGRAPHY,
    "choreography/setting_aside.py": CHOREOGRAPHY,
    "choreography/subscription.py": CHOREOGRAPHY,
    "choreography/suspects.py": CHOREOGRAPHY,
    "workflows/activity_workers.py": SHARED,
    "workflows/arguments.py": SHARED,
    "workflows/temporal_client.py": SHARED,
    "workflows/temporal_errors.py": SHARED,
    "workflows/timeline_queries.py": SHARED,
    "workflows/display.py": SHARED,
    "workflows/event_logs.py": SHARED,
    "workflows/flagged.py": SHARED,
    "workflows/naming.py": SHARED,
    "workflows/reconciler.py": SHARED,
    "workflows/reconciler_schedule.py": SHARED,
    "workflows/retries.py": SHARED,
    "workflows/search_attributes.py": SHARED,
    "workflows/serving.py": SHARED,
    "workflows/story.py": SHARED,
    "workflows/summaries.py": SHARED,
    "workflows/sweep.py": SHARED,
    "workflows/timeline.py": SHARED,
    "workflows/worker.py": SHARED,
    "workflows/mirror_arrivals.py": MIRROR,
    "workflows/mirror_feed.py": MIRROR,
    "workflows/mirror_patience.py": MIRROR,
    "workflows/pace.py": MIRROR,
    "workflows/mirror_watch.py": MIRROR,
    "workflows/mirror_record.py": MIRROR,
    "workflows/mirrors.py": MIRROR,
    "workflows/saga_mirror.py": MIRROR,
    "workflows/order_saga.py": ORCHESTRATION,
    "workflows/saga_input.py": ORCHESTRATION,
    "workflows/remote_order_saga.py": ORCHESTRATION,
    "workflows/saga_steps.py": ORCHESTRATION,
    "workflows/step_runs.py": ORCHESTRATION,
    "api/gateway/orchestration.py": ORCHESTRATION,
}


def modules() -> Iterator[str]:
    """Every module of the packages that hold the steps and sequence them, as NEEDED_BY names it."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if lines_of_code(path.read_text(encoding="utf-8")):
                yield path.relative_to(ROOT).as_posix()


def lines_needed() -> dict[str, dict[str, int]]:
    """Lines of code by module, by who needs it."""
    counted: dict[str, dict[str, int]] = {SHARED: {}, CHOREOGRAPHY: {}, MIRROR: {}, ORCHESTRATION: {}}
    for module, needed_by in NEEDED_BY.items():
        counted[needed_by][module] = lines_of_code((ROOT / module).read_text(encoding="utf-8"))
    return counted


def lines_of_code(source: str) -> int:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - _docstrings(source))


def _docstrings(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found
