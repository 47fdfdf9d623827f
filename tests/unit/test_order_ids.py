"""An order id tells whether a gateway of this system minted it, and who coordinates the order."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api.gateway.order_ids import OrderIds
from models.ids import is_marked, minted_at, uuid7

NOW = datetime(2026, 2, 15, 1, 42, 19, 123000, tzinfo=UTC)
OURS = OrderIds(b"token")


@pytest.mark.parametrize("orchestrated", [False, True])
def test_an_id_tells_when_it_was_minted_and_who_coordinates(orchestrated: bool) -> None:
    order_id = OURS.mint(NOW, orchestrated=orchestrated)

    assert (7, NOW, orchestrated) == (order_id.version, minted_at(order_id), is_marked(order_id))


def test_every_gateway_with_the_same_secret_knows_an_id_as_ours() -> None:
    ids = [OURS.mint(NOW, orchestrated=bool(n % 2)) for n in range(200)]

    assert all(OrderIds(b"token").sealed(order_id) for order_id in ids)
    assert ids == sorted(set(ids))


def test_an_id_that_others_minted_is_not_taken_for_ours() -> None:
    """One forged id in 65,536 is taken for ours: with a chance of 1 in 300, one of these two hundred is."""
    strangers = [uuid7(NOW) for _ in range(200)]
    other_secret = [OrderIds(b"another").mint(NOW, orchestrated=False) for _ in range(200)]

    assert sum(map(OURS.sealed, strangers + other_secret)) <= 1
    assert not OURS.sealed(uuid4())


def test_an_id_that_was_changed_is_not_taken_for_ours() -> None:
    order_id = OURS.mint(NOW, orchestrated=False)
    changed = [UUID(int=order_id.int ^ 1 << bit) for bit in range(128) if bit not in range(76, 80)]

    assert sum(map(OURS.sealed, changed)) <= 1
