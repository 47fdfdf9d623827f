"""Compare the bodies that come with one Idempotency-Key by digests of their meaning."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import msgspec

from api.gateway.schemas import CreateOrder
from api.problems import Problem, ProblemType
from models.saga import Coordinator


def digests_of(body: CreateOrder, coordinator: Coordinator, default: Coordinator) -> set[str]:
    """The digests of the body and of its equivalents, in which the coordinator is named or left out."""
    digests = {digest_of(body, coordinator)}
    if body.coordinator is not None:
        digests.add(digest_of(body.model_copy(update={"coordinator": None}), coordinator))
    elif coordinator is default:
        digests.add(digest_of(body.model_copy(update={"coordinator": coordinator}), coordinator))
    return digests


def digest_of(body: CreateOrder, coordinator: Coordinator) -> str:
    """The SHA-256 of the checked body. White space, the order of keys and explicit defaults make no difference.

    If the body names no coordinator, the digest has that fact and the coordinator that the order got. So a repetition
    finds the same coordinator, whatever the default is by then.
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


def key_taken(order_id: UUID) -> Problem:
    detail = f"This Idempotency-Key came with another body before, for order {order_id}; use a new key"
    return Problem(ProblemType.CONFLICT, detail)
