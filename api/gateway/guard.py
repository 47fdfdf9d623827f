"""Let nobody under /api who shows no API key, once there are keys, and nobody but operators to what is theirs."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import SAFE_METHODS
from api.gateway.console.sessions import COOKIE, PROOF, Sessions
from api.gateway.dependencies import Clock
from api.gateway.keys import ApiKey, Keys, Role
from api.openapi import KeysAsked
from api.problems import Problem, ProblemType
from api.telemetry import METRICS_PATH

GUARDED: Final = "/api"
SESSION_PATH: Final = "/api/console/session"  # open: a key is exchanged for a session here
OPERATOR_PATHS: Final = ("/api/operator", "/api/console/parts", METRICS_PATH)
_KEY: Final = "saga.api_key"  # where the key is kept in an ASGI scope …
_COOKIE: Final = "saga.session"  # … and the session's cookie, if it came by one
_REALM: Final = 'Bearer realm="payment-saga"'
_LONGEST: Final = 256  # bytes of a key


class Guard:
    """Whose request it is: refused with 401 or 403 before anything reads it, or known from here on.

    A key is shown in the Authorization field, or by the cookie of a session that it was exchanged for. Pages, health
    checks and the document are open. So is a browser's question whether it may ask, which carries no key.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys, sessions: Sessions, clock: Clock) -> None:
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_guarded(scope["path"]) and not _is_preflight(scope):
            try:
                self._let_in(scope)
            except Problem as problem:
                if not _is_open(scope, problem):
                    raise
        await self._app(scope, receive, send)

    def _let_in(self, scope: Scope) -> None:
        """Note in the scope whose request it is. Raises Problem if it is nobody's whom we know."""
        key = self._by_session(scope) or self._keys.find(_shown(scope))
        if key is None:
            raise wrong_key()
        if key.role is not Role.OPERATOR and _is_for_operators(scope["path"]):
            raise operators_only()
        scope[_KEY] = key

    def _by_session(self, scope: Scope) -> ApiKey | None:
        """The key of the session; None if the request shows a key itself, or no session.

        A browser sends a cookie with whatever request a page makes. So what changes anything needs a proof besides.
        """
        cookie = None if _fields(scope, b"authorization") else cookie_in(scope)
        if cookie is None:
            return None
        key = self._sessions.find(cookie, self._clock())
        if key is None:
            raise session_over()
        proofs = _fields(scope, PROOF.lower().encode())
        if not (scope["method"] in SAFE_METHODS or (len(proofs) == 1 and self._sessions.proves(proofs[0], cookie))):
            raise no_proof()
        scope[_COOKIE] = cookie
        return key


def is_guarded(path: str) -> bool:
    """Whether a path needs a key, if there are any."""
    return _is_at(path, GUARDED) or _is_for_operators(path)


def _is_for_operators(path: str) -> bool:
    return any(_is_at(path, each) for each in OPERATOR_PATHS)


def key_of(scope: Scope) -> ApiKey | None:
    """The key that this request shows; None where no keys are configured, and everybody may do everything."""
    key: ApiKey | None = scope.get(_KEY)
    return key


def session_of(scope: Scope) -> str | None:
    """The cookie of the session that this request was let in by; None if it was by a key, or there are no keys."""
    cookie: str | None = scope.get(_COOKIE)
    return cookie


def cookie_in(scope: Scope) -> str | None:
    """The session's cookie that this request carries, whatever it is worth; None if it has none."""
    for field in _fields(scope, b"cookie"):
        if COOKIE in (found := cookie_parser(field.decode("latin-1"))):
            return found[COOKIE]
    return None


def only_user(scope: Scope) -> UUID | None:
    """The only user whose orders and payments this request may reach; None: every user's."""
    key = key_of(scope)
    return key.user_id if key is not None else None


def _is_at(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _is_open(scope: Scope, problem: Problem) -> bool:
    """Whether whoever has this problem is let through as nobody: to see if there is a session, or to begin one."""
    begins = scope["method"] == "POST"  # the body has the key
    return scope["path"] == SESSION_PATH and (begins or problem.kind is ProblemType.UNAUTHORIZED)


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _shown(scope: Scope) -> bytes:
    """The key in the Authorization field. Raises Problem unless there is one such field, with one key."""
    fields = _fields(scope, b"authorization")
    if not fields:
        raise no_key()
    scheme, _, key = fields[0].partition(b" ")
    key = key.strip(b" ")
    if len(fields) > 1 or scheme.lower() != b"bearer" or not key or len(key) > _LONGEST or b" " in key:
        raise malformed_key()
    return key


def _fields(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def no_key() -> Problem:
    detail = "This needs an API key: send `Authorization: Bearer <key>`; an operator makes one with `saga keys new`"
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": _REALM})


def malformed_key() -> Problem:
    headers = {"WWW-Authenticate": f'{_REALM}, error="invalid_request"'}
    return Problem(ProblemType.UNAUTHORIZED, "Send the API key once, as `Authorization: Bearer <key>`", headers=headers)


def wrong_key() -> Problem:
    detail = "This API key is not known here; check it, or ask an operator for another"
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})


def session_over() -> Problem:
    detail = "This session is over, or no session of this system; sign in again with an API key"
    return Problem(ProblemType.UNAUTHORIZED, detail, headers={"WWW-Authenticate": _REALM})


def no_proof() -> Problem:
    detail = f"What a session changes needs its proof: send `{PROOF}` with the proof of GET {SESSION_PATH}"
    return Problem(ProblemType.FORBIDDEN, detail)


def operators_only() -> Problem:
    return Problem(ProblemType.FORBIDDEN, "This is for operators alone; ask with an operator's API key")


def keys_asked(*, required: bool) -> KeysAsked:
    """What the document says of keys."""
    return KeysAsked(
        under=GUARDED, required=required, refusals=(no_key(), malformed_key(), wrong_key(), session_over())
    )
