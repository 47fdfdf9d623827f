"""The gateway of a running stack answers nothing undeclared and no 5xx, whatever is sent."""

from __future__ import annotations

from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.openapi import from_url

from tests.support.fuzz import fuzz
from tests.support.stack import Stack


def test_no_request_makes_the_running_system_answer_what_it_has_not_declared(stack: Stack) -> None:
    document = from_url(f"{stack.gateway}/openapi.json")
    found = list(document.get_all_operations())
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) == len(found), "the document has an operation that is no valid one"
    assert len(operations) >= 13
    for operation in operations:
        for mode in GenerationMode:
            fuzz(operation, mode, examples=25)
