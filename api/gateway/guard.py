"""Let nobody under /api who shows no API key, once there are keys, and nobody but operators to what is theirs."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from api.gateway.keys import ApiKey, Keys, Role
from api.openapi import KeysAsked
from api.problems import Problem, ProblemType
from api.telemetry import METRICS_PATH

GUARDED: Final = "/api"
OPERATOR_PATHS: Final = "/api/operator"
_KEY: Final = "saga.api_key"  # where the key is kept in an ASGI scope
_REALM: Final = 'Bearer realm="payment-saga"'
_LONGEST: Final = 256  # bytes of a key


class Guard:
    """Whose request it is: refused with 401 or 403 before anything reads it, or known from here on.

    Pages, health checks and the document are open. So is a browser's question whether it may ask, which carries no key.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_guarded(scope["path"]) and not _is_preflight(scope):
            key = self._keys.find(_shown(scope))
            if key is None:
                raise wrong_key()
            if key.role is not Role.OPERATOR and _is_for_operators(scope["path"]):
                raise operators_only()
            scope[_KEY] = key
        await self._app(scope, receive, send)


def is_guarded(path: str) -> bool:
    """Whether a path needs a key, if there are any."""
    return _is_at(path, GUARDED) or _is_for_operators(path)


def _is_for_operators(path: str) -> bool:
    return _is_at(path, OPERATOR_PATHS) or _is_at(path, METRICS_PATH)


def key_of(scope: Scope) -> ApiKey | None:
    """The key that this request shows; None where no keys are configured, and everybody may do everything."""
    key: ApiKey | None = scope.get(_KEY)
    return key


def only_user(scope: Scope) -> UUID | None:
    """The only user whose orders and payments this request may reach; None: every user's."""
    key = key_of(scope)
    return key.user_id if key is not None else None


def _is_at(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _shown(scope: Scope) -> bytes:
    """The key in the Authorization field. Raises Problem unless there is one such field, with one key."""
    fields: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if not fields:
        raise no_key()
    scheme, _, key = fields[0].partition(b" ")
    key = key.strip(b" ")
    if len(fields) > 1 or scheme.lower() != b"bearer" or not key or len(key) > _LONGEST or b" " in key:
        raise malformed_key()
    return key


def no_key() -> Problem:
    detail = "This needs an API key: send `Authorization: Bearer <key>`; an operator makes one with `saga keys new`"
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": _REALM})


def malformed_key() -> Problem:
    headers = {"WWW-Authenticate": f'{_REALM}, error="invalid_request"'}
    return Problem(ProblemType.UNAUTHORIZED, "Send the API key once, as `Authorization: Bearer <key>`", headers=headers)


def wrong_key() -> Problem:
    detail = "This API key is not known here; check it, or ask an operator for another"
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})


def operators_only() -> Problem:
    return Problem(ProblemType.FORBIDDEN, "This is for operators alone; ask with an operator's API key")


def keys_asked(*, required: bool) -> KeysAsked:
    """What the document says of keys."""
    return KeysAsked(under=GUARDED, required=required, refusals=(no_key(), malformed_key(), wrong_key()))
