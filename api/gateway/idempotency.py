"""Tell whether two bodies under one Idempotency-Key mean the same."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from api.gateway.schemas import CreateOrder
from models.saga import Coordinator


def digests_of(body: CreateOrder, coordinator: Coordinator, default: Coordinator) -> set[str]:
    """Of the body, and of the one that means the same: with the coordinator spelled out, or left out."""
    digests = {digest_of(body, coordinator)}
    if body.coordinator is not None:
        digests.add(digest_of(body.model_copy(update={"coordinator": None}), coordinator))
    elif coordinator is default:
        digests.add(digest_of(body.model_copy(update={"coordinator": coordinator}), coordinator))
    return digests


def digest_of(body: CreateOrder, coordinator: Coordinator) -> str:
    """SHA-256 of the checked body: white space, order of keys and spelled-out defaults make no difference.

    A coordinator that was left out stays left out, beside the one that the order was given: so a repetition finds that
    one again, whatever the default is by then.
    """
    canonical = [
        body.user_id,
        body.total,
        body.currency,
        body.coordinator,
        body.payment_method,
        coordinator,
    ]
    return sha256(msgspec.json.encode(canonical)).hexdigest()
