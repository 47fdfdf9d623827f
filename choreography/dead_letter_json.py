"""Write a dead letter as JSON, all of it, and read it again."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import msgspec

from choreography.dead_letters import DeadLetterRecord
from models.messages import camel


def as_json(record: DeadLetterRecord) -> dict[str, Any]:
    """All of it; what is no text is in Base64, beside its text if that can be told."""
    shown = {camel(field.name): getattr(record, field.name) for field in fields(record)}
    readable = _decoded(record.body) is not None
    raw = {"bodyBase64": None if readable else _base64(record.body), "properties": _base64(record.properties)}
    return shown | raw | {"body": _body(record.body)}


def from_json(shown: Mapping[str, Any]) -> DeadLetterRecord:
    """The record that was written so; its body is the same JSON, if not the same bytes. Raises LookupError."""
    # A process of the version before leaves out what it does not know.
    known = {
        field.name: shown[camel(field.name)]
        for field in fields(DeadLetterRecord)
        if field.default is MISSING or camel(field.name) in shown
    }
    if shown.get("bodyBase64") is not None:
        known["body"] = b64decode(shown["bodyBase64"])
    else:
        known["body"] = known["body"].encode() if isinstance(known["body"], str) else msgspec.json.encode(known["body"])
    known["properties"] = None if known.get("properties") is None else b64decode(known["properties"])
    return DeadLetterRecord(**known)


def _body(body: bytes) -> Any:
    """What the JSON says; or text, if it is none, or none that can be written again."""
    try:
        value = msgspec.json.decode(body)
        json.dumps(value, indent=2)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body.decode("utf-8", "backslashreplace")
    return value


def _decoded(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()
