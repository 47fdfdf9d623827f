"""The commands for orders, dead letters and events work against a gateway and services with canned answers."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner, Result

from choreography.dead_letter_json import as_json, from_json
from choreography.dead_letters import DeadLetterRecord, Wanted
from choreography.outgoing_message import BrokerUnavailable
from cli.app import app
from cli.commands import dead_letters, events, orders
from cli.commands.target import find
from embedded.errors import StackError

ORDER = "019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50"
USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
STORED = {
    "id": ORDER,
    "userId": USER,
    "total": 999,
    "status": "PAID",
    "createdAt": "2026-02-15T01:42:19.000Z",
    "updatedAt": "2026-02-15T01:42:20.613Z",
    "currency": "USD",
    "coordinator": "choreography",
    "cancelReason": None,
}


@dataclass(frozen=True)
class Asked:
    """A request that the fake was sent."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


@dataclass
class Answers:
    """An HTTP server on loopback that gives each request the next answer of its route, and in the end the last one."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    routes: dict[tuple[str, str], list[tuple[int, str, str]]] = field(default_factory=dict)

    def give(self, method: str, path: str, body: Any, *, status: int = 200, kind: str = "application/json") -> None:
        content = body if isinstance(body, str) else json.dumps(body)
        self.routes.setdefault((method, path), []).append((status, kind, content))

    def next(self, asked: Asked) -> tuple[int, str, str]:
        self.asked.append(asked)
        given = self.routes.get((asked.method, asked.path), [(404, "text/plain", "no such route")])
        return given.pop(0) if len(given) > 1 else given[0]


@pytest.fixture
def answers() -> Iterator[Answers]:
    canned = Answers()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, url.path, parse_qs(url.query), headers, json.loads(body) if body else None)
            status, kind, content = canned.next(asked)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status == 503:
                self.send_header("Retry-After", "7")
            self.end_headers()
            if status != 204:
                self.wfile.write(content.encode())

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - http.server wants these names

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    canned.url = f"http://127.0.0.1:{server.server_port}"
    yield canned
    server.shutdown()
    server.server_close()


class Heap:
    """Dead letters in memory. As at a broker, the first read after a listing may find none."""

    def __init__(self, *records: DeadLetterRecord) -> None:
        self.records = list(records)
        self.redriven: list[str] = []
        self.discarded: list[str] = []
        self.url = ""
        self.error: Exception | None = None
        self.slow_looks = 0

    async def all(self) -> list[DeadLetterRecord]:
        if self.error:
            raise self.error
        return list(self.records)

    async def redrive(self, wanted: Wanted) -> list[DeadLetterRecord]:
        return self._take(wanted, self.redriven)

    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]:
        return self._take(wanted, self.discarded)

    def _take(self, wanted: Wanted, into: list[str]) -> list[DeadLetterRecord]:
        if self.slow_looks:
            self.slow_looks -= 1
            return []
        taken = [record for record in self.records if wanted(record)]
        self.records = [record for record in self.records if not wanted(record)]
        into += [record.id for record in taken]
        return taken

    def open(self, url: str) -> Heap:
        self.url = url
        return self


def dead_letter(name: str, **values: Any) -> DeadLetterRecord:
    known: dict[str, Any] = {
        "id": name,
        "queue": "order.service",
        "reason": "MALFORMED",
        "error": "no field total",
        "attempts": 1,
        "exchange": "orders.exchange",
        "routing_key": "order.create.requested",
        "first_failed_at": None,
        "failed_at": "2026-02-15T01:42:19.000Z",
        "event_type": "OrderCreated",
        "event_id": None,
        "order_id": ORDER,
        "body": b'{"eventType":"OrderCreated"}',
    }
    return DeadLetterRecord(**{**known, **values})


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command finds a system that the test did not name."""
    for name in ("GATEWAY_URL", "ORDER_SERVICE_URL", "PAYMENT_SERVICE_URL", "AMQP_URL", "INTERNAL_TOKEN", "DATA"):
        monkeypatch.delenv(f"SAGA_{name}", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # so that hints are short
    monkeypatch.chdir(tmp_path)


def order(arguments: str, answers: Answers, **env: str) -> Result:
    return CliRunner().invoke(orders.app, arguments, env={"SAGA_GATEWAY_URL": answers.url, **env})


def letters(arguments: str, heap: Heap) -> Result:
    return CliRunner().invoke(
        dead_letters.app,
        arguments,
        env={"SAGA_AMQP_URL": "amqp://u:p@broker/"},
        obj=dead_letters.Wiring(open_store=heap.open),
    )


def logged(arguments: str, answers: Answers) -> Result:
    env = {
        "SAGA_ORDER_SERVICE_URL": answers.url + "/o",
        "SAGA_PAYMENT_SERVICE_URL": answers.url + "/p",
        "SAGA_INTERNAL_TOKEN": "inside",
    }
    return CliRunner().invoke(events.app, arguments, env=env)


def fails_with(line: str, result: Result) -> None:
    """Prove that a command ended with exit code 1, and with this line alone on standard error."""
    assert (f"saga: {line}\n", 1) == (result.stderr, result.exit_code)


# Where the system is


def test_without_a_system_one_line_says_how_to_get_one() -> None:
    line = (
        "No running system found in .saga: start one with `saga up`. If one runs elsewhere, name its folder with "
        "--data or SAGA_DATA, or its gateway with SAGA_GATEWAY_URL"
    )
    fails_with(line, CliRunner().invoke(orders.app, "list"))


def test_a_running_stack_is_found_by_its_data_folder(tmp_path: Path) -> None:
    state = {
        "ready": True,
        "processes": [{"name": "order", "pid": 1, "port": 3101}, {"name": "payment", "port": 3102}, {"name": "worker"}],
        "urls": {"gateway": "http://127.0.0.1:3100/", "amqp": "amqp://a:b@127.0.0.1:5773/", "more": 1},
        "unknown": None,
    }
    (tmp_path / "state.json").write_text(json.dumps(state))
    (tmp_path / "secrets.json").write_text('{"internal_token": "inside", "other": 1}')

    target = find(tmp_path, environ={})

    assert (target.gateway, target.order_service) == ("http://127.0.0.1:3100", "http://127.0.0.1:3101")
    assert (target.payment_service, target.amqp_url) == ("http://127.0.0.1:3102", "amqp://a:b@127.0.0.1:5773/")
    assert target.internal_token == "inside"


def test_a_named_system_is_never_given_the_local_ones_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_DATA", str(tmp_path))
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "secrets.json").write_text('{"internal_token": "inside"}')
    with pytest.raises(StackError, match="needs SAGA_INTERNAL_TOKEN, and the environment does not have it"):
        find(None, "internal_token", environ={"SAGA_GATEWAY_URL": "https://elsewhere"})


