"""A request that a gateway accepts, and readers for its answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from tests.support.messages import USER

BODY: dict[str, Any] = {"userId": USER, "total": 999}
OLD = UUID("019c5ef4-0d8f-4a3c-9f1e-5b1d2c3e4f50")
PROBLEM = "application/problem+json"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer, checked for the fields that all of them have."""
    assert (status, PROBLEM) == (answer.status_code, answer.headers["content-type"]), answer.text
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "correlationId"} == set(body) - {"errors"}
    assert (status, answer.headers["x-correlation-id"]) == (body["status"], body["correlationId"])
    return body


def violations(answer: httpx.Response) -> list[tuple[str, str, str]]:
    return [(error["in"], error["field"], error["rule"]) for error in problem(answer, 422)["errors"]]


def told(answer: httpx.Response) -> list[str]:
    """The event types in a stream, in its order."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
