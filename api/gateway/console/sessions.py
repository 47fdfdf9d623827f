"""Make sessions of API keys: cookies that any gateway of the system can check, and of which none is kept."""

from __future__ import annotations

import binascii
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from api.gateway.keys import ApiKey

COOKIE: Final = "saga_session"
PROOF: Final = "X-Saga-Proof"
LIFE: Final = 12 * 3600  # seconds

_WHOSE: Final = 16  # bytes that tell the key
_EXPIRY: Final = 8  # bytes: seconds since 1970
_LENGTH: Final = _WHOSE + _EXPIRY + sha256().digest_size


class Sessions:
    """Seals and opens session cookies with a secret that all gateways of a system share.

    A cookie tells its key by a digest that only this secret can make: it holds neither the key nor the key's record. A
    key that is taken out of the configuration ends all of its sessions.
    """

    def __init__(self, secret: bytes, keys: Iterable[ApiKey]) -> None:
        secret = secret or secrets.token_bytes(32)  # without one, sessions are this process's alone
        self._sealing, self._proving, naming = (
            sha256(b"console %s:" % purpose + secret).digest() for purpose in (b"seal", b"proof", b"key")
        )
        self._keys = {_digest(naming, key.digest)[:_WHOSE]: key for key in keys}
        self._whose = {key.digest: whose for whose, key in self._keys.items()}

    def open(self, key: ApiKey, now: datetime) -> str:
        """A cookie's value: a session of this key, for LIFE seconds from now on."""
        told = self._whose[key.digest] + int(now.timestamp() + LIFE).to_bytes(_EXPIRY)
        return _written(told + _digest(self._sealing, told))

    def find(self, cookie: str, now: datetime) -> ApiKey | None:
        """The key whose session this is; None if it is no session of ours, has expired, or its key is gone."""
        try:
            sealed = urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)) if len(cookie) < 2 * _LENGTH else b""
        except (binascii.Error, ValueError):
            return None
        told, seal = sealed[: _WHOSE + _EXPIRY], sealed[_WHOSE + _EXPIRY :]
        if len(sealed) != _LENGTH or _written(sealed) != cookie:
            return None  # Python decodes other texts to the same bytes
        if not hmac.compare_digest(seal, _digest(self._sealing, told)):
            return None
        if int.from_bytes(told[_WHOSE:]) <= now.timestamp():
            return None
        return self._keys.get(told[:_WHOSE])

    def proof(self, cookie: str = "") -> str:
        """What shows that whoever changes something could read an answer to this session, as foreign pages cannot."""
        return _written(_digest(self._proving, cookie.encode()))

    def proves(self, shown: bytes, cookie: str) -> bool:
        """Whether this is the session's proof; compared in constant time."""
        return hmac.compare_digest(shown, self.proof(cookie).encode())


def _written(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _digest(secret: bytes, told: bytes) -> bytes:
    return hmac.digest(secret, told, "sha256")
