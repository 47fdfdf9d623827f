"""Describe in OpenAPI every possible answer: its status, its media type, and a true example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from api import examples
from api.access import foreign_page, misdirected
from api.crowd import ALWAYS_TOLD
from api.edge import MAX_BODY, no_single_host, repeated, too_large
from api.fields import ORDER_ID, PAYMENT_ID
from api.problems import MEDIA_TYPE, Problem, ProblemType, content_of, internal, unauthorized, unavailable
from api.refusals import too_many_fields, too_slow
from api.requests import not_json
from api.schemas import ProblemBody

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_REF: Final = "#/components/schemas/{model}"

_ANY: Final[Mapping[int, tuple[str, str, Problem]]] = {  # the problems that any request may have
    400: ("Refused", "This is not HTTP/1.1, or its Host field is missing, double or impossible", no_single_host()),
    408: ("TooSlow", "The request was not sent in time", too_slow(30)),
    413: ("BodyTooLarge", "The body is larger than 64 KiB", too_large(MAX_BODY)),
    421: ("Misdirected", "The Host is neither loopback's nor one of SAGA_ALLOWED_HOSTS", misdirected("shop.example")),
    431: ("HeaderTooLarge", "The header is larger than 64 KiB, or has more than 100 fields", too_many_fields()),
    500: ("Unexpected", "Unexpected; the log has more under the correlation id", internal()),
}
_OF_NO_KEY: Final = "Unauthorized"
_OF_A_RATE: Final = "TooManyRequests"
_OF_A_PAGE: Final = ("ForeignPage", "A web page of an origin that SAGA_CORS_ORIGINS does not name", foreign_page())
_OF_A_BODY: Final = ("NotJson", "The body's Content-Type is not JSON, or it is encoded", not_json())
_DESCRIPTIONS: Final[Mapping[int, str]] = {
    401: "The internal token is missing or wrong",
    403: "Not for whoever asks: a web page of a foreign origin, or an API key that reaches less",
    404: "Unknown id",
    429: "More requests a second than each client may make; `Retry-After` says when to try again",
    409: "The order's state, or an earlier use of the Idempotency-Key, forbids it",
    422: "The request breaks a rule; `errors` names every field and its rule",
    501: "Not possible while SAGA_ORIGINAL_SERVICES names a service that would have to be ours",
    503: "The broker, Temporal, or a service that is needed, does not answer; `Retry-After` says when to try again. "
    "With a `Location`, the command may be carried out all the same: the order there tells",
}
_LIKE: Final[Mapping[int, Problem]] = {  # the problems of a service, as examples
    401: unauthorized(),
    404: Problem(ProblemType.NOT_FOUND, f"Order {ORDER_ID} is not known; check the id"),
    422: repeated("page"),
    503: unavailable("The database does not answer; try again"),
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


@dataclass(frozen=True, kw_only=True)
class KeysAsked:
    """Where a gateway asks for API keys, and the 401s it answers without; `required` is false while it has none."""

    under: str
    required: bool
    refusals: Sequence[Problem]


_TOKEN_SCHEME: Final = {"type": "http", "scheme": "bearer"}
_KEY_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "sk_saga_…",
    "description": "An API key, `sk_saga_` and 43 characters. None is asked for where no keys are configured",
}


def problems(*found: int | Problem) -> Responses:
    """The declarations of these problems, named by status or by example, and of the 422 that any request may get."""
    told: dict[int, list[Problem]] = {}
    for each in found:
        problem = _LIKE[each] if isinstance(each, int) else each
        told.setdefault(problem.status, []).append(problem)
    told.setdefault(422, [_LIKE[422]])
    return {status: _declared(_DESCRIPTIONS[status], told[status]) for status in sorted(told)}


def _declared(description: str, told: list[Problem]) -> dict[str, Any]:
    shown = {
        f"{problem.kind.slug}-{n}": {
            "summary": problem.detail,
            "value": content_of(problem, path="", correlation_id=examples.CORRELATION_ID),
        }
        for n, problem in enumerate(told, 1)
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}, "examples": shown}}
    answer: dict[str, Any] = {"description": description, "content": content}
    if told[0].status in (429, 503):
        answer["headers"] = dict(_RETRY_AFTER)
    return answer


def answers(
    status: int, model: type[BaseModel], description: str, *, like: Iterable[Any] = (), **headers: str
) -> Responses:
    """The declaration of a success, with examples. `headers` have underscores in their names, and descriptions."""
    shown = {f"example-{n}": {"value": examples.hide_nulls(value)} for n, value in enumerate(like, 1)}
    answer: dict[str, Any] = {"model": model, "description": description}
    if shown:
        answer["content"] = {"application/json": {"examples": shown}}
    if headers:
        answer["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return {status: answer}


def takes(model: type[BaseModel] | None = None, *parameters: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """The declaration of what an operation reads without FastAPI: a JSON body and headers."""
    found: dict[str, Any] = {"parameters": [*parameters, CORRELATION_PARAMETER]}
    if model is not None:
        schema = {"$ref": _REF.format(model=model.__name__)}
        found["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return found


def operation_id(route: APIRoute) -> str:
    """The operation's name for clients that are generated from the document, such as createOrder."""
    return to_camel(route.name)


