"""Every log line of a process is one JSON object, also those of the Temporal SDK. Only faults have tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_PREPARED = """
import logging, asyncio
from types import SimpleNamespace
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio import activity
import psycopg, models.database
from activities.activity_protocol import for_good
from stack import logs
from workflows.core_log import FORWARDED

logs.configure(level="INFO", log_format="json", service="payment")

def fail(error):
    # This is what the SDK does with an activity's error.
    try:
        raise error
    except Exception:
        activity.logger.warning(
            "Completing activity as failed", exc_info=True, extra={"__temporal_error_identifier": "ActivityFailure"}
        )

def fail_in_activity(error):
    ActivityEnvironment().run(fail, error)

def core(message, **fields):
    FORWARDED.forwarding._on_logs([SimpleNamespace(
        level=logging.WARNING, target="temporalio_client::retry", message=message, fields=fields, time=1.0
    )])
"""


def logged(code: str) -> list[dict[str, Any]]:
    """The log lines of a process that does this."""
    ran = subprocess.run(
        [sys.executable, "-c", _PREPARED + code], capture_output=True, text=True, timeout=60, check=True
    )
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_an_expected_failure_of_an_activity_is_one_line_without_a_traceback() -> None:
    (line,) = logged('fail_in_activity(ApplicationError("no answer", type="ProviderUnavailable"))')
    assert (line["event"], line["error"], line["level"]) == (
        "activity_failed",
        "ProviderUnavailable: no answer",
        "warning",
    )
    assert (line["attempt"], line["workflow_id"], line["activity_type"]) == (1, "test", "unknown")
    assert "exception" not in line


def test_an_outage_of_the_database_is_an_expected_failure() -> None:
    (line,) = logged('fail_in_activity(psycopg.OperationalError("the server closed the connection"))')
    assert line["error"] == "OperationalError: the server closed the connection"
    assert "exception" not in line


def test_an_unexpected_failure_of_an_activity_keeps_its_traceback() -> None:
    (line,) = logged('fail_in_activity(KeyError("a fault"))')
    assert (line["event"], line["error"]) == ("activity_failed", "KeyError: 'a fault'")
    assert "line 17, in fail" in line["exception"]


def test_a_line_of_the_core_is_an_event_with_fields() -> None:
    (line,) = logged('core("gRPC call failed", error="x" * 5000, attempt=3)')
    assert (line["event"], line["source"], line["service"]) == (
        "gRPC call failed",
        "temporalio_client::retry",
        "payment",
    )
    assert line["fields"] == {"error": "x" * 300, "attempt": "3"}


def test_the_core_repeats_itself_once_a_minute_at_most() -> None:
    lines = logged('[core(f"gRPC call retried {number} times") for number in range(1000)]; core("something else")')
    assert [line["event"] for line in lines] == ["gRPC call retried 0 times", "something else"]


def test_a_warning_of_python_is_a_line_as_well() -> None:
    (line,) = logged('import warnings; warnings.warn("this is old")')
    assert "this is old" in line["event"]


def test_a_process_that_sets_up_no_logging_tells_nothing_of_the_core() -> None:
    silent = _PREPARED.replace("logs.configure(", "dict(") + 'core("gRPC call failed")'
    ran = subprocess.run([sys.executable, "-c", silent], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""


def test_a_traceback_for_people_shows_no_variables() -> None:
    code = """
from stack import logs
logs.configure(level="INFO", log_format="console", service="gateway")
import structlog
def fail(key):
    raise ValueError("unexpected")
try:
    fail("sk_" + "saga_secret")
except ValueError:
    structlog.get_logger().exception("request_failed")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "ValueError: unexpected" in ran.stderr
    assert "sk_saga_secret" not in ran.stderr
