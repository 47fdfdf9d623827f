"""A table's columns are listed once, in its class: what reads and writes rows takes them from there."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from activities.book import Book
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from models.columns import columns_of
from models.event_log import ENVELOPE_COLUMNS, LOGGED, logged_envelope, logged_row
from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.messages import envelope_of
from models.order import Order
from models.payment import Payment
from models.saga import CancelReason, Coordinator, OrderId, OrderPaid, PaymentId, UserId
from models.tables import PaymentEventRow

ID = OrderId(UUID(int=1))
ORDER = Order(
    id=ID,
    user_id=UserId(UUID(int=2)),
    total=999,
    currency="USD",
    payment_method=None,
    coordinator=Coordinator.ORCHESTRATION,
    status=OrderStatus.CANCELLED,
    cancel_reason=CancelReason.USER_REQUESTED,
)
PAYMENT = Payment(
    id=PaymentId(UUID(int=3)),
    order_id=ID,
    amount=999,
    currency="USD",
    payment_method="pm_card_visa",
    coordinator=Coordinator.CHOREOGRAPHY,
    status=PaymentStatus.APPROVED,
    due=Due.REFUND,
    transaction_id="t",
)


@pytest.mark.parametrize("book", [ORDERS, PAYMENTS], ids=["orders", "payments"])
def test_a_state_holds_every_column_of_its_row_but_what_the_ledger_notes_about_it(book: Book[Any]) -> None:
    time = "timestamp with time zone"
    noted = {"created_at": time, "updated_at": time, "changes": "integer"}
    assert columns_of(book.rows) == {**book.columns, **noted}


@pytest.mark.parametrize(("book", "state"), [(ORDERS, ORDER), (PAYMENTS, PAYMENT)], ids=["orders", "payments"])
def test_a_row_that_is_read_back_holds_the_same_state(book: Book[Any], state: Any) -> None:
    # As PostgreSQL has it: members of enumerations are text.
    row = [str(value) if isinstance(value, str) else value for value in book.dump(state)]
    again = book.load(row)
    assert again == state
    assert type(again.status) is type(state.status)
    assert type(again.coordinator) is Coordinator


@pytest.mark.parametrize("book", [ORDERS, PAYMENTS], ids=["orders", "payments"])
def test_a_row_without_optional_values_is_read_as_such(book: Book[Any]) -> None:
    state = {"orders": ORDER, "payments": PAYMENT}[book.table]
    row = dict(zip(book.columns, book.dump(state), strict=True)) | {"due": None, "cancel_reason": None}
    again = book.load([row[name] for name in book.columns])
    assert getattr(again, "due", None) is getattr(again, "cancel_reason", None) is None


def test_both_event_logs_have_the_same_columns() -> None:
    assert columns_of(PaymentEventRow, but=("seq",)) == LOGGED


def test_an_event_is_read_back_from_the_row_that_was_written() -> None:
    at = datetime(2026, 2, 15, tzinfo=UTC)
    event = envelope_of(OrderPaid(order_id=ID), event_id=UUID(int=4), occurred_at=at, correlation_id="c")
    row = dict(zip(LOGGED, logged_row(event, ID, attempt=3), strict=True))
    assert logged_envelope({name: row[name] for name in ENVELOPE_COLUMNS}) == event
    assert (row["order_id"], row["attempt"]) == (ID, 3)
