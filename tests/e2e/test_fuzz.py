"""The gateway of a running stack answers nothing undeclared and no 5xx, whatever is sent."""

from __future__ import annotations

from schemathesis import GenerationMode
from schemathesis.openapi import from_url

from tests.e2e.conftest import Stack
from tests.fuzz import fuzz


def test_no_request_makes_the_running_system_answer_what_it_has_not_declared(stack: Stack) -> None:
    document = from_url(f"{stack.gateway}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 13
    for operation in operations:
        for mode in GenerationMode:
            fuzz(operation, mode, examples=25)