def describe(
    app: FastAPI, *bodies: type[BaseModel], keys: KeysAsked | None = None, too_many: Problem | None = None
) -> None:
    """Complete the application's document with the bodies that it reads without FastAPI, problems, correlation ids.

    `keys` are given for the gateway. Web pages use it, so it refuses those of foreign origins. A service asks for the
    internal token instead. `too_many` answers whoever asks too often.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, bodies, keys, too_many)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(
    app: FastAPI, bodies: tuple[type[BaseModel], ...], keys: KeysAsked | None, too_many: Problem | None
) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
        servers=app.servers or [{"url": "/", "description": "Where this document is from"}],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
    schemas.update(definitions.get("$defs", {}))
    schemas["Problem"] = ProblemBody.model_json_schema(ref_template=_REF)
    schemas.update(schemas["Problem"].pop("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    common = {**_ANY, 403: _OF_A_PAGE, 415: _OF_A_BODY}
    components["responses"] = {name: _declared(text, [problem]) for name, text, problem in common.values()}
    if keys is not None:
        components["responses"][_OF_NO_KEY] = _declared("The API key is missing or wrong", list(keys.refusals))
    if too_many is not None:
        told = "More requests a second than SAGA_RATE_LIMIT lets each client make"
        components["responses"][_OF_A_RATE] = _declared(told, [too_many])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if too_many is not None and path not in ALWAYS_TOLD:
                operation["responses"]["429"] = {"$ref": f"#/components/responses/{_OF_A_RATE}"}
            for status, (name, _, _) in common.items():
                if status in _ANY or _reads(operation, status):
                    operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
            if keys is not None:
                _tell_who_may(operation, method, path, keys)
            operation["responses"] = dict(sorted(operation["responses"].items()))
            _place(operation, path)
    for answer in components["responses"].values():
        answer.setdefault("headers", {}).update(_CORRELATION)
        _name_path(answer, "/api/orders")
    components["securitySchemes"] = {"internalToken": _TOKEN_SCHEME} if keys is None else {"apiKey": _KEY_SCHEME}
    document["security"] = [{"internalToken": []}] if keys is None else []
    shown: dict[str, Any] = examples.show_nulls(document)
    return shown


def _tell_who_may(operation: dict[str, Any], method: str, path: str, keys: KeysAsked) -> None:
    """A foreign page is refused what changes anything; under `keys.under` a key is needed, once there are any."""
    answers = operation["responses"]
    if method != "get":
        foreign, (name, description, problem) = {"$ref": f"#/components/responses/{_OF_A_PAGE[0]}"}, _OF_A_PAGE
        if "403" in answers:
            shown = _declared(description, [problem])["content"][MEDIA_TYPE]["examples"]
            answers["403"]["content"][MEDIA_TYPE]["examples"] |= dict.fromkeys([name], *shown.values())
        else:
            answers["403"] = foreign
    if path.startswith(keys.under + "/"):
        answers["401"] = {"$ref": f"#/components/responses/{_OF_NO_KEY}"}
        operation["security"] = [{"apiKey": []}, *([] if keys.required else [{}])]


def _reads(operation: Mapping[str, Any], status: int) -> bool:
    return status == 415 and "requestBody" in operation


def _place(operation: Mapping[str, Any], path: str) -> None:
    """Add the headers of each answer, and the path of the request to each problem."""
    known = path.replace("{orderId}", ORDER_ID).replace("{paymentId}", PAYMENT_ID)
    unknown = path.replace("{orderId}", "42").replace("{paymentId}", "42")
    for answer in operation["responses"].values():
        if "$ref" not in answer:
            answer.setdefault("headers", {}).update(_CORRELATION)
            _name_path(answer, known, unknown)


def _name_path(answer: Mapping[str, Any], known: str, unknown: str = "") -> None:
    for content in answer.get("content", {}).values():
        shown = content.get("examples", {})
        for name, example in shown.items():
            if isinstance(example["value"], dict) and "instance" in example["value"]:
                errors = example["value"].get("errors", [])
                path = unknown if any(error["in"] == "path" for error in errors) else known
                shown[name] = {**example, "value": {**example["value"], "instance": path}}
