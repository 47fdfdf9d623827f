"""Slow, endless and odd requests harm no other client of a real process (docs/failures.md, row 44)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import waiting
from tests.support.raw_http import HEALTH, Alone, Peer, ask, gateway_alone, status
from tests.support.waiting import until

PATIENCE = 1.0  # seconds that a client has to send a request, here
POST = b"POST /api/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ORDER = b"/api/orders/019c5ef4-0d8f-4a3c-9f1e-5b1d2c3e4f50"
KIB = 1024
MIB = 1024 * KIB


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A service that takes connections and answers nobody."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, silent: int) -> Iterator[Alone]:
    settings = {
        "SAGA_REQUEST_TIMEOUT": str(PATIENCE),
        "SAGA_ORDER_SERVICE_URL": f"http://127.0.0.1:{silent}",
    }
    with gateway_alone(tmp_path_factory.mktemp("gateway"), settings) as gateway:
        yield gateway


def problem(answer: bytes) -> dict[str, Any]:
    """The problem details of the one complete answer, after which the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"connection"] == b"close"
    assert int(fields[b"content-length"]) == len(body)
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status(answer)
    assert found["correlationId"].encode() == fields[b"x-correlation-id"]
    return found


ENDLESS = {
    "a value": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"a", 431),
    "a name": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a", 431),
    "a continued value": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"a b\t", 431),
    "fields": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-Many: 1\r\n", 431),
    "a path": (b"GET /", b"a", 414),
    "a query": (b"GET /api/orders?status=", b"a", 414),
    "empty lines": (b"", b"\r\n", 431),
    "a chunk's extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n2;", b"a", 413),
    "chunks of nothing but zeros": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0", 413),
    "a trailer": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Long: ", b"a", 413),
    "trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-Many: 1\r\n", 431),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 413),
    "a body of a gigabyte": (POST + b"Content-Length: 1000000000\r\n\r\n", b"a", 413),
    "a body where none belongs": (
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1000\r\n" + b"a" * 4096 + b"\r\n",
        404,
    ),
}


@pytest.mark.parametrize("what", ["a value", "fields", "a chunk's extension", "a body of a gigabyte"])
def test_44_what_is_sent_without_end_is_refused_at_once_and_costs_nobody_else(gateway: Alone, what: str) -> None:
    head, piece, expected = ENDLESS[what]
    with Peer(gateway.port) as peer:
        peer.send(head)
        sent_all = peer.flood(piece, size=400 * MIB)
        assert gateway.is_well()
        answer = peer.read_all()
    assert not sent_all
    if answer:  # a reset by the sender's own flood may have overtaken it
        assert status(answer) == expected
    assert gateway.is_well()


@pytest.mark.parametrize("what", ENDLESS)
def test_44_whoever_stops_sending_to_look_can_read_why_it_was_refused(gateway: Alone, what: str) -> None:
    head, piece, expected = ENDLESS[what]
    with Peer(gateway.port) as peer:
        peer.send(head)
        peer.flood(piece, size=768 * KIB)
        answer = peer.read_all()
    assert status(answer) == expected
    assert problem(answer)["status"] == expected


def head_of(size: int) -> bytes:
    start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


def fields(number: int) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + b"A: 1\r\n" * (number - 2) + b"\r\n"


@pytest.mark.parametrize(("head", "expected"), [(head_of(64 * KIB), 200), (head_of(64 * KIB + 1), 431)])
@pytest.mark.parametrize("pieces_of", [64 * KIB + 1, 1000])
def test_44_a_header_has_64_kib_and_not_a_byte_more(gateway: Alone, head: bytes, expected: int, pieces_of: int) -> None:
    pieces = [head[n : n + pieces_of] for n in range(0, len(head), pieces_of)]
    assert status(ask(gateway.port, *pieces)) == expected


@pytest.mark.parametrize(("number", "expected"), [(100, 200), (101, 431), (20_000, 431)])
def test_44_a_header_has_100_fields_and_not_one_more(gateway: Alone, number: int, expected: int) -> None:
    assert status(ask(gateway.port, fields(number))) == expected


SLOW = {
    "half a request": HEALTH[:-2],
    "a letter": b"G",
    "half a body": POST + b"X-Correlation-Id: trace-7\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "no trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
}


@pytest.mark.parametrize("what", SLOW)
def test_44_a_request_that_does_not_go_on_is_a_408(gateway: Alone, what: str) -> None:
    began = time.monotonic()
    answer = ask(gateway.port, SLOW[what])
    assert time.monotonic() - began >= PATIENCE
    assert problem(answer)["type"] == "urn:payment-saga:problem:request-timeout"
    if b"trace-7" in SLOW[what]:
        assert problem(answer)["correlationId"] == "trace-7"
        assert b"x-correlation-id: trace-7\r\n" in answer


