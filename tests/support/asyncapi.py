"""Hold a message against docs/asyncapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker

FILE: Final = Path(__file__).parents[2] / "docs" / "asyncapi.json"


def faults(document: dict[str, Any], routing_key: str, message: Any) -> list[str]:
    """What is wrong with a message that was published with this routing key, if anything is."""
    (channel,) = (each for each in document["channels"].values() if each["address"] == routing_key)
    (name,) = channel["messages"]
    # References are looked up from the root of a schema.
    schema = {**document["components"]["messages"][name]["payload"], "components": document["components"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(message)]


def described() -> dict[str, Any]:
    """The document as it is committed."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document
