"""An audit reads both databases, or the one that is ours beside an original service."""

from __future__ import annotations

import pytest

from audit.run import Places
from cli.commands.audit import find
from embedded.errors import StackError

ORDERS, PAYMENTS = "postgresql://orders@127.0.0.1/orders", "postgresql://payments@127.0.0.1/payments"
BOTH = {"SAGA_ORDERS_DATABASE_URL": ORDERS, "SAGA_PAYMENTS_DATABASE_URL": PAYMENTS}


@pytest.mark.parametrize(
    ("originals", "places"),
    [
        ("", Places(orders_db=ORDERS, payments_db=PAYMENTS)),
        ("payment", Places(orders_db=ORDERS, payments_db="")),
        ("order", Places(orders_db="", payments_db=PAYMENTS)),
    ],
)
def test_the_database_of_an_original_service_is_left_out(originals: str, places: Places) -> None:
    assert find(None, BOTH | {"SAGA_ORIGINAL_SERVICES": originals}) == places


@pytest.mark.parametrize("missing", BOTH)
def test_the_database_of_a_service_of_ours_is_needed(missing: str) -> None:
    known = {name: url for name, url in BOTH.items() if name != missing}
    with pytest.raises(StackError, match=missing):
        find(None, known)


def test_nothing_of_ours_is_nothing_to_audit() -> None:
    with pytest.raises(StackError, match="SAGA_ORIGINAL_SERVICES"):
        find(None, BOTH | {"SAGA_ORIGINAL_SERVICES": "order, payment"})
