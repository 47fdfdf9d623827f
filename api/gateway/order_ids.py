"""Mint order ids that tell their time, the coordinator, and that a gateway of this system minted them."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b, sha256
from typing import Final
from uuid import UUID

from models.ids import marked, uuid7

# Of the last 32 bits of a UUIDv7, which are random: the last one names the coordinator, 16 are the seal.
_SEAL_BITS: Final = 16
_SEAL_AT: Final = 1
_SEAL: Final = ((1 << _SEAL_BITS) - 1) << _SEAL_AT


class OrderIds:
    """Mints ids with a seal, which is made with a secret that all gateways of a system share.

    A client learns such an id only from a 202. So a recent id with a seal belongs to an accepted order, also if the
    order isn't stored yet. The seal is no proof: one of 65,536 forged ids passes. It may only decide how long to wait.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = sha256(b"order ids:" + secret).digest()

    def mint(self, now: datetime, *, orchestrated: bool) -> UUID:
        """A new id. The ids of one gateway only grow."""
        fresh = marked(uuid7(now), orchestrated)
        return UUID(int=fresh.int & ~_SEAL | self._seal(fresh))

    def sealed(self, order_id: UUID) -> bool:
        """Whether a gateway with the same secret has minted this id."""
        return order_id.version == 7 and order_id.int & _SEAL == self._seal(order_id)

    def _seal(self, order_id: UUID) -> int:
        content = (order_id.int & ~_SEAL).to_bytes(16, "big")
        digest = blake2b(content, key=self._key, digest_size=_SEAL_BITS // 8).digest()
        return int.from_bytes(digest, "big") << _SEAL_AT
