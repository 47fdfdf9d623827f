"""Tell who shows an API key: which name and role it has, and whose orders it may reach."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

PREFIX: Final = "sk_saga_"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_BYTES: Final = 32  # of chance in a key: 43 characters
_RULE_OF_NAMES: Final = "must have 1 to 64 letters, digits, dots, dashes and underscores, and be no key"
_FORM: Final = "name:role:digest or name:role:userId:digest"


class Role(StrEnum):
    """What a key is for."""

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """What is known of a key: never the key itself, only its SHA-256."""

    name: str
    role: Role
    digest: bytes = field(repr=False)
    user_id: UUID | None = None  # the only user whose orders a client's key reaches; None: every user's

    def __str__(self) -> str:
        """The record of this key, as SAGA_API_KEYS takes it."""
        user = [str(self.user_id)] if self.user_id else []
        return ":".join([self.name, self.role, *user, self.digest.hex()])


class Keys:
    """The keys that a gateway knows."""

    def __init__(self, known: Iterable[ApiKey]) -> None:
        self._by_digest = {key.digest: key for key in known}

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def find(self, shown: bytes) -> ApiKey | None:
        """The key that these bytes are, if it is known. They are hashed once, whatever they are, and kept nowhere.

        How long a look-up takes depends on the SHA-256 of what is shown. Nobody can choose that a byte at a time.
        """
        digest = sha256(shown).digest()
        known = self._by_digest.get(digest)
        return known if known is not None and hmac.compare_digest(known.digest, digest) else None


def mint(name: str, role: Role, user_id: UUID | None = None) -> tuple[str, ApiKey]:
    """A new key, which is known nowhere else, and its record. Raises ValueError for a name or user that can't be."""
    if not _is_name(name):
        raise ValueError(f"The name {name!r} {_RULE_OF_NAMES}")
    shown = PREFIX + secrets.token_urlsafe(_BYTES)
    user = [str(user_id)] if user_id else []
    return shown, parse(":".join([name, role, *user, sha256(shown.encode()).hexdigest()]), f"The key {name!r}")


def parse_all(text: str) -> tuple[ApiKey, ...]:
    """The keys of these records, separated by commas or white space.

    Raises ValueError that names the record, and never shows what may be a digest or a key. Several records may have the
    same name, so that a key can be replaced without a moment in which neither is taken; they must agree in all else.
    """
    found: dict[bytes, ApiKey] = {}
    by_name: dict[str, ApiKey] = {}
    for number, record in enumerate(re.split(r"[,\s]+", text.strip(", \t\r\n")) if text.strip(", \t\r\n") else (), 1):
        key = parse(record, _named(number, record))
        where = _named(number, record)
        if key.digest in found:
            raise ValueError(f"{where} has the same digest as {found[key.digest].name}; make a key of its own for each")
        first = by_name.setdefault(key.name, key)
        if (first.role, first.user_id) != (key.role, key.user_id):
            raise ValueError(f"{where} has the name of a record with another role or user; give it another name")
        found[key.digest] = key
    return tuple(found.values())


def parse(record: str, where: str) -> ApiKey:
    """The key of one record. Raises ValueError, in which `where` names the record."""
    parts = record.split(":")
    if len(parts) not in (3, 4):
        raise ValueError(f"{where} must be {_FORM}")
    name, role, digest = parts[0], parts[1], parts[-1]
    if not _is_name(name):
        raise ValueError(f"{where} must begin with its name, which {_RULE_OF_NAMES}")
    if role not in set(Role):
        raise ValueError(f"{where} must have the role {' or '.join(Role)}")
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{where} must end with the key's SHA-256, 64 hexadecimal digits; `saga keys new` makes it")
    user_id = None
    if len(parts) == 4:
        if role == Role.OPERATOR:
            raise ValueError(f"{where} is an operator's, who is bound to no user; leave the userId out")
        try:
            user_id = UUID(parts[2])
        except ValueError:
            raise ValueError(f"{where} must have a UUID as its userId") from None
    return ApiKey(name=name, role=Role(role), digest=bytes.fromhex(digest), user_id=user_id)


def _named(number: int, record: str) -> str:
    """How an error calls the record: what stands where the name should be may be a secret in the wrong place."""
    name = record.partition(":")[0]
    return f"record {number} ({name})" if ":" in record and _is_name(name) else f"record {number}"


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and not _DIGEST.fullmatch(text) and not text.startswith(PREFIX)
