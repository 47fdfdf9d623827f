"""Say in OpenAPI what can be answered: every status, with its media type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE
from api.schemas import ProblemBody

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_REF: Final = "#/components/schemas/{model}"

_PROBLEMS: Final[Mapping[int, str]] = {
    401: "The internal token is missing or wrong",
    404: "Unknown id",
    409: "The order's state, or an earlier use of the Idempotency-Key, forbids it",
    413: "The body is larger than 64 KiB",
    422: "The request breaks a rule; `errors` names every field and its rule",
    500: "Unexpected; the log has more under the correlation id",
    503: "The broker, Temporal, or a service that is needed, does not answer; `Retry-After` says when to try again",
}
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_CORRELATION: Final = {
    "X-Correlation-Id": {
        "description": "The request's own, or the one minted for it; every message and log line carries it",
        "schema": {"type": "string"},
    }
}
CORRELATION_PARAMETER: Final = {
    "name": "X-Correlation-Id",
    "in": "header",
    "description": "Traces the request: 1 to 128 printable ASCII characters; anything else is replaced by a new id",
    "schema": {"type": "string"},
}


def problems(*statuses: int) -> Responses:
    """The declarations of these problems, and of those that any request can meet."""
    found: Responses = {}
    for status in sorted({*statuses, 413, 422, 500}):
        found[status] = {
            "description": _PROBLEMS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        if status == 503:
            found[status]["headers"] = dict(_RETRY_AFTER)
    return found


def answers(status: int, model: type[BaseModel], description: str, **headers: str) -> Responses:
    """The declaration of a success; `headers` by name with underscores, each with its description."""
    answer: dict[str, Any] = {"model": model, "description": description}
    if headers:
        answer["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return {status: answer}


def takes(model: type[BaseModel] | None = None, *parameters: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """What an operation reads by itself: a JSON body and headers."""
    found: dict[str, Any] = {"parameters": [*parameters, CORRELATION_PARAMETER]}
    if model is not None:
        schema = {"$ref": _REF.format(model=model.__name__)}
        found["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return found


def describe(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Make the application's document complete: the bodies it reads by itself, problems, correlation ids."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, bodies)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI, bodies: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
    schemas.update(definitions.get("$defs", {}))
    schemas["Problem"] = ProblemBody.model_json_schema(ref_template=_REF)
    schemas.update(schemas["Problem"].pop("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                answer.setdefault("headers", {}).update(_CORRELATION)
    return document