def test_a_folder_on_the_command_line_comes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"urls": {"gateway": "http://127.0.0.1:3100"}}')
    environ = {"SAGA_GATEWAY_URL": "https://elsewhere"}
    assert find(tmp_path, "gateway", environ=environ).gateway == "http://127.0.0.1:3100"
    assert find(None, "gateway", environ=environ).gateway == "https://elsewhere"


def test_a_port_offset_is_that_of_the_stack_or_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"urls": {"gateway": "http://127.0.0.1:3100"}}')
    assert find(tmp_path, port_offset=100, environ={}).gateway == "http://127.0.0.1:3100"
    with pytest.raises(StackError, match="has the port offset 100, not 200; name the other's folder with --data"):
        find(tmp_path, port_offset=200, environ={})


def test_a_stack_whose_supervisor_was_killed_is_not_asked_since_another_may_have_its_ports(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    state = {"pid": ended.pid, "started": "1", "urls": {"gateway": "http://127.0.0.1:3100"}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(StackError, match="has ended without a word"):
        find(tmp_path, environ={})


def test_a_broken_state_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    result = CliRunner().invoke(orders.app, ["list", "--data", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "state.json cannot be read" in result.stderr


@pytest.mark.parametrize("arguments", ["status", "down", "order list", "audit", "events list", "dead-letters list"])
@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b"\xff", b"null", b'{"a": 1}', b'{"pid": "x"}', b'{"pid": 1, "urls": [1]}',
        b'{"urls": {"gateway": 5}}', b'{"pid": 1, "processes": [5]}', b'{"pid": 1, "processes": {}}',
    ],
)  # fmt: skip
def test_a_damaged_state_is_no_traceback(arguments: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(content)
    result = CliRunner().invoke(app, [*arguments.split(), "--data", str(tmp_path)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "Traceback" not in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("arguments", ["status", "down", "order list", "audit", "events list", "dead-letters list"])
@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300, "/proc/nothing"])
def test_a_folder_that_cannot_exist_is_told_in_one_line(arguments: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, [*arguments.split(), "--data", str(tmp_path / folder)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.output.count("\n") == 1


def test_a_folder_without_a_name_is_refused() -> None:
    assert CliRunner().invoke(app, ["down", "--data", ""]).exit_code == 2


@pytest.mark.parametrize("address", ["localhost:3000", "http://", "http://[", "http://localhost:port"])
def test_an_invalid_address_is_told_in_one_line(address: str) -> None:
    line = "SAGA_GATEWAY_URL must be an address that starts with http:// or https://; correct it"
    fails_with(line, CliRunner().invoke(orders.app, "list", env={"SAGA_GATEWAY_URL": address}))


def test_a_gateway_that_is_down_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(orders.app, f"get {ORDER}", env={"SAGA_GATEWAY_URL": url})
    fails_with(f"Nothing answers at {url}; start it with `saga up`, or correct the SAGA_…_URL", result)


def test_a_broker_that_is_down_is_one_line_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://u:secret@127.0.0.1:{taken.getsockname()[1]}/"
        result = CliRunner().invoke(dead_letters.app, "list", env={"SAGA_AMQP_URL": url})
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("saga: RabbitMQ could not be reached")
    assert "secret" not in result.output


# Orders


def test_create_says_how_to_follow_the_order(answers: Answers) -> None:
    answers.give("POST", "/api/orders", {"orderId": ORDER, "status": "PENDING_PAYMENT"}, status=202)

    result = order("create --total 999", answers)

    assert f"Order {ORDER} is accepted; follow it with\n  saga order watch {ORDER}\n" == result.stdout
    (asked,) = answers.asked
    assert {"userId", "total"} == set(asked.body)
    assert asked.body["total"] == 999
    assert {"prefer", "idempotency-key", "authorization"}.isdisjoint(asked.headers)


def test_create_sends_all_that_was_chosen_and_shows_the_order_waited_for(answers: Answers) -> None:
    answers.give("POST", "/api/orders", STORED)

    result = order(
        f"create --user {USER} --total 1 --currency EUR --payment-method pm_card_visa --coordinator orchestration"
        " --wait 9 --idempotency-key k",
        answers,
    )

    assert ["status", "PAID"] in [line.split() for line in result.stdout.splitlines()]
    (asked,) = answers.asked
    sent = {"userId": USER, "total": 1, "currency": "EUR", "paymentMethod": "pm_card_visa"}
    assert {**sent, "coordinator": "orchestration"} == asked.body
    assert (asked.headers["prefer"], asked.headers["idempotency-key"]) == ("wait=9", "k")


def test_repeating_create_with_a_key_sends_the_same_body(answers: Answers) -> None:
    answers.give("POST", "/api/orders", {"orderId": ORDER}, status=202)
    for _ in range(2):
        order("create --total 1 --idempotency-key k", answers)
    assert answers.asked[0].body == answers.asked[1].body


@pytest.mark.parametrize("key", ["a\nb", "", " ", "schlüssel", "k" * 256, "a\0b"])
def test_a_key_that_no_header_can_carry_is_refused_with_the_name_of_its_option(key: str, answers: Answers) -> None:
    result = CliRunner().invoke(
        orders.app, ["create", "--total", "5", "--idempotency-key", key], env={"SAGA_GATEWAY_URL": answers.url}
    )
    assert result.exit_code == 2
    assert "--idempotency-key" in result.stderr
    assert "1 to 255 printable ASCII characters" in " ".join(result.stderr.replace("│", " ").split())
    assert answers.asked == []


def test_spaces_around_a_key_make_no_other_order(answers: Answers) -> None:
    """HTTP takes them off the header, and so the body must not depend on them."""
    answers.give("POST", "/api/orders", {"orderId": ORDER}, status=202)
    for key in ("k", " k "):
        CliRunner().invoke(
            orders.app, ["create", "--total", "1", "--idempotency-key", key], env={"SAGA_GATEWAY_URL": answers.url}
        )
    one, other = answers.asked
    assert (one.body, one.headers["idempotency-key"]) == (other.body, other.headers["idempotency-key"])


@pytest.mark.parametrize("token", ["a\nb", "tökén"])
def test_a_token_that_no_header_can_carry_is_named_and_not_shown(token: str, answers: Answers) -> None:
    env = {"SAGA_ORDER_SERVICE_URL": answers.url, "SAGA_INTERNAL_TOKEN": token}
    result = CliRunner().invoke(events.app, ["list", "--service", "order"], env=env)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "SAGA_INTERNAL_TOKEN" in result.stderr
    assert token not in result.stderr


def test_the_id_of_a_dead_letter_is_one_part_of_an_address_whatever_it_holds(answers: Answers) -> None:
    """A stranger who publishes a message chooses its id."""
    letter = as_json(dead_letter("7f3c?a=b#c d/e"))
    answers.give("GET", "/api/operator/dead-letters", {"data": [letter]})
    answers.give("POST", "/api/operator/dead-letters/7f3c%3Fa%3Db%23c%20d%2Fe/redrive", {})
    result = CliRunner().invoke(dead_letters.app, ["redrive", "--all"], env={"SAGA_GATEWAY_URL": answers.url})
    assert result.exit_code == 0, result.stderr
    assert answers.asked[-1].path.endswith("/7f3c%3Fa%3Db%23c%20d%2Fe/redrive")


GONE = (
    *("status", "status --json", "down", "doctor", "up", "up --detach"),
    *("order list", f"order get {ORDER}", f"order watch {ORDER}", "order create --total 5"),
    *("dead-letters list", "dead-letters redrive --all", "events list", "events replay --type OrderPaid"),
    *("audit", "reconcile"),
)


@pytest.mark.parametrize("arguments", GONE)
def test_a_working_folder_that_was_deleted_is_told_in_one_line(arguments: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    saga = shlex.quote(str(Path(sys.executable).with_name("saga")))
    line = f"cd {shlex.quote(str(gone))} && rmdir ../gone && {saga} {arguments}"
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2 if arguments == "audit" else 1, "")
    (told,) = ran.stderr.splitlines()
    assert told.startswith("saga: The working folder was deleted")


CLOSED = "saga: Standard output cannot be written: it is closed\n"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ("keys new --name shop --role client", 74, CLOSED),
        ("keys new --name shop --role client --json", 74, CLOSED),
        ("--version", 74, CLOSED),
        ("--help", 74, CLOSED),
        ("help order list", 74, CLOSED),
        ("status", 74, CLOSED),
        ("status --json", 74, CLOSED),
        ("doctor", 74, CLOSED),
        ("down", 0, ""),
        ("order list", 1, None),
    ],
)
def test_output_that_a_closed_stream_loses_is_an_error(
    arguments: str, code: int, complaint: str | None, tmp_path: Path
) -> None:
    saga = shlex.quote(str(Path(sys.executable).with_name("saga")))
    ran = subprocess.run(
        ["sh", "-c", f"{saga} {arguments} >&-"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert ran.returncode == code, ran.stderr
    assert complaint is None or ran.stderr == complaint
    assert "Traceback" not in ran.stderr


def test_a_system_that_is_named_needs_no_working_folder(answers: Answers, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    answers.give("POST", "/api/orders", {"orderId": ORDER}, status=202)
    result = order("create --total 5", answers)
    assert result.exit_code == 0, result.stderr
    assert f"order watch {ORDER}" in result.stdout


def test_list_shows_a_row_an_order_and_passes_the_filters_on(answers: Answers) -> None:
    meta = {"page": 2, "limit": 5, "total": 6, "totalPages": 2}
    answers.give("GET", "/api/orders", {"data": [STORED], "meta": meta})

    result = order(f"list --page 2 --limit 5 --status PAID --user {USER}", answers)

    _, row, footer = result.stdout.splitlines()
    assert row.split() == [ORDER, "PAID", "999", "USD", "choreography", "2026-02-15T01:42:19.000Z", "-"]
    assert footer == "Page 2 of 2, 6 in all"
    assert answers.asked[0].query == {"page": ["2"], "limit": ["5"], "status": ["PAID"], "userId": [USER]}


@pytest.mark.parametrize("command", ["get", "timeline"])
def test_json_is_the_raw_answer(command: str, answers: Answers) -> None:
    answers.give("GET", f"/api/orders/{ORDER}", '{"id":  1}')
    answers.give("GET", f"/api/orders/{ORDER}/timeline", '{"id":  1}')
    assert order(f"{command} {ORDER} --json", answers).stdout == '{"id":  1}\n'


def test_cancel_asks_the_gateway(answers: Answers) -> None:
    answers.give("PATCH", f"/api/orders/{ORDER}/cancel", {"orderId": ORDER}, status=202)
    assert f"Cancellation of order {ORDER} is accepted" in order(f"cancel {ORDER}", answers).stdout


@pytest.mark.parametrize(
    ("status", "problem", "line"),
    [
        (404, {"detail": "There is no order 1"}, "There is no order 1"),
        (503, {"detail": "The broker is away."}, "The broker is away; try again in 7 s"),
        (500, {"detail": "Broken.", "correlationId": "c"}, "Broken (correlation id c)"),
    ],
)
def test_a_refusal_is_the_problems_detail_and_a_remedy(
    status: int, problem: dict[str, Any], line: str, answers: Answers
) -> None:
    answers.give("GET", f"/api/orders/{ORDER}", problem, status=status, kind="application/problem+json")
    fails_with(line, order(f"get {ORDER}", answers))


def test_an_answer_of_another_server_is_told_in_one_line(answers: Answers) -> None:
    answers.give("GET", f"/api/orders/{ORDER}", "<html>", kind="text/html")
    line = f"{answers.url} does not answer as this system does; check the address"
    fails_with(line, order(f"get {ORDER}", answers))


@pytest.mark.parametrize("arguments", ["get 019c", "create --total 0", "create", "list --status LOST"])
def test_wrong_usage_is_exit_code_2(arguments: str, answers: Answers) -> None:
    assert (order(arguments, answers).exit_code, answers.asked) == (2, [])


def entry(number: int, event: str, status: str, **values: Any) -> dict[str, Any]:
    known = {"eventId": str(UUID(int=number)), "eventType": event, "at": "2026-02-15T01:42:19.000Z"}
    told = {"actor": "order-service", "cause": {"causationId": None, "name": "PaymentApproved"}, "elapsedMs": 1613}
    return {**known, **told, "summary": "Paid.", "orderStatus": status, "paymentStatus": "APPROVED", **values}


def streamed(*entries: dict[str, Any]) -> str:
    event = "id: {}\nevent: {}\ndata: {}\n\n"
    return "".join(event.format(one["eventId"], one["eventType"], json.dumps(one)) for one in entries)


@pytest.mark.parametrize("source", ["workflow", "event logs"])
def test_timeline_tells_what_happened_and_where_it_stands(answers: Answers, source: str) -> None:
    told = {"coordinator": "choreography", "orderStatus": "PAID", "paymentStatus": "APPROVED", "over": True}
    entries = [entry(1, "OrderPaid", "PAID", summary="\x1b[31mPaid.\nTwice")]
    answers.give("GET", f"/api/orders/{ORDER}/timeline", {**told, "source": source, "entries": entries})

    _, row, standing = order(f"timeline {ORDER}", answers).stdout.splitlines()

    shown = "+1.613 s OrderPaid order PaymentApproved PAID APPROVED \\x1b[31mPaid. Twice"
    assert shown == " ".join(row.split())
    assert standing == (
        f"Order {ORDER} is PAID, its payment APPROVED; its saga is over (choreography, told by the {source})"
    )


def test_watch_goes_on_after_the_last_event_until_nothing_is_left_to_tell(answers: Answers) -> None:
    path = f"/api/orders/{ORDER}/stream"
    created = entry(1, "OrderCreated", "PENDING_PAYMENT", paymentStatus=None)
    answers.give("GET", path, ": still here\n\n" + streamed(created), kind="text/event-stream")
    answers.give("GET", path, streamed(created, entry(2, "OrderPaid", "PAID")), kind="text/event-stream")
    answers.give("GET", path, "", status=204)

    result = order(f"watch {ORDER}", answers)

    first, second, standing = result.stdout.splitlines()
    assert ("OrderCreated" in first, "OrderPaid" in second) == (True, True)
    assert f"Order {ORDER} is PAID, its payment APPROVED" == standing
    after = [asked.headers.get("last-event-id") for asked in answers.asked]
    assert [None, str(UUID(int=1)), str(UUID(int=2))] == after


def test_watch_prints_each_event_as_json(answers: Answers) -> None:
    path = f"/api/orders/{ORDER}/stream"
    answers.give("GET", path, streamed(entry(1, "OrderPaid", "PAID")), kind="text/event-stream")
    answers.give("GET", path, "", status=204)
    assert entry(1, "OrderPaid", "PAID") == json.loads(order(f"watch {ORDER} --json", answers).stdout)


def test_watching_an_unknown_order_is_told_in_one_line(answers: Answers) -> None:
    answers.give("GET", f"/api/orders/{ORDER}/stream", {"detail": "There is no such order"}, status=404)
    fails_with("There is no such order", order(f"watch {ORDER}", answers))


# Dead letters


@pytest.mark.parametrize(
    "body", [b"[" * 900 + b"]" * 900, b"[" * 20_000 + b"]" * 20_000, b"NaN", b'"\\ud800"', b"\xff"], ids=range(5)
)
@pytest.mark.parametrize("arguments", ["list --json", "show d1 --json", "show d1"])
def test_every_dead_letter_can_be_shown(arguments: str, body: bytes) -> None:
    shown = letters(arguments, Heap(dead_letter("d1", body=body)))
    assert (shown.exit_code, "d1" in shown.output) == (0, True), shown.output
    if "--json" in arguments:
        json.loads(shown.output, parse_constant=pytest.fail)


def test_dead_letters_are_listed_by_filter() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2", reason="ILLEGAL", order_id=None))

    result = letters("list --reason malformed", heap)

    assert ("aa1" in result.stdout, "ab2" in result.stdout) == (True, False)
    assert result.stdout.splitlines()[-1] == "1 dead letter"
    assert heap.url == "amqp://u:p@broker/"
    assert letters("list --queue other", heap).stdout == "No dead letters\n"


def test_a_dead_letter_that_was_redriven_before_says_when_and_by_whom() -> None:
    again = {"redriven": 2, "redriven_at": "2026-02-15T01:42:19.000Z", "redriven_by": "root"}
    heap = Heap(dead_letter("aa1", **again), dead_letter("ab2"))
    first, second = letters("list", heap).stdout.splitlines()[1:3]
    assert ("2 times, last 02-15 01:42:19Z by root" in first, "times" in second) == (True, False)
    assert "redrivenBy" in letters("show aa1", heap).stdout


def test_a_dead_letter_told_by_the_version_before_was_never_redriven() -> None:
    told = as_json(dead_letter("aa1"))
    for unknown in ("redriven", "redrivenAt", "redrivenBy"):
        del told[unknown]
    assert from_json(told) == dead_letter("aa1")


def test_listing_as_json_tells_everything_of_each() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2", body=b"\xff{"))
    first, second = json.loads(letters("list --json", heap).stdout)["data"]
    assert (first["id"], first["routingKey"], first["orderId"]) == ("aa1", "order.create.requested", ORDER)
    assert (first["body"], second["body"]) == ({"eventType": "OrderCreated"}, "\\xff{")


def test_show_takes_a_unique_beginning_and_prints_the_body() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2"))
    result = letters("show ab", heap)
    assert result.stdout.splitlines()[0].split() == ["id", "ab2"]
    assert '{\n  "eventType": "OrderCreated"\n}' in result.stdout


def test_a_beginning_that_fits_several_does_nothing() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2"))
    fails_with("2 dead letters have an id that starts with a; give more", letters("redrive a", heap))
    assert heap.redriven == []


def test_redriving_twice_redrives_once_and_says_so() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2"))
    assert letters("redrive aa1", heap).stdout.endswith("Redrove 1 dead letter\n")

    again = letters("redrive aa1", heap)

    assert again.stdout == "Redrove 0 dead letters\n"
    where = "it may have been redriven or discarded already: see `saga dead-letters list`"
    fails_with(f"No dead letter has an id that starts with aa1; {where}", again)
    assert heap.redriven == ["aa1"]


def test_a_letter_that_the_broker_has_not_put_back_yet_is_redriven() -> None:
    heap = Heap(dead_letter("aa1"))
    heap.slow_looks = 1
    assert letters("redrive aa1", heap).stdout.endswith("Redrove 1 dead letter\n")


def test_redriving_all_keeps_to_the_filters_and_may_find_none() -> None:
    heap = Heap(dead_letter("aa1"), dead_letter("ab2", queue="payment.service"))
    assert letters("redrive --all --queue payment.service", heap).stdout.endswith("Redrove 1 dead letter\n")
    again = letters("redrive --all --queue payment.service", heap)
    assert (again.stdout, again.exit_code) == ("Redrove 0 dead letters\n", 0)
    assert heap.redriven == ["ab2"]


def test_discarding_is_refused_where_nobody_can_be_asked() -> None:
    heap = Heap(dead_letter("aa1"))
    assert (letters("discard --all", heap).exit_code, heap.discarded) == (2, [])
    assert letters("discard --all --yes", heap).stdout.endswith("Discarded 1 dead letter\n")
    assert heap.discarded == ["aa1"]


@pytest.mark.parametrize("arguments", ["redrive", "redrive a --all", "discard a --reason X --yes", "redrive ''"])
def test_ids_and_filters_exclude_each_other(arguments: str) -> None:
    heap = Heap(dead_letter("aa1"))
    assert (letters(arguments, heap).exit_code, heap.redriven, heap.discarded) == (2, [], [])


def test_a_broker_that_does_not_confirm_is_told_in_one_line() -> None:
    heap = Heap()
    heap.error = BrokerUnavailable("RabbitMQ gave no confirm")
    line = "RabbitMQ gave no confirm; see what `saga status` says and run this again, nothing is lost by that"
    fails_with(line, letters("list", heap))


# Events


def logged_event(number: int, kind: str, at: str) -> dict[str, Any]:
    return {"eventType": kind, "eventId": str(UUID(int=number)), "occurredAt": at, "payload": {"orderId": ORDER}}


def test_events_of_both_logs_are_listed_in_order(answers: Answers) -> None:
    paid = logged_event(3, "OrderPaid", "2026-02-15T01:42:21.000001Z")
    approved = logged_event(2, "PaymentApproved", "2026-02-15T01:42:21Z")
    answers.give("GET", "/o/events", {"data": [paid]})
    answers.give("GET", "/p/events", {"data": [approved]})

    result = logged("list --type OrderPaid --limit 7 --json", answers)

    assert [approved, paid] == json.loads(result.stdout)["data"]
    assert [asked.query for asked in answers.asked] == [{"eventType": ["OrderPaid"], "limit": ["7"]}] * 2
    assert answers.asked[0].headers["authorization"] == "Bearer inside"
    assert logged("list", answers).stdout.splitlines()[-1] == "2 events"


def test_events_of_one_order_are_chosen_among_all_it_has(answers: Answers) -> None:
    times = ("2026-02-15T01:42:19.999999Z", "2026-02-15T01:42:20Z", "2026-02-15T01:42:21Z")
    log = [logged_event(number, "OrderPaid", at) for number, at in enumerate(times)]
    answers.give("GET", f"/o/orders/{ORDER}/events", {"data": [*log, logged_event(9, "OrderCreated", times[1])]})
    answers.give("GET", f"/p/payments/order/{ORDER}/events", {"data": []})

    result = logged(f"list --order {ORDER} --type OrderPaid --since {times[1]} --until {times[2]} --json", answers)

    assert json.loads(result.stdout)["data"] == [log[1]]


def test_a_list_that_was_cut_says_so(answers: Answers) -> None:
    answers.give("GET", "/o/events", {"data": [logged_event(3, "OrderPaid", "2026-02-15T01:42:21.000Z")]})
    result = logged("list --limit 1 --service order", answers)
    assert result.stdout.splitlines()[-1] == "1 event; there may be more, raise --limit"


def test_replay_passes_its_conditions_on_and_counts(answers: Answers) -> None:
    answers.give("POST", "/o/events/replay", {"replayed": 2})
    answers.give("POST", "/p/events/replay", {"replayed": 1})

    result = logged("replay --type OrderPaid --since 2026-02-15T02:00:00+01:00 --until 2026-02-15T03:00:00", answers)

    assert result.stdout == "Replayed 2 events of the order service\nReplayed 1 event of the payment service\n"
    times = {"since": "2026-02-15T01:00:00.000Z", "until": "2026-02-15T03:00:00.000Z"}
    assert [each.path for each in answers.asked] == ["/o/healthz", "/o/events/replay", "/p/healthz", "/p/events/replay"]
    assert {"eventType": "OrderPaid", **times} == answers.asked[1].body


def test_replaying_everything_takes_a_yes(answers: Answers) -> None:
    answers.give("POST", "/p/events/replay", {"replayed": 9})
    assert (logged("replay --service payment", answers).exit_code, answers.asked) == (2, [])
    result = logged("replay --service payment --yes", answers)
    assert answers.asked[-1].body == {"since": "1970-01-01T00:00:00.000Z"}
    assert result.stdout == "Replayed 9 events of the payment service\n"


def test_a_wrong_token_is_told_in_one_line(answers: Answers) -> None:
    answers.give("GET", "/o/events", {"detail": "The token is wrong."}, status=401)
    line = "The token is wrong; set SAGA_INTERNAL_TOKEN to one that it accepts"
    fails_with(line, logged("list --service order", answers))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("15m", datetime(2026, 2, 15, 11, 45, tzinfo=UTC)),
        ("2h", datetime(2026, 2, 15, 10, tzinfo=UTC)),
        ("1d", datetime(2026, 2, 14, 12, tzinfo=UTC)),
        ("2026-02-15T01:42:00Z", datetime(2026, 2, 15, 1, 42, tzinfo=UTC)),
        ("2026-02-15T01:42:00+02:00", datetime(2026, 2, 14, 23, 42, tzinfo=UTC)),
        ("2026-02-15", datetime(2026, 2, 15, tzinfo=UTC)),
    ],
)
def test_times_are_iso_8601_or_ages(given: str, meant: datetime) -> None:
    assert meant == events.instant(given, now=datetime(2026, 2, 15, 12, tzinfo=UTC))


@pytest.mark.parametrize("given", ["yesterday", "15", "-1h", "999999999d", "0001-01-01T00:00:00+23:00", ""])
def test_other_times_are_refused(given: str, answers: Answers) -> None:
    with pytest.raises(typer.BadParameter, match="is not a time"):
        events.instant(given, now=datetime(2026, 2, 15, 12, tzinfo=UTC))
    result = CliRunner().invoke(events.app, ["replay", "--since", given])
    assert (result.exit_code, answers.asked) == (2, [])


def test_a_range_that_ends_before_it_begins_is_refused(answers: Answers) -> None:
    assert logged("replay --since 1h --until 2h", answers).exit_code == 2


@pytest.mark.parametrize("app", [orders.app, dead_letters.app, events.app])
def test_every_command_explains_itself_by_example(app: typer.Typer) -> None:
    for command in app.registered_commands:
        assert isinstance(command.callback, Callable)  # type: ignore[arg-type]
        assert ". For example: `saga " in (command.callback.__doc__ or "")


@pytest.mark.parametrize("violations", [0, 2])
def test_with_a_gateway_alone_each_service_audits_its_own_database(answers: Answers, violations: int) -> None:
    check = {
        "check": "order without its event",
        "invariant": 5,
        "violations": violations,
        "examples": [{"id": ORDER, "detail": "it has none"}] * min(1, violations),
    }
    found = {
        "holds": not violations,
        "checks": [check],
        "waiting": 0,
        "leftOut": ["comparisons of both databases", "dead letters"],
    }
    answers.give("GET", "/api/operator/audit", found)
    env = {"SAGA_GATEWAY_URL": answers.url}
    shown = CliRunner().invoke(app, ["audit"], env=env)
    assert shown.exit_code == (1 if violations else 0)
    assert ("2 violations" in shown.output, ORDER in shown.output) == (bool(violations),) * 2
    assert "Left out, because a gateway reads no database: comparisons of both databases, dead letters" in shown.output
    as_json = CliRunner().invoke(app, ["audit", "--json"], env=env)
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (shown.exit_code, found)
