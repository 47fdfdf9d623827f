"""The porter before the web UIs refuses strangers, and passes every other request on as it came."""

from __future__ import annotations

import asyncio
import gc

import pytest

from embedded.porter import RequestRefused, admit, stand

pytestmark = pytest.mark.anyio

LINK = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
ALLOWED = frozenset({"shop.example"})


def head(*fields: str, line: str = "GET /namespaces HTTP/1.1", host: str | None = "127.0.0.1:8233") -> bytes:
    return "\r\n".join([line, *([f"Host: {host}"] if host is not None else []), *fields]).encode("latin-1")


@pytest.mark.parametrize(
    "request_head",
    [
        head(),
        head(host="localhost:8233"),
        head(host="[::1]:8233"),
        head(host="[::ffff:127.0.0.1]:8233"),
        head(host="127.8.8.8"),
        head(host="SHOP.example.:80"),
        head("Origin: http://127.0.0.1:8233", line="POST /api/v1/x HTTP/1.1"),
        head("Origin: http://127.0.0.1:8233", "Sec-Fetch-Site: same-origin", line="DELETE /api/v1/x HTTP/1.1"),
        head("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
        head(*LINK),
        head("Content-Type: application/json", line="POST /api/v1/x HTTP/1.1"),  # a program names no page
    ],
)
def test_a_request_for_this_machine_is_let_in(request_head: bytes) -> None:
    """The request comes by any name of the machine, from the UI's own pages, by a link, or from a program."""
    assert admit(request_head, ALLOWED).endswith(b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(host="evil.example:8233"), 421),
        (head(host="localhost.evil.example"), 421),
        (head(host="127.0.0.1.evil.example:8233"), 421),
        (head(host="192.168.0.7:8233"), 421),
        (head(host="0.0.0.0:8233"), 421),
        (head(host="[127.0.0.1]:8233"), 421),
        (head(host=""), 400),
        (head(host=None), 400),
        (head("Host: 127.0.0.1", host="evil.example"), 400),
        (head("host: evil.example"), 400),
        (head(host="evil.example@127.0.0.1"), 400),
        (head("Origin: http://evil.example"), 403),
        (head("Origin: null", line="POST /api/v1/x HTTP/1.1"), 403),
        (head("Origin: http://127.0.0.1:3000"), 403),
        (head("Origin: http://127.0.0.1:8233.evil.example"), 403),
        (head("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403),
        (head("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"), 403),
        (head("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403),
        (head(*LINK, line="POST /api/v1/x HTTP/1.1"), 403),
        (head(line="GET http://evil.example/ HTTP/1.1"), 400),
        (head(line="CONNECT 127.0.0.1:7233 HTTP/1.1"), 400),
        (head(line="GET / HTTP/1.0"), 400),
        (head(line="GET /"), 400),
        (head(" folded: into the field before"), 400),
        (head("Host : 127.0.0.1", host=None), 400),
    ],
)
def test_a_request_under_another_name_or_from_another_page_is_refused(request_head: bytes, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        admit(request_head, ALLOWED)
    assert refused.value.status.startswith(f"{status} ")


def test_a_request_is_passed_on_as_it_came_and_is_the_last_of_its_connection() -> None:
    came = head("Connection: keep-alive, Upgrade", "Upgrade: h2c", "X-CSRF-Token: abc", "Content-Length: 2")
    fields = b"GET /namespaces HTTP/1.1\r\nHost: 127.0.0.1:8233\r\nX-CSRF-Token: abc\r\nContent-Length: 2\r\n"
    assert admit(came) == fields + b"Connection: close\r\n\r\n"


async def test_a_client_that_leaves_takes_its_place_with_it_though_the_server_behind_is_silent() -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the porter hangs up
        gone.set()
        writer.close()

    behind = await asyncio.start_server(silent, "127.0.0.1", 0)
    [door] = await stand({("127.0.0.1", 0): behind.sockets[0].getsockname()[:2]}, ALLOWED)
    async with behind, door:
        _, writer = await asyncio.open_connection(*door.sockets[0].getsockname()[:2])
        writer.write(head() + b"\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        gc.collect()  # whoever waits for the server behind is not garbage
        assert not gone.is_set()
        writer.close()
        await asyncio.wait_for(gone.wait(), 5)


async def test_an_answer_is_complete_though_its_server_stopped_listening_to_the_request() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\n\r\n" + b"a" * 500_000)
        await writer.drain()
        writer.close()

    behind = await asyncio.start_server(deaf, "127.0.0.1", 0)
    [door] = await stand({("127.0.0.1", 0): behind.sockets[0].getsockname()[:2]}, ALLOWED)
    async with behind, door:
        reader, writer = await asyncio.open_connection(*door.sockets[0].getsockname()[:2])
        writer.write(head("Content-Length: 100000000") + b"\r\n\r\n" + b"b" * 100_000)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.count(b"a") >= 500_000