@pytest.mark.parametrize(
    ("head", "then"),
    [
        (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: loris\r\n" * 90),
        (POST + b"Content-Length: 60000\r\n\r\n", b" "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["header", "body", "chunks"],
)
def test_44_a_request_that_comes_byte_by_byte_is_a_408(gateway: Alone, head: bytes, then: bytes) -> None:
    with Peer(gateway.port) as peer:
        peer.send(head)
        peer.trickle(then, every=0.02, within=waiting.PATIENCE)
        answer = peer.read_all()
    assert status(answer) == 408


def test_44_connections_on_which_nothing_is_asked_are_closed_without_a_word(gateway: Alone) -> None:
    with Peer(gateway.port) as new, Peer(gateway.port) as used:
        used.send(HEALTH)
        assert status(used.read_one()) == 200
        assert (new.read_all(), used.read_all()) == (b"", b"")


def test_44_a_connection_serves_one_request_after_another(gateway: Alone) -> None:
    """All requests together take longer than one request may, and each is in time."""
    with Peer(gateway.port) as peer:
        until_when = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < until_when:
            peer.send(HEALTH[:30])
            time.sleep(0.05)
            peer.send(HEALTH[30:])
            assert status(peer.read_one()) == 200


PATIENT = {"SAGA_REQUEST_TIMEOUT": "600"}  # idle sockets stay for longer than a test waits


def test_44_idle_sockets_beyond_the_soft_limit_of_open_files_shut_nobody_out(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with gateway_alone(tmp_path_factory.mktemp("patient"), PATIENT) as patient, ExitStack() as stack:
        for _ in range(1_100):
            stack.enter_context(Peer(patient.port))
        assert patient.is_well()


def test_44_idle_sockets_beyond_every_limit_are_soon_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As many sockets as the process may have files, although the patience is ten minutes."""
    with gateway_alone(tmp_path_factory.mktemp("few"), PATIENT, files=(96, 96)) as few, ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(Peer(few.port))

        def served() -> bool:
            return status(ask(few.port, HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) == 200

        until(served, what="somebody else is served")


def test_44_connections_beyond_the_bound_are_refused_and_those_of_others_are_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One address may have half of them, all together no more than the bound. Health checks are always answered."""
    page, health = (
        b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
        for path in (b"/openapi.json", b"/healthz")
    )
    with (
        gateway_alone(tmp_path_factory.mktemp("small"), PATIENT | {"SAGA_CONNECTIONS": "20"}) as small,
        ExitStack() as stack,
    ):

        def hold(address: str) -> Peer:
            peer = stack.enter_context(Peer(small.port, address=address))
            peer.send(POST)  # it is not idle
            return peer

        held = [hold("127.0.0.1") for _ in range(10)]
        refused = ask(small.port, page)
        assert problem(refused)["status"] == 503
        assert b"retry-after: 5\r\n" in refused.lower()
        assert status(ask(small.port, page, address="127.0.0.2")) == 200
        for _ in range(10):
            hold("127.0.0.2")
        assert status(ask(small.port, page, address="127.0.0.3")) == 503
        assert status(ask(small.port, health, address="127.0.0.3")) == 200
        about_all = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert status(ask(small.port, about_all, address="127.0.0.3")) == 503
        with Peer(small.port, address="127.0.0.3") as silent_one:
            assert silent_one.read_all() == b""  # it is soon closed
        assert small.log.count("connections_refused") <= 3, "once a minute for each address"
        held[0].close()

        def served() -> bool:
            return status(ask(small.port, page, address="127.0.0.3")) == 200

        until(served, what="there is room again")


def test_44_a_client_that_leaves_in_mid_body_is_no_error(gateway: Alone) -> None:
    before = gateway.log.count("client_left")
    for body in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        with Peer(gateway.port) as peer:
            peer.send(POST + body)
    until(lambda: gateway.log.count("client_left") == before + 2, what="both are noticed")
    assert "Traceback" not in gateway.log
    assert '"level": "error"' not in gateway.log


def test_44_what_is_sent_behind_a_request_never_spoils_its_answer(gateway: Alone) -> None:
    """The first request takes two seconds, twice the patience, because its service answers nobody."""
    slow = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % ORDER
    for behind in (b"G", b"\x00 garbage", HEALTH + b"G", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000):
        answer = ask(gateway.port, slow + behind)
        assert status(answer) == 503
        _, _, body = answer.partition(b"\r\n\r\n")
        assert body.startswith(b'{"type":"urn:payment-saga:problem:unavailable"')


def test_44_requests_without_end_whose_answers_nobody_reads_fill_no_memory(gateway: Alone) -> None:
    before = psutil.Process(gateway.process.pid).memory_info().rss
    many = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Peer(gateway.port)).flood(many, size=8 * MIB)
        assert gateway.is_well()
        grown = psutil.Process(gateway.process.pid).memory_info().rss - before
    assert grown < 32 * MIB, grown


def test_44_requests_sent_before_an_answer_are_answered_up_to_a_number_and_then_the_connection_ends(
    gateway: Alone,
) -> None:
    answers = ask(gateway.port, HEALTH * 1000)
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert 32 <= len(statuses) < 1000
    assert set(statuses) == {200}
    assert answers.count(b"connection: close") == 1
    assert answers.index(b"connection: close") > answers.rindex(b"HTTP/1.1 200")


def test_44_requests_sent_at_once_are_answered_in_their_order(gateway: Alone) -> None:
    second = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = ask(gateway.port, HEALTH + HEALTH + second)
    assert [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404]


def test_the_soft_limit_of_open_files_is_raised(gateway: Alone) -> None:
    limits = Path(f"/proc/{gateway.process.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard != "1024"


REFUSED = {
    "no host": b"",
    "two hosts": b"Host: localhost\r\nHost: localhost\r\n",
    "an empty host": b"Host: \r\n",
    "two words": b"Host: local host\r\n",
    "a user": b"Host: user@localhost\r\n",
    "a path": b"Host: localhost/\r\n",
    "no port": b"Host: localhost:\r\n",
    "a port that is none": b"Host: localhost:65536\r\n",
    "a long one": b"Host: " + b"a" * 300 + b"\r\n",
    "control characters": b"Host: local\x01host\r\n",
    "bytes beyond ASCII": b"Host: l\xc3\xb6calhost\r\n",
    "several": b"Host: localhost, evil.example\r\n",
    "half an address": b"Host: [::1\r\n",
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("path", [b"/healthz", b"/api/orders", b"/docs", b"/nothing"])
def test_a_host_that_is_none_or_not_one_is_refused(gateway: Alone, what: str, path: bytes) -> None:
    answer = ask(gateway.port, b"GET %s HTTP/1.1\r\nConnection: close\r\n%s\r\n" % (path, REFUSED[what]))
    assert problem(answer)["status"] == 400


def test_http_1_0_needs_no_host(gateway: Alone) -> None:
    assert status(ask(gateway.port, b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


def test_the_host_that_the_target_names_is_the_one_that_counts(gateway: Alone) -> None:
    for target, expected in ((b"http://evil.example/healthz", 421), (b"http://localhost:9/healthz?", 200)):
        for host in (b"localhost", b"evil.example"):
            request = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host)
            assert status(ask(gateway.port, request)) == expected, request


ODD = {
    "no method": (b" / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a length and chunks": (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    "a length below nothing": (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    "a path that is not ASCII": (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a field without a name": (b"GET / HTTP/1.1\r\nHost: localhost\r\n: nothing\r\n\r\n", 400),
    "a chunk that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_http_is_a_400(gateway: Alone, what: str) -> None:
    request, expected = ODD[what]
    assert problem(ask(gateway.port, request))["status"] == expected
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("to", [b"h2c", b"websocket"])
def test_an_offer_to_speak_something_else_is_not_taken_and_the_request_is_answered(gateway: Alone, to: bytes) -> None:
    """Java's HTTP client sends such an offer with a body by default."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAEAAEAAAAIA\r\n" % to
    body = b'{"userId":"42","total":999}'
    chunks = b"9\r\n" + body[:9] + b"\r\n%x\r\n" % len(body[9:]) + body[9:] + b"\r\n0\r\n\r\n"
    for head, pieces in (
        (b"Content-Length: %d\r\n\r\n" % len(body), [body]),
        (b"Content-Length: %d\r\n\r\n" % len(body), [body[:5], body[5:] + b"GET / HTTP/1.1\r\n\r\n"]),
        (b"Content-Length: %d\r\n\r\n" % len(body) + body, []),
        (b"Transfer-Encoding: chunked\r\n\r\n", [chunks[:4], chunks[4:]]),
    ):
        answer = ask(gateway.port, POST + upgrade + head, *pieces)
        assert status(answer) == 422
        assert [each["field"] for each in problem(answer)["errors"]] == ["userId"], "the body was read"
    assert status(ask(gateway.port, POST + upgrade + b"Content-Length: 70000\r\n\r\n")) == 413
    assert status(ask(gateway.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\r\n")) == 200


def test_a_client_of_http_1_0_is_asked_for_nothing_in_between(gateway: Alone) -> None:
    """It knows no interim answers (RFC 9110, 15.2)."""
    old = POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert status(ask(gateway.port, old, b"{}")) == 422


@pytest.mark.parametrize("path", [b"/healthz", b"/docs", b"/openapi.json", ORDER, ORDER + b"/stream", b"/nothing"])
def test_head_is_answered_without_a_body_as_get_would_be(gateway: Alone, path: bytes) -> None:
    heads = [
        ask(gateway.port, b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % (method, path)).partition(
            b"\r\n\r\n"
        )
        for method in (b"HEAD", b"GET")
    ]
    (head, _, nothing), (get, _, _) = heads
    assert status(head) == status(get)
    assert nothing == b""
    lengths = [[line for line in each.split(b"\r\n") if line.startswith(b"content-length")] for each in (head, get)]
    assert lengths[0] == lengths[1]


def test_options_tells_of_the_server_as_a_whole(gateway: Alone) -> None:
    answer = ask(gateway.port, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(answer) == 204
    assert b"\r\nallow: GET, HEAD" in answer.lower().replace(b"get, head", b"GET, HEAD")
