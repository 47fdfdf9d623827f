"""Recognise the internal token without having it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

DIGEST: Final = "sha256:"


def recognising(token: str) -> str:
    """What recognises a token and opens nothing: its digest, `sha256:` and 64 hex digits; a digest stays as it is."""
    return token if token.startswith(DIGEST) else DIGEST + sha256(token.encode()).hexdigest()
