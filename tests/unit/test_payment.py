"""Every status and message of a payment is classified, and no interleaving with the provider keeps or doubles money."""

from dataclasses import dataclass, field, replace
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import Due, PaymentStatus
from models.outcome import Charged, Declined, Outcome, Refunded, Refused, Unanswered, Voided
from models.payment import Payment, PaymentMessage, decide, payment_id
from models.saga import (
    Become,
    Illegal,
    OrderCancelled,
    OrderCreated,
    OrderFailed,
    OrderId,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    Stale,
    TooEarly,
    UserId,
)

ID = OrderId(UUID(int=1))
CREATED = OrderCreated(order_id=ID, user_id=UserId(UUID(int=2)), total=999)
CANCELLED = OrderCancelled(order_id=ID, reason="USER_REQUESTED", total=999)
OUTCOMES: dict[str, Outcome] = {
    "charged": Charged(order_id=ID, transaction_id="t"),
    "declined": Declined(order_id=ID, reason="Insufficient funds"),
    "refused": Refused(order_id=ID, error="no such card"),
    "unanswered": Unanswered(order_id=ID, error="no answer"),
    "voided": Voided(order_id=ID),
    "refunded": Refunded(order_id=ID),
}
MESSAGES: dict[str, PaymentMessage] = {
    "created": CREATED,
    "created otherwise": replace(CREATED, total=1000),
    "cancelled": CANCELLED,
    "order failed": OrderFailed(order_id=ID, reason="no such card"),
    **OUTCOMES,
}


def payment(status: PaymentStatus, due: Due | None = None) -> Payment:
    created = decide(None, CREATED)
    assert isinstance(created, Become)
    captured = status in (PaymentStatus.APPROVED, PaymentStatus.REFUNDED) or due is Due.REFUND
    return Payment(
        id=payment_id(ID), order_id=ID, amount=999, currency="USD", payment_method=None,
        coordinator=created.state.coordinator, status=status, due=due,
        transaction_id="t" if captured else None,
    )  # fmt: skip


