"""Tell what the Temporal SDK logs as events with fields, an outage briefly, and an expected failure in one line."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import structlog

from choreography.log_throttle import LogThrottle

_LONGEST: Final = 300  # characters of a field of the core
_FAILED: Final = "ActivityFailure"  # by which the SDK marks the line about a failed activity
_TOLD: Final = ("activity_type", "attempt", "workflow_id", "task_queue")


def as_event(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A processor: give the SDK's records fields instead of text. Other events stay as they are."""
    record = event.get("_record")
    core = getattr(record, "temporal_log", None)
    if core is not None:
        event["event"], event["source"] = str(core.message), str(core.target)
        event["fields"] = {str(name): str(value)[:_LONGEST] for name, value in core.fields.items()}
    elif getattr(record, "__temporal_error_identifier", None) == _FAILED:
        _tell_failure(event, getattr(record, "temporal_activity", {}))
    return event


def _tell_failure(event: structlog.typing.EventDict, activity: Mapping[str, Any]) -> None:
    event["event"] = "activity_failed"
    event.update({name: activity[name] for name in _TOLD if name in activity})
    error = (event.get("exc_info") or (None, None))[1]
    if error is not None:
        names_itself = getattr(error, "type", None) is not None  # as an ApplicationError with a type does
        event["error"] = str(error) if names_itself else f"{type(error).__name__}: {error}"
    if _is_expected(error):
        event.pop("exc_info", None)


def _is_expected(error: object) -> bool:
    """Whether we raised it ourselves to fail the activity, or the database is away."""
    # A library that was not imported has raised nothing. The gateway and the worker load no database.
    from temporalio.exceptions import FailureError

    database = sys.modules.get("models.database")
    return isinstance(error, FailureError) or (database is not None and isinstance(error, database.TRANSIENT))


class Throttled(logging.Filter):
    """Lets a line of the core through at once, and then once a minute while it is repeated with other numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted = LogThrottle()

    def filter(self, record: logging.LogRecord) -> bool:
        core = getattr(record, "temporal_log", None)
        return self._wanted(re.sub(r"\d+", "#", f"{getattr(core, 'target', '')} {record.getMessage()}"))
