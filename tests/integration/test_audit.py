"""The audit of real databases reports every fault that is planted, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from audit.checks import CHECKS
from audit.database_audit import DatabaseAudit, Scope
from audit.findings import AuditReport, External
from audit.possible_lives import order_lives, payment_lives
from audit.run import Places, audit
from audit.snapshot import Snapshot
from cli.app import app
from cli.commands.audit import find
from models.saga import OrderId
from tests.support.audited import Kept, Sagas, databases, every_kind, execute, play
from tests.support.world import Servers

HURRIED = Scope(pause=0.0)
OLD = "updated_at = updated_at - interval '1 day'"


@dataclass(frozen=True, kw_only=True)
class Audited:
    """A system at rest, with one saga of each kind."""

    places: Places
    ids: Mapping[str, UUID]

    def spoil(self, role: str, sql: str, *parameters: Any) -> None:
        url = self.places.orders_db if role == "orders" else self.places.payments_db
        assert execute(url, sql, *parameters) > 0, "nothing was planted"


@pytest.fixture(scope="module")
def clean(servers: Servers) -> Iterator[tuple[Audited, Kept]]:
    with databases(servers, "audit") as places:
        ids = play(places, every_kind)
        yield Audited(places=places, ids=ids), Kept(places)


@pytest.fixture
def audited(clean: tuple[Audited, Kept]) -> Iterator[Audited]:
    system, kept = clean
    yield system
    kept.put_back()


def violated(report: AuditReport) -> set[str]:
    return set(report.tallies)


def test_the_lives_of_orders_and_payments_are_what_deciding_leads_to() -> None:
    assert "OrderCreated,OrderPaid,OrderCancelled|CANCELLED|USER_REQUESTED" in order_lives()
    assert not any("OrderPaid" in life and "PAYMENT_TIMEOUT" in life for life in order_lives())
    assert "PaymentCancelled,PaymentRefunded|REFUNDED|" in payment_lives()
    assert not any("APPROVED|void" in life or life.startswith("PaymentDeclined,") for life in payment_lives())
    assert (len(order_lives()), len(payment_lives())) == (7, 11)


def test_a_system_that_is_as_it_must_be_has_no_violation(audited: Audited) -> None:
    report = audit(audited.places, replace(HURRIED, at_rest=True))
    assert (report.tallies, report.unread, report.exit_code) == ({}, {}, 0)
    assert (report.seen["orders"], report.seen["payments"], report.seen["sagas under way"]) == (7, 7, 0)
    assert {"dead letters", "timelines"} == set(report.left_out)


OF_PAYMENT = "payment_id = (SELECT id FROM payments WHERE order_id = %s)"
COPY = "event_id, order_id, event_type, occurred_at, correlation_id, causation_id, coordinator, payload"
TWICE = f"INSERT INTO event_log ({COPY}) SELECT {COPY} FROM event_log WHERE order_id = %s LIMIT 1"
LATE = (
    "INSERT INTO outbox SELECT seq, order_id, true, now() - interval '1 day' FROM event_log WHERE order_id = %s LIMIT 1"
)
NOWHERE = "INSERT INTO outbox VALUES (1000000, %s, false, now())"
ORPHAN = (
    "INSERT INTO provider_charges (payment_id, amount, currency, outcome, captured, refunded)"
    " VALUES (%s, 999, 'USD', 'Charged', 999, 0)"
)
PLANTED = [
    (
        "orders are what their log tells",
        "cancelled",
        "orders",
        "UPDATE orders SET cancel_reason = 'PAYMENT_TIMEOUT' WHERE id = %s",
    ),
    (
        "payments are what their log tells",
        "paid",
        "payments",
        "UPDATE payments SET transaction_id = 'pi_elsewhere' WHERE order_id = %s",
    ),
    ("a paid order has an approved payment", "paid", "payments", "DELETE FROM payments WHERE order_id = %s"),
    (
        "a paid order has an approved payment",
        "paid",
        "payments",
        "UPDATE payments SET status = 'DECLINED' WHERE order_id = %s",
    ),
    (
        "payments are captured once and in full",
        "paid",
        "payments",
        f"UPDATE provider_charges SET captured = captured - 1 WHERE {OF_PAYMENT}",
    ),
    (
        "payments are captured once and in full",
        "paid",
        "payments",
        f"UPDATE provider_charges SET captured = captured * 2 WHERE {OF_PAYMENT}",
    ),
    (
        "payments are captured once and in full",
        "refunded",
        "payments",
        f"DELETE FROM provider_charges WHERE {OF_PAYMENT}",
    ),
    ("payments are captured once and in full", "paid", "payments", ORPHAN),
    (
        "no charge stands for two payments",
        "paid",
        "payments",
        "UPDATE provider_charges SET transaction_id = (SELECT transaction_id FROM payments WHERE order_id = %s)"
        " WHERE captured > 0",
    ),
    (
        "an order that is off has no payment",
        "declined",
        "payments",
        "UPDATE payments SET status = 'APPROVED' WHERE order_id = %s",
    ),
    (
        "an order that is off has no payment",
        "failed",
        "payments",
        "UPDATE payments SET status = 'REFUNDED' WHERE order_id = %s",
    ),
    (
        "no money is kept for nothing",
        "refunded",
        "payments",
        f"UPDATE provider_charges SET refunded = 0 WHERE {OF_PAYMENT}",
    ),
    (
        "no money is kept for nothing",
        "cancelled",
        "payments",
        f"UPDATE provider_charges SET captured = 1 WHERE {OF_PAYMENT}",
    ),
    (
        "order and payment are of one amount",
        "paid",
        "payments",
        "UPDATE payments SET amount = amount + 1 WHERE order_id = %s",
    ),
    (
        "refunds give back all, once",
        "refunded",
        "payments",
        f"UPDATE provider_charges SET refunded = refunded * 2 WHERE {OF_PAYMENT}",
    ),
    (
        "refunds give back all, once",
        "paid",
        "payments",
        f"UPDATE provider_charges SET refunded = captured WHERE {OF_PAYMENT}",
    ),
    ("orders are what their log tells", "paid", "orders", "UPDATE orders SET status = 'SHIPPED' WHERE id = %s"),
    ("orders are what their log tells", "paid", "orders", "UPDATE orders SET total = total + 1 WHERE id = %s"),
    (
        "orders are what their log tells",
        "paid",
        "orders",
        "DELETE FROM event_log WHERE order_id = %s AND event_type = 'OrderPaid'",
    ),
    (
        "orders are what their log tells",
        "cancelled",
        "orders",
        "UPDATE orders SET cancel_reason = NULL WHERE id = %s",
    ),
    ("orders are what their log tells", "overtaken", "orders", "DELETE FROM orders WHERE id = %s"),
    ("payments are what their log tells", "paid", "payments", "DELETE FROM event_log WHERE order_id = %s"),
    (
        "payments are what their log tells",
        "declined",
        "payments",
        "UPDATE payments SET due = 'charge' WHERE order_id = %s",
    ),
    ("payments follow from orders", "paid", "orders", "DELETE FROM orders WHERE id = %s"),
    ("order events are logged once", "paid", "orders", TWICE),
    ("payment events are logged once", "paid", "payments", TWICE),
    ("order events are published", "paid", "orders", LATE),
    ("order events are published", "paid", "orders", NOWHERE),
    ("payment events are published", "paid", "payments", LATE),
    ("payment events are published", "paid", "payments", NOWHERE),
    (
        "a saga has one coordinator",
        "paid",
        "payments",
        "UPDATE payments SET coordinator = 'orchestration' WHERE order_id = %s",
    ),
    (
        "order events name their causes",
        "paid",
        "orders",
        "UPDATE event_log SET causation_id = NULL WHERE order_id = %s",
    ),
    (
        "payment events name their causes",
        "paid",
        "payments",
        "UPDATE event_log SET causation_id = NULL WHERE order_id = %s",
    ),
    (
        "causes are logged",
        "paid",
        "orders",
        "UPDATE event_log SET causation_id = event_id WHERE order_id = %s AND event_type = 'OrderPaid'",
    ),
    ("causes are logged", "refunded", "payments", "UPDATE event_log SET causation_id = event_id WHERE order_id = %s"),
]


@pytest.mark.parametrize(
    ("check", "whose", "role", "sql"), PLANTED, ids=[f"{each[0]}-{n}" for n, each in enumerate(PLANTED)]
)
def test_a_planted_violation_is_found_and_named(audited: Audited, check: str, whose: str, role: str, sql: str) -> None:
    audited.spoil(role, sql, audited.ids[whose])
    report = audit(audited.places, HURRIED)
    assert check in violated(report)
    assert str(audited.ids[whose]) in [finding.id for finding in report.tallies[check].examples]
    assert report.exit_code == 1


# For each service: the table of its totals, a status to spoil in it, and the name in the finding.
TOTALS = {"orders": ("order_totals", "PAID", "PAID"), "payments": ("payment_sums", "APPROVED", "APPROVED USD")}


@pytest.mark.parametrize("role", ["orders", "payments"])
def test_totals_that_do_not_equal_the_counts_are_found(audited: Audited, role: str) -> None:
    table, status, group = TOTALS[role]
    audited.spoil(role, f"UPDATE {table} SET count = count + 1 WHERE status = %s", status)
    report = audit(audited.places, HURRIED)
    assert {f"{role[:-1]} totals equal the counts"} == violated(report)
    (finding,) = next(iter(report.tallies.values())).examples
    assert group == finding.id


def test_payments_that_are_counted_under_another_currency_are_found(audited: Audited) -> None:
    audited.spoil("payments", "UPDATE payment_sums SET currency = 'EUR' WHERE status = 'APPROVED'")
    report = audit(audited.places, HURRIED)
    assert {"payment totals equal the counts"} == violated(report)
    (tally,) = report.tallies.values()
    assert {"APPROVED EUR", "APPROVED USD"} == {finding.id for finding in tally.examples}


def test_every_check_on_the_databases_has_a_planted_violation() -> None:
    of_their_own = {"sagas end", "order totals equal the counts", "payment totals equal the counts"}
    planted = {each[0] for each in PLANTED} | of_their_own
    assert {check.name for check in CHECKS if not isinstance(check.find, External)} == planted


async def half_done(sagas: Sagas) -> dict[str, OrderId]:
    """One saga whose charge is due, one whose refund nobody has heard of, and one that only the order service knows."""
    ids = {"charge due": await sagas.place("pm_unavailable"), "refund to come": await sagas.place()}
    ids["unheard"] = await sagas.create()
    await sagas.cancel(ids["refund to come"])
    return ids


def test_sagas_under_way_are_counted_but_not_told_of_until_they_are_too_old(audited: Audited) -> None:
    ids = {str(order_id) for order_id in play(audited.places, half_done).values()}
    report = audit(audited.places, HURRIED)
    assert (report.tallies, report.seen["sagas under way"], report.seen["events waiting to be published"]) == ({}, 3, 2)

    at_rest = audit(audited.places, replace(HURRIED, at_rest=True))
    assert {"sagas end", "order events are published"} == violated(at_rest)
    assert ids == {finding.id for finding in at_rest.tallies["sagas end"].examples}

    audited.spoil("orders", f"UPDATE orders SET {OLD}")
    assert "sagas end" in violated(audit(audited.places, HURRIED))  # the one that only the order service knows
    audited.spoil("payments", f"UPDATE payments SET {OLD}")
    too_old = audit(audited.places, HURRIED)
    assert ids == {finding.id for finding in too_old.tallies["sagas end"].examples}
    assert {"sagas end"} == violated(too_old)


class Later(Snapshot):
    """A reader that takes its first snapshot after something has happened."""

    happens: Callable[[], None] = staticmethod(lambda: None)

    def take(self) -> None:
        self.happens()
        super().take()


def test_what_changes_between_the_two_snapshots_is_no_violation(audited: Audited) -> None:
    async def act(sagas: Sagas) -> None:
        await sagas.cancel(OrderId(audited.ids["paid"]))
        await sagas.place()
        await sagas.deliver()

    report = AuditReport()
    with ExitStack() as stack:
        orders = stack.enter_context(Snapshot("orders", audited.places.orders_db))
        payments = stack.enter_context(Later("payments", audited.places.payments_db))
        payments.happens = lambda: play(audited.places, act)
        proof = DatabaseAudit(orders=orders, payments=payments, scope=HURRIED, report=report)
        proof.run()
    assert (report.seen["orders"], report.seen["payments"]) == (7, 8)  # the change came between the two snapshots
    assert report.tallies == {}


def test_an_audit_of_a_system_at_work_raises_no_false_alarm(audited: Audited) -> None:
    reports: list[AuditReport] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            reports.append(audit(audited.places, Scope(pause=0.05)))

    async def work(sagas: Sagas) -> None:
        for _ in range(80):
            order_id = await sagas.place()
            await sagas.cancel(order_id)
            await sagas.deliver(published=False)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        play(audited.places, work)
    finally:
        over.set()
        watcher.join()
    assert len(reports) > 2
    assert [{}] * len(reports) == [report.tallies for report in reports]


def test_all_violations_are_counted_and_a_few_are_shown(audited: Audited) -> None:
    audited.spoil("orders", "UPDATE event_log SET causation_id = NULL")
    report = audit(audited.places, replace(HURRIED, keep=2))
    tally = report.tallies["order events name their causes"]
    assert (tally.violations, len(tally.examples)) == (15, 2)  # two events an order, and one that was PAID first


def test_a_payment_charged_at_stripe_is_noted_and_no_violation(audited: Audited) -> None:
    order_id = audited.ids["paid"]
    audited.spoil("payments", f"DELETE FROM provider_charges WHERE {OF_PAYMENT}", order_id)
    audited.spoil("payments", "UPDATE payments SET transaction_id = 'pi_3abc' WHERE order_id = %s", order_id)
    told = """payload || '{"transactionId": "pi_3abc"}'"""
    audited.spoil("payments", f"UPDATE event_log SET payload = {told} WHERE order_id = %s", order_id)
    report = audit(audited.places, HURRIED)
    assert report.tallies == {}
    assert any("1 of the payments were charged at Stripe" in note for note in report.notes)


def test_a_database_that_cannot_be_read_is_named_without_its_password(audited: Audited) -> None:
    gone = replace(audited.places, payments_db=audited.places.payments_db + "_gone")
    report = audit(gone, HURRIED)
    assert (2, {"payments"}) == (report.exit_code, set(report.unread))
    assert "does not exist" in report.unread["payments"]
    mistyped = replace(audited.places, orders_db="postgresql://orders:secret@127.0.0.1:1/orders?no=such")
    assert "secret" not in str(audit(mistyped, HURRIED).unread)


def test_servers_that_do_not_answer_are_unread_and_what_was_read_stands(audited: Audited) -> None:
    places = replace(audited.places, amqp="amqp://saga:secret@127.0.0.1:1/", temporal="127.0.0.1:1")
    report = audit(places, HURRIED)
    assert ({"dead letters", "timelines"}, {}, 2) == (set(report.unread), report.tallies, report.exit_code)
    assert "secret" not in str(report.unread)


SECRET = "postgresql://orders:secret@127.0.0.1:1/orders"


def command(places: Places, *arguments: str) -> Result:
    env = {"SAGA_ORDERS_DATABASE_URL": places.orders_db, "SAGA_PAYMENTS_DATABASE_URL": places.payments_db}
    nowhere = dict.fromkeys(("SAGA_AMQP_URL", "SAGA_TEMPORAL_ADDRESS", "SAGA_DATA"), None)
    return CliRunner().invoke(app, ["audit", *arguments], env={**nowhere, **env})


def test_the_command_says_that_all_holds_and_what_it_left_out(audited: Audited) -> None:
    result = command(audited.places, "--at-rest")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert next(line for line in lines if "sagas end" in line).split() == ["1", "sagas", "end", "holds"]
    assert "Left out: timelines, Temporal's address is not known" in lines


def test_the_command_names_what_is_violated_and_what_to_do(audited: Audited) -> None:
    audited.spoil("payments", f"UPDATE provider_charges SET refunded = 0 WHERE {OF_PAYMENT}", audited.ids["refunded"])
    result = command(audited.places)
    assert result.exit_code == 1
    assert "no money is kept for nothing: violated 1 time\n  invariant 3: No order that is CANCELLED" in result.stdout
    assert f"  {audited.ids['refunded']}  payment REFUNDED, the provider keeps 999 USD" in result.stdout
    assert "  do: refund it at the provider" in result.stdout


def test_the_command_tells_a_program_all_it_found(audited: Audited) -> None:
    audited.spoil("orders", "DELETE FROM orders WHERE id = %s", audited.ids["paid"])
    result = command(audited.places, "--json")
    told = json.loads(result.stdout)
    assert (told["clean"], result.exit_code) == (False, 1)
    found = {check["name"]: check for check in told["checks"]}
    assert list(found) == [check.name for check in CHECKS]
    assert found["payments follow from orders"]["examples"] == [
        {"id": str(audited.ids["paid"]), "detail": "no order, payment APPROVED"}
    ]
    assert (found["sagas end"]["state"], found["timelines equal the event logs"]["state"]) == ("holds", "left out")


def test_the_command_says_what_could_not_be_read_with_an_exit_code_of_its_own(audited: Audited) -> None:
    result = command(replace(audited.places, orders_db=SECRET))
    assert result.exit_code == 2
    assert result.stderr.startswith("saga: could not read orders: ")
    assert "secret" not in result.output
    assert "unread" in result.stdout


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({}, "No running system found in .saga; start one with `"),
        ({"SAGA_ORDERS_DATABASE_URL": SECRET}, "An audit needs both databases, and SAGA_PAYMENTS_DATABASE_URL is not"),
    ],
)
def test_without_both_databases_one_line_says_what_to_set(
    env: Mapping[str, str], line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    unset = dict.fromkeys(("SAGA_ORDERS_DATABASE_URL", "SAGA_PAYMENTS_DATABASE_URL", "SAGA_DATA"), None)
    result = CliRunner().invoke(app, ["audit"], env={**unset, **env})
    assert result.exit_code == 2
    assert result.stderr.startswith(f"saga: {line}")


def test_a_running_stack_is_audited_by_its_data_folder(tmp_path: Path) -> None:
    urls = {"orders_db": "o", "payments_db": "p", "amqp": "a", "temporal": "t"}
    (tmp_path / "state.json").write_text(json.dumps({"pid": 1, "urls": urls}))
    assert find(tmp_path, {}) == Places(orders_db="o", payments_db="p", amqp="a", temporal="t", namespace="default")
