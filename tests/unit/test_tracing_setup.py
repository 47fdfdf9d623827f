"""Whether a process traces is said by the environment, and costs nothing if it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stack.traces import traced

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "saga", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, False),
        (ENDPOINT, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_the_endpoint_turns_traces_on_and_two_standard_variables_off(environ: dict[str, str], expected: bool) -> None:
    assert traced(environ) is expected


def test_a_process_that_does_not_trace_loads_neither_the_sdk_nor_its_exporter() -> None:
    code = """
import sys
import cli.app, stack.services, stack.traces, stack.logs
import stack.wire_gateway, stack.wire_services, stack.wire_worker
with stack.traces.tracing_of("order", {}) as tracing:
    assert tracing.interceptors == () and tracing.gateway is None
print(sorted(name for name in sys.modules if name.startswith((
    "opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "temporalio.contrib.opentelemetry"))))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"
