"""Senders that flood the edge and hostile web pages change nothing for anybody (docs/failures.md, rows 44 and 53)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx

from tests.support.messages import BODY
from tests.support.raw_http import Peer
from tests.support.waiting import until
from tests.support.world import World

EVIL = "http://evil.example"


def test_44_orders_are_taken_while_slow_and_endless_senders_are_at_work(world: World) -> None:
    world.start("order", "payment", "gateway", request_timeout=600)  # nobody who is slow is sent away meanwhile
    port = world.ports["gateway"]
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        peers = [stack.enter_context(Peer(port)) for _ in range(300)]
        for peer in peers[:100]:
            peer.send(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        for peer in peers[100:200]:
            peer.send(b"POST /api/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{")
        floods = [pool.submit(peer.flood, b"X-Endless: ", size=200 * 1024 * 1024) for peer in peers[200:204]]
        orders = [world.post() for _ in range(50)]
        assert not any(flood.result() for flood in floods)
    for order_id in orders:
        world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest(orders)


def test_53_no_web_page_reads_starts_or_cancels_anything_by_any_port_of_ours(world: World) -> None:
    world.start("order", "payment", "gateway")
    world.launch("worker")
    until(lambda: "worker" in world.ports and _answers(world.ports["worker"]), what="the worker answers")
    paid = world.post()
    world.wait_status(paid, "PAID", "APPROVED")

    for port in (world.ports[name] for name in ("gateway", "order", "payment", "worker")):
        for answer in _what_a_page_can_do(port, paid):
            assert answer.status_code in (401, 403, 415, 421), (answer.request, answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert "access-control-allow-origin" not in answer.headers
    for answer in _what_a_page_cannot_read(world.ports["gateway"], paid):
        assert not [name for name in answer.headers if name.startswith("access-control-")], answer.request

    assert [str(row["id"]) for row in world.rows("orders", "SELECT id FROM orders")] == [paid]
    world.wait_status(paid, "PAID", "APPROVED")
    own = {"Origin": f"http://127.0.0.1:{world.ports['gateway']}", "Sec-Fetch-Site": "same-origin"}
    tried_out = world.post(headers=own)  # as the page of the API documentation does
    world.wait_status(tried_out, "PAID", "APPROVED")
    world.wait_at_rest([paid, tried_out])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _what_a_page_can_do(port: int, order_id: str) -> list[httpx.Response]:
    """Try to change something by form and by fetch, under every origin, and to read under a name of the page's own."""
    url = f"http://127.0.0.1:{port}"
    text = {"Content-Type": "text/plain"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    pages = [
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{port + 1}", "Sec-Fetch-Site": "same-site"},
        {"Origin": f"http://127.0.0.1:{port}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/orders", {"json": BODY}),
        ("PATCH", f"/api/orders/{order_id}/cancel", {}),
        ("PATCH", f"/api/orders/{order_id}", {"json": {"status": "CANCELLED"}}),
        ("PUT", "/idempotency-keys", {"json": {}}),
        ("POST", "/events/replay", {"json": {"orderId": order_id}}),
    ]
    paths = ("/", "/api/orders", f"/api/orders/{order_id}", "/healthz", "/readyz", "/docs", "/openapi.json", "/nothing")
    names = ("evil.example", f"evil.example:{port}", "localhost.evil.example", "192.168.1.1", "0.0.0.0", "[::2]:80")
    with httpx.Client() as client:
        sent = [
            client.request(method, url + path, headers=page, **options)
            for page in pages
            for method, path, options in changes
        ]
        # Without any word of its origin, a form still cannot send JSON.
        sent += [client.post(f"{url}/api/orders", content=b'{"userId":1}', headers=kind) for kind in (text, form)]
        sent += [
            client.request(method, url + path, headers={"Host": name})
            for path in paths
            for name in names
            for method in ("GET", "HEAD", "OPTIONS", "POST")
        ]
    return [answer for answer in sent if answer.request.method != "HEAD" or answer.headers["content-type"]]


def _what_a_page_cannot_read(port: int, order_id: str) -> list[httpx.Response]:
    url = f"http://127.0.0.1:{port}/api/orders"
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    return [
        httpx.options(url, headers={"Origin": EVIL, **wanted}),
        httpx.get(url, headers={"Origin": EVIL}),
        httpx.get(f"{url}/{order_id}", headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}),
    ]
