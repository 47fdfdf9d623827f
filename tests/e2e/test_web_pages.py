"""A page in the operator's browser can do nothing with the ports of the servers (docs/failures.md, row 53)."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from embedded import state
from tests.support.messages import USER
from tests.support.stack import Stack
from tests.support.waiting import until

EVIL = "evil.example"
OURS = ("gateway", "order", "payment", "worker")  # have tests of their own: tests/failures/test_edge_pages.py
WORKFLOWS = "/api/v1/namespaces/default/workflows"


@pytest.fixture
def running(stack: Stack) -> str:
    """An orchestrated order whose payment takes ten seconds."""
    body = {"userId": USER, "total": 999, "coordinator": "orchestration", "paymentMethod": "pm_slow"}
    order_id = str(httpx.post(f"{stack.gateway}/api/orders", json=body).raise_for_status().json()["orderId"])
    until(lambda: workflow(stack, order_id) is WorkflowExecutionStatus.RUNNING, what="its workflow runs")
    return order_id


def test_53_no_web_page_reads_starts_or_ends_anything_by_any_port_of_the_servers(stack: Stack, running: str) -> None:
    """A page tries it under a name that leads to loopback, and from another origin. It can read counters alone."""
    known = workflows(stack)
    ports = open_ports(stack)
    asked = [(port, each) for port in ports for each in (*rebound(port, running), *cross_site(port, running, stack))]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, *zip(*asked, strict=True)))
    counters = [answer for answer in answers if b"# TYPE " in answer]
    assert len(counters) == 1, "Temporal cannot be told not to tell them; its port is another at each start"
    assert running.encode() not in counters[0]
    for question, answer in zip(asked, answers, strict=True):
        assert answer in counters or status_of(answer) not in range(200, 400), (question, answer[:500])
    assert workflows(stack) == known
    assert workflow(stack, running) is WorkflowExecutionStatus.RUNNING
    until(lambda: order(stack, running)["status"] == "PAID", within=30, what="the saga goes on")


def test_53_the_web_uis_are_there_for_their_own_pages_and_for_links(stack: Stack) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for name in ("temporal_ui", "rabbitmq_ui"):
        assert httpx.get(stack.urls[name], headers=link).status_code == 200
        assert httpx.get(stack.urls[name].replace("127.0.0.1", "localhost")).status_code == 200
    with httpx.Client(base_url=stack.urls["temporal_ui"], headers={"Sec-Fetch-Site": "same-origin"}) as page:
        page.get("/api/v1/settings").raise_for_status()
        token = {"X-CSRF-Token": page.cookies["_csrf"], "Origin": stack.urls["temporal_ui"]}
        unknown = page.post(f"{WORKFLOWS}/{uuid4()}/terminate", json={"reason": "a test"}, headers=token)
        assert (unknown.status_code, "not found" in unknown.text) == (404, True)


def open_ports(stack: Stack) -> set[int]:
    """The open ports of the supervisor and of the servers, at the address that a page may know."""
    known = state.read(stack.data)
    assert known is not None
    pids = {known["pid"], *(each["pid"] for each in known["processes"] if each["name"] not in OURS)}
    children = {child.pid for pid in pids - {known["pid"]} for child in psutil.Process(pid).children(recursive=True)}
    listening = [each for each in psutil.net_connections(kind="tcp") if each.status == psutil.CONN_LISTEN]
    known_to_pages = [each.laddr for each in listening if each.pid in pids | children and each.laddr]
    ports = {address.port for address in known_to_pages if address.ip == "127.0.0.1"}
    expected = {urlsplit(stack.urls[name]).port for name in ("temporal_ui", "rabbitmq_ui", "amqp", "orders_db")}
    assert expected <= ports
    return ports


def rebound(port: int, order_id: str) -> Iterator[bytes]:
    """Requests of a page to its own origin, after its name was made to lead here."""
    paths = ("/", "/metrics", "/api/overview", "/api/v1/settings", WORKFLOWS, f"{WORKFLOWS}/order-{order_id}")
    for path in paths:
        yield written("GET", path, Host=f"{EVIL}:{port}", Sec_Fetch_Site="same-origin")
    for path, body in harm(order_id):
        origin = f"http://{EVIL}:{port}"
        token = {"Cookie": "_csrf=abc", "X_CSRF_Token": "abc", "Authorization": "Bearer x"}
        yield written("POST", path, body, Host=f"{EVIL}:{port}", Origin=origin, **token)


def cross_site(port: int, order_id: str, stack: Stack) -> Iterator[bytes]:
    """Requests that a page of another origin can cause by a form, with the password that the browser remembers."""
    user, password = urlsplit(stack.urls["amqp"]).netloc.partition("@")[0].split(":")
    remembered = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    for path, body in harm(order_id):
        for origin in (f"http://{EVIL}", "null", "http://127.0.0.1:3000"):
            yield written("POST", path, body, Host=f"127.0.0.1:{port}", Origin=origin, Authorization=remembered)
        site = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        yield written("POST", path, body, Host=f"localhost:{port}", Authorization=remembered, **site)
    yield written("GET", "/api/overview", Host=f"127.0.0.1:{port}", Origin=f"http://{EVIL}", Authorization=remembered)


def harm(order_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    start = {"workflowType": {"name": "OrderSaga"}, "taskQueue": {"name": "order-service"}}
    yield f"{WORKFLOWS}/{uuid4()}", start
    yield f"{WORKFLOWS}/order-{order_id}/terminate", {"reason": "a page"}
    yield f"{WORKFLOWS}/order-{order_id}/signal/cancel", {}
    yield f"{WORKFLOWS}/order-{order_id}/cancel", {}
    message = {"properties": {}, "routing_key": "order.cancel.requested", "payload_encoding": "string"}
    payload = json.dumps({"eventType": "OrderCancelRequested", "payload": {"orderId": order_id}})
    yield "/api/exchanges/%2f/orders.exchange/publish", {**message, "payload": payload}


def written(method: str, path: str, body: object = None, **fields: str) -> bytes:
    """A request as a browser writes it. A form sends its content as plain text."""
    content = b"" if body is None else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    head = {**names, **({"Content-Type": "text/plain", "Content-Length": str(len(content))} if content else {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + content


def ask(port: int, request: bytes) -> bytes:
    """The answer, read until nothing comes for a second, since a server may wait for more of the request."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(request)
        while data := connection.recv(65536):
            answer += data
    return answer


def status_of(answer: bytes) -> int | None:
    """The status of an answer. None if a browser could not read it as one."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else None


def order(stack: Stack, order_id: str) -> dict[str, Any]:
    return dict(httpx.get(f"{stack.gateway}/api/orders/{order_id}").json())


def workflow(stack: Stack, order_id: str) -> WorkflowExecutionStatus | None:
    async def describe() -> WorkflowExecutionStatus | None:
        client = await Client.connect(stack.urls["temporal"])
        return (await client.get_workflow_handle(f"order-{order_id}").describe()).status

    return asyncio.run(describe())


def workflows(stack: Stack) -> set[str]:
    """The ids of the orchestrated sagas that Temporal lists."""

    async def listed() -> set[str]:
        client = await Client.connect(stack.urls["temporal"])
        return {each.id async for each in client.list_workflows("WorkflowType = 'OrderSaga'")}

    return asyncio.run(listed())