P, A, D, F, C, R = PaymentStatus
STATES = {
    "not known": None,
    "PROCESSING charge": payment(P, Due.CHARGE),
    "PROCESSING void": payment(P, Due.VOID),
    "APPROVED": payment(A),
    "APPROVED refund": payment(A, Due.REFUND),
    "DECLINED": payment(D),
    "FAILED": payment(F),
    "CANCELLED": payment(C),
    "CANCELLED void": payment(C, Due.VOID),
    "CANCELLED refund": payment(C, Due.REFUND),
    "REFUNDED": payment(R),
}
# What each message leads to: a kind of answer, or (status, due, event). "same": the work due is taken up again.
NONE, SAME = None, "same"
VOIDED = (C, NONE, NONE)
TO_REFUND = (C, Due.REFUND, NONE)
CANCELLING = (C, Due.VOID, PaymentCancelled)
APPROVED = (A, NONE, PaymentApproved)
DECLINED = (D, NONE, PaymentDeclined)
FAILED = (F, NONE, PaymentFailed)
REFUNDED = (R, NONE, PaymentRefunded)
TOMBSTONE = (C, NONE, PaymentCancelled)
GIVEN_UP = (P, Due.VOID, NONE)
NEW = (P, Due.CHARGE, NONE)
GIVE_BACK = (A, Due.REFUND, NONE)
TABLE = {
    # not known, P charge, P void, APPROVED, A refund, DECLINED, FAILED, CANCELLED, C void, C refund, REFUNDED
    "created": (NEW, SAME, SAME, Stale, SAME, Stale, Stale, Stale, SAME, SAME, Stale),
    "created otherwise": (
        NEW, Illegal, Illegal, Illegal, Illegal, Illegal, Illegal, Stale, SAME, SAME, Illegal),
    "cancelled": (
        TOMBSTONE, CANCELLING, CANCELLING, GIVE_BACK, SAME, Stale, Stale, Stale, SAME, SAME, Stale),
    "order failed": (
        TOMBSTONE, CANCELLING, CANCELLING, GIVE_BACK, SAME, Stale, Stale, Stale, SAME, SAME, Stale),
    "charged": (
        TooEarly, APPROVED, APPROVED, Stale, Stale, Illegal, Illegal, TO_REFUND, TO_REFUND, Stale, Stale),
    "declined": (
        TooEarly, DECLINED, DECLINED, Illegal, Illegal, Stale, Stale, Stale, VOIDED, Stale, Illegal),
    "refused": (
        TooEarly, FAILED, FAILED, Illegal, Illegal, Stale, Stale, Stale, VOIDED, Stale, Illegal),
    "unanswered": (
        TooEarly, GIVEN_UP, Stale, Stale, Stale, Stale, Stale, Stale, Stale, Stale, Stale),
    "voided": (TooEarly, Stale, FAILED, Stale, Stale, Stale, Stale, Stale, VOIDED, Stale, Stale),
    "refunded": (
        TooEarly, Stale, Stale, Stale, REFUNDED, Stale, Stale, Stale, Stale, REFUNDED, Stale),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("column", range(len(STATES)), ids=list(STATES))
def test_every_state_and_message_is_classified(name: str, column: int) -> None:
    before = list(STATES.values())[column]
    decision = decide(before, MESSAGES[name])
    answer: object = type(decision)
    if isinstance(decision, Become):
        event = type(decision.emit) if decision.emit else None
        answer = SAME if decision.state == before else (decision.state.status, decision.state.due, event)
    assert answer == TABLE[name][column]


def test_the_table_names_every_message_and_state() -> None:
    assert TABLE.keys() == MESSAGES.keys()
    assert {type(message) for message in MESSAGES.values()} == {*get_args(PaymentMessage)}
    assert {len(row) for row in TABLE.values()} == {len(STATES)}


def test_a_cancellation_that_overtook_its_order_leaves_a_tombstone_that_is_never_charged() -> None:
    tombstone = decide(None, CANCELLED)
    assert isinstance(tombstone, Become)
    assert isinstance(decide(tombstone.state, CREATED), Stale)


def test_the_same_order_has_the_same_payment_id_everywhere() -> None:
    assert payment_id(ID) == payment_id(OrderId(UUID(int=1)))
    assert payment_id(ID) != payment_id(OrderId(UUID(int=2)))


@dataclass
class Books:
    """A provider reduced to its promises: at most one capture, none after a void, and a refund of the captured sum."""

    captured: int = 0
    refunded: int = 0
    voided: bool = False
    captures: int = 0
    answers: list[str] = field(default_factory=list)

    def charge(self, verdict: str) -> Outcome:
        if self.voided:
            return Refused(order_id=ID, error="voided")
        if self.captured:
            return OUTCOMES["charged"]
        first = self.answers[0] if self.answers else verdict
        self.answers.append(first)
        if first == "charged":
            self.captured, self.captures = 999, self.captures + 1
        return OUTCOMES[first]

    def void(self) -> Outcome:
        if self.captured:
            return OUTCOMES["charged"]
        self.voided = True
        return OUTCOMES["voided"]

    def refund(self) -> Outcome:
        self.refunded = self.captured
        return OUTCOMES["refunded"]


@given(
    verdict=st.sampled_from(["charged", "declined", "refused"]),
    schedule=st.lists(
        st.sampled_from(["created", "cancelled", "ask", "answer", "lose the answer", "give up"]), max_size=25
    ),
)
def test_whatever_the_interleaving_no_money_is_kept_or_doubled(verdict: str, schedule: list[str]) -> None:
    books, cancelled = Books(), False
    state: Payment | None = None
    answers: list[Outcome] = []

    def tell(message: PaymentMessage) -> None:
        nonlocal state
        decision = decide(state, message)
        assert not isinstance(decision, Illegal)
        if isinstance(decision, Become):
            state = decision.state

    def ask() -> None:
        match state.due if state else None:
            case Due.CHARGE:
                answers.append(books.charge(verdict))
            case Due.VOID:
                answers.append(books.void())
            case Due.REFUND:
                answers.append(books.refund())

    for step in schedule:
        match step:
            case "created" | "cancelled":
                cancelled = cancelled or step == "cancelled"
                tell(MESSAGES[step])
            case "ask":
                ask()
            case "answer" if answers:
                tell(answers.pop(0))
            case "lose the answer" if answers:
                answers.pop(0)
            case "give up" if state:
                tell(MESSAGES["unanswered"])
    # At rest: every answer has arrived and nothing is due.
    while answers:
        tell(answers.pop(0))
    while state and state.due:
        ask()
        tell(answers.pop(0))
    assert books.captures <= 1
    if state is None:
        assert books.captured == 0
    elif state.status is PaymentStatus.APPROVED:
        assert not cancelled
        assert (books.captured, books.refunded) == (999, 0)
    else:
        assert books.captured == books.refunded
        assert (state.status is PaymentStatus.REFUNDED) == (books.refunded > 0)
