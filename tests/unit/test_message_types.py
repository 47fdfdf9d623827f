"""Whatever tells messages apart knows every message, and names it as one list does."""

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

from audit.possible_lives import ORDER_MESSAGES, PAYMENT_MESSAGES
from audit.sagas import OrderSide, PaymentSide, Saga, Standing, standing
from choreography.reactions import order_reactions, payment_reactions
from choreography.topology import BINDINGS, ORDER_QUEUE, PAYMENT_QUEUE
from models.lifecycle import OrderStatus, PaymentStatus, at_rest
from models.message_types import MESSAGE_TYPES, ROUTES, CommandType, EventType, Route
from models.order import OrderMessage
from models.payment import PaymentMessage
from models.saga import CancelReason, Command, Event, OrderCancelRequested

HERE = Path(__file__).parent.parent.parent
ROOMS = ("models", "activities", "choreography", "workflows", "api", "audit", "cli", "stack")
NAMES = {name.value for name in (*CommandType, *EventType)}
NOBODY: Any = None
CREATED, ENDED = UUID(int=1), UUID(int=2)


def test_every_command_and_event_has_a_name_and_every_name_a_class() -> None:
    assert {MESSAGE_TYPES[name] for name in CommandType} == set(get_args(Command))
    assert {MESSAGE_TYPES[name] for name in EventType} == set(get_args(Event))


@pytest.mark.parametrize("name", MESSAGE_TYPES)
def test_a_message_is_named_after_its_class(name: CommandType | EventType) -> None:
    assert MESSAGE_TYPES[name].__name__ == name


def test_no_two_messages_are_published_alike() -> None:
    assert len(set(ROUTES.values())) == len(ROUTES)


def test_the_specification_has_every_message_with_its_route() -> None:
    text = (HERE / "docs" / "specification.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.count("|") == 5]
    told = {
        (name, Route(f"{exchange}.exchange", key))
        for _, keys, exchange, names, *_ in rows
        for name, key in zip(names.split(", "), keys.split(", "), strict=False)
    }
    assert told >= {*ROUTES.items()}


def test_the_order_service_reacts_to_what_an_order_decides_on() -> None:
    assert {*order_reactions(NOBODY)} == {*get_args(OrderMessage)}


def test_the_payment_service_reacts_to_nothing_that_a_payment_does_not_decide_on() -> None:
    assert {*payment_reactions(NOBODY)} <= {*get_args(PaymentMessage)}


@pytest.mark.parametrize(
    ("queue", "reactions"),
    [(ORDER_QUEUE, order_reactions(NOBODY)), (PAYMENT_QUEUE, payment_reactions(NOBODY))],
    ids=[ORDER_QUEUE, PAYMENT_QUEUE],
)
def test_a_service_hears_exactly_what_it_reacts_to(queue: str, reactions: Any) -> None:
    assert {*BINDINGS[queue]} == {route for name, route in ROUTES.items() if MESSAGE_TYPES[name] in reactions}


@pytest.mark.parametrize(
    ("messages", "decided"),
    [(ORDER_MESSAGES, OrderMessage), (PAYMENT_MESSAGES, PaymentMessage)],
    ids=["orders", "payments"],
)
def test_the_audit_makes_lives_of_every_message_that_is_decided_on(messages: tuple[Any, ...], decided: Any) -> None:
    assert {type(message) for message in messages} == {*get_args(decided)}


def test_the_audit_makes_lives_of_every_reason_that_can_be_asked_for() -> None:
    asked = [each.reason for each in ORDER_MESSAGES if isinstance(each, OrderCancelRequested)]
    assert sorted(asked) == sorted(reason for reason in CancelReason if reason.requestable)


@pytest.mark.parametrize(("order", "payment"), [*product(OrderStatus, (None, *PaymentStatus))])
def test_the_audit_takes_those_pairs_for_over_that_rest(order: OrderStatus, payment: PaymentStatus | None) -> None:
    found = standing(Saga(order=order_side(order), payment=payment_side(payment)))
    assert (found is Standing.OVER) is at_rest(order, payment)


@pytest.mark.parametrize("room", ROOMS)
def test_no_message_type_is_written_out_but_in_the_one_list(room: str) -> None:
    written = [
        f"{path.relative_to(HERE)}:{line}: {text}"
        for path in sorted((HERE / room).rglob("*.py"))
        if path.name != "message_types.py"
        for line, text in strings(path)
        if any(f"'{name}'" in text or name == text for name in NAMES)
    ]
    assert written == []


def order_side(status: OrderStatus) -> OrderSide:
    return OrderSide(
        order_id=UUID(int=9),
        status=status,
        cancel_reason=CancelReason.USER_REQUESTED if status is OrderStatus.CANCELLED else None,
        total=999,
        currency="USD",
        coordinator="choreography",
        age=0.0,
        events=[CREATED, ENDED],
        answered=None,
        removed=False,
    )


def payment_side(status: PaymentStatus | None) -> PaymentSide | None:
    if status is None:
        return None
    return PaymentSide(
        order_id=UUID(int=9),
        status=status,
        due=None,
        amount=999,
        currency="USD",
        coordinator="choreography",
        payment_method="pm_card_visa",
        age=0.0,
        causes=[CREATED, ENDED],
        outcome=None,
        removed=False,
    )


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module with their lines, without docstrings."""
    tree = ast.parse(path.read_text())
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value
