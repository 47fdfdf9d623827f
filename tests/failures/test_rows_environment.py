"""Processes ignore proxies and strangers' variables in their environment (docs/failures.md, row 42)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from tests.support.ports import OFFSET
from tests.support.waiting import until
from tests.support.world import World

NOWHERE = "/nonexistent/by-another-program"


class Recorder:
    """A proxy that serves nobody, and remembers the first bytes of each connection."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    self.heard.append(connection.recv(4096))
                except OSError:
                    self.heard.append(b"a connection that said nothing")

    def close(self) -> None:
        self._listener.close()

    def environ(self, scheme: str) -> dict[str, str]:
        """Variables that lead every library to this proxy, if it looks at them."""
        proxy = f"{scheme}://someone:secret@127.0.0.1:{self.port}"
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY", "FTP_PROXY")
        return {
            **dict.fromkeys((*proxies, *map(str.lower, proxies)), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "elsewhere.example"),
            **dict.fromkeys(("NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE"), NOWHERE),
            **dict.fromkeys(("PGHOST", "PGHOSTADDR"), "127.0.0.1"),
            "PGPORT": str(self.port),
            "PGHOSTADDR": "127.0.0.1",
            "PGUSER": "stranger",
            "PGPASSWORD": "wrong",
            "PGDATABASE": "elsewhere",
            "PGSERVICE": "nobody",
            "PGSERVICEFILE": NOWHERE,
            "PGPASSFILE": NOWHERE,
            "PGSSLMODE": "verify-full",
            "PGOPTIONS": "-c default_transaction_read_only=on",
            "PGTARGETSESSIONATTRS": "standby",
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.port}",
            "TEMPORAL_NAMESPACE": "elsewhere",
            "TEMPORAL_TLS": "true",
            "TEMPORAL_API_KEY": "key",
            "TEMPORAL_CONFIG_FILE": NOWHERE,
            "UVICORN_PORT": str(self.port),
            "WEB_CONCURRENCY": "many",
            "FORWARDED_ALLOW_IPS": "*",
        }


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.close()


def saga(*arguments: str, env: Mapping[str, str]) -> str:
    """The output of a command that must succeed."""
    command = [str(Path(sys.executable).parent / "saga"), *arguments]
    ran = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
    return ran.stdout


@pytest.mark.parametrize("scheme", ["http", pytest.param("socks5", marks=pytest.mark.long)])
def test_42_no_process_and_no_command_looks_at_a_proxy(world: World, recorder: Recorder, scheme: str) -> None:
    world.env |= recorder.environ(scheme)
    world.start("order", "payment", "gateway")
    key = {"Idempotency-Key": str(uuid4())}
    order_id = world.post(headers=key)
    assert world.post(headers=key) == order_id
    world.wait_status(order_id, "PAID", "APPROVED")
    for path in (
        "/orders",
        f"/orders/{order_id}",
        f"/orders/{order_id}/timeline",
        f"/orders/{order_id}/stream",
        "/payments/stats",
        f"/payments/order/{order_id}",
    ):
        assert world.request("GET", path).status_code == 200, path
    env = {
        **world.env,
        "SAGA_GATEWAY_URL": f"http://127.0.0.1:{world.ports['gateway']}",
        "SAGA_ORDER_SERVICE_URL": f"http://127.0.0.1:{world.ports['order']}",
        "SAGA_PAYMENT_SERVICE_URL": f"http://127.0.0.1:{world.ports['payment']}",
    }
    assert order_id in saga("order", "list", "--json", env=env)
    assert "OrderCreated" in saga("events", "list", "--order", order_id, env=env)
    saga("events", "replay", "--order", order_id, "--yes", env=env)
    saga("dead-letters", "list", env=env)
    assert world.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest([order_id])
    assert recorder.heard == []


def test_42_a_real_provider_is_asked_through_the_proxy_and_nothing_else_is(world: World, recorder: Recorder) -> None:
    world.start("order", "gateway")
    world.env |= recorder.environ("http")
    del world.env["SSL_CERT_FILE"]
    world.start("payment", provider="stripe", stripe_api_key="sk_test_nobody")
    order_id = world.post()
    until(lambda: len(recorder.heard) > 0, what="the provider is asked")
    assert world.request("GET", f"/payments/order/{order_id}").status_code == 200
    assert {each.split(b"\r\n")[0] for each in recorder.heard} == {b"CONNECT api.stripe.com:443 HTTP/1.1"}
    assert not any(b"internal" in each for each in recorder.heard)


def test_42_a_gateway_that_cannot_read_says_so(world: World) -> None:
    world.start("order", "payment")
    world.start("gateway", internal_token="another")
    checks = world._http.get(f"http://127.0.0.1:{world.ports['gateway']}/readyz").json()["checks"]
    assert checks["broker"] == "ok"
    for name in ("orders", "payments"):
        assert checks[name].startswith("degraded: refuses the internal token"), checks
    world.kill("order")
    checks = world._http.get(f"http://127.0.0.1:{world.ports['gateway']}/readyz").json()["checks"]
    assert checks["orders"].startswith("degraded: does not answer"), checks


@pytest.mark.long
def test_42_a_whole_stack_with_its_tour_and_its_audit_looks_at_no_proxy(recorder: Recorder, tmp_path: Path) -> None:
    env = {**os.environ, **recorder.environ("socks5"), "SAGA_PROVIDER_LATENCY_MS": "0"}
    where = ("--data", str(tmp_path / "data"))
    told = saga("up", "--detach", "--tour", *where, "--port-offset", str(OFFSET + 300), env=env)
    try:
        assert "Ready\n" in told
        assert json.loads(saga("status", "--json", *where, env=env))["ready"] is True
        saga("audit", "--at-rest", "--timelines", "all", *where, env=env)
        saga("order", "list", *where, env=env)
        saga("doctor", *where, env=env)
    finally:
        saga("down", *where, env=env)
    assert recorder.heard == []
