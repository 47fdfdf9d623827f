"""Three instances of every process behind a balancer answer as one (docs/operations/several-instances.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from api.gateway.keys import Role, mint
from models.message_types import PAYMENTS_EXCHANGE
from tests.support import http
from tests.support.balancer import ALL, INSTANCES, Balancer, balancer
from tests.support.messages import USER
from tests.support.pages import commands
from tests.support.temporal import TemporalServer
from tests.support.trickle import Trickle
from tests.support.waiting import until
from tests.support.world import Servers, World

ROOT, SHOP = mint("root", Role.OPERATOR), mint("shop", Role.CLIENT)
GATEWAYS: Final = INSTANCES["gateway"]
PAGE: Final = "several-instances.md"
ORDER: Final = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}


@dataclass(frozen=True, kw_only=True)
class System:
    """Twelve processes and their balancer."""

    world: World
    front: Balancer
    client: httpx.Client

    def ask(self, instance: str, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask one gateway; `gateway` is whichever the balancer takes."""
        headers = {"Authorization": f"Bearer {SHOP[0]}", **request.pop("headers", {})}
        url = f"http://127.0.0.1:{self.world.ports[instance]}{path}"
        return self.client.request(method, url, headers=headers, **request)

    def post(self, instance: str, *, headers: dict[str, str] | None = None, **more: Any) -> str:
        answer = self.ask(instance, "POST", "/api/orders", json={**ORDER, **more}, headers=headers or {})
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json().get("orderId") or answer.json()["id"])


@pytest.fixture(scope="module")
def system(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("several")
    world, temporal = World(servers, folder), TemporalServer(folder / "temporal")
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_PROVIDER_LATENCY_MS": "300",
        "SAGA_SHUTDOWN_TIMEOUT": "8",
        "SAGA_API_KEYS": f"{ROOT[1]},{SHOP[1]}",
    }
    try:
        temporal.start()
        with balancer(world, folder) as front, http.client(timeout=40) as client:
            for names in zip(*INSTANCES.values(), strict=True):
                world.start(*names)
            front.wait_up()
            yield System(world=world, front=front, client=client)
    finally:
        world.close()
        temporal.kill()


def test_the_same_key_makes_one_order_at_all_gateways(system: System) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    with ThreadPoolExecutor(6) as pool:
        at_once = set(pool.map(lambda instance: system.post(instance, headers=headers), GATEWAYS * 2))
    later = {system.post(instance, headers=headers) for instance in (*GATEWAYS, "gateway")}
    assert len(at_once | later) == 1
    other = system.ask(GATEWAYS[2], "POST", "/api/orders", json={**ORDER, "total": 1}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize("coordinator", ["choreography", "orchestration"])
def test_a_wait_is_answered_by_the_gateway_that_was_asked_whoever_ends_the_saga(
    system: System, coordinator: str
) -> None:
    def wait(instance: str) -> tuple[int, str]:
        body, headers = {**ORDER, "coordinator": coordinator}, {"Prefer": "wait=30"}
        answer = system.ask(instance, "POST", "/api/orders", json=body, headers=headers)
        return answer.status_code, answer.json()["status"]

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(wait, (*GATEWAYS, "gateway", "gateway", "gateway"))) == {(200, "PAID")}


def test_what_one_gateway_accepted_can_be_read_and_cancelled_at_once_at_another(system: System) -> None:
    order_id = system.post(GATEWAYS[0])
    assert system.ask(GATEWAYS[1], "GET", f"/api/orders/{order_id}").status_code == 200
    assert system.ask(GATEWAYS[2], "PATCH", f"/api/orders/{order_id}/cancel").status_code == 202
    until(lambda: status(system, order_id) == "CANCELLED", what="it is cancelled")


def test_a_stream_goes_on_at_another_gateway_where_it_broke_off(system: System) -> None:
    order_id = system.post(GATEWAYS[0], paymentMethod="pm_slow")
    first = events(system, GATEWAYS[0], order_id, most=1)
    cancelled = system.ask(GATEWAYS[1], "PATCH", f"/api/orders/{order_id}/cancel")
    assert cancelled.status_code == 202
    rest = events(system, GATEWAYS[1], order_id, after=first[-1]["id"])
    assert [each["event"] for each in first] == ["OrderCreated"]
    told = [each["event"] for each in rest]
    assert told[0] == "OrderCancelled"
    assert "OrderCreated" not in told
    assert len({each["id"] for each in (*first, *rest)}) == len(first) + len(rest)
    # There is nothing left to tell, which 204 says to the browser.
    last = {"Last-Event-ID": rest[-1]["id"]}
    until(
        lambda: system.ask(GATEWAYS[2], "GET", f"/api/orders/{order_id}/stream", headers=last).status_code == 204,
        what="the stream is over at every gateway",
    )


def test_a_session_of_the_console_is_known_to_all_gateways(system: System) -> None:
    at = {name: f"http://127.0.0.1:{system.world.ports[name]}" for name in (*GATEWAYS, "gateway")}
    with http.client(timeout=20) as browser:
        signed_in = browser.post(f"{at[GATEWAYS[0]]}/api/console/session", json={"key": ROOT[0]})
        assert signed_in.status_code == 200
        for name in (*GATEWAYS, "gateway"):
            session = browser.get(f"{at[name]}/api/console/session").json()
            assert (session["key"]["name"], session["proof"]) == ("root", signed_in.json()["proof"])
            assert browser.get(f"{at[name]}/api/operator/dead-letters").status_code == 200
            proof = {"X-Saga-Proof": session["proof"]}
            assert browser.post(f"{at[name]}/api/orders", json=ORDER, headers=proof).status_code == 202
            assert browser.post(f"{at[name]}/api/orders", json=ORDER).status_code == 403
        with browser.stream("GET", f"{at[GATEWAYS[2]]}/api/console/stream") as stream:
            lines = stream.iter_lines()
            next(lines)
            order_id = system.post(GATEWAYS[1])
            assert any(order_id in line for line in lines)


def test_an_operator_sees_the_dead_letters_of_all_instances_at_any_gateway(system: System) -> None:
    system.world.publish((PAYMENTS_EXCHANGE, "payment.approved", b"no envelope"))
    headers = {"Authorization": f"Bearer {ROOT[0]}"}

    def letters(instance: str) -> list[str]:
        found = system.ask(instance, "GET", "/api/operator/dead-letters", headers=headers).json()["data"]
        return [each["id"] for each in found]

    # The mirrors hear every event, so they set aside a letter of their own.
    until(lambda: len(letters(GATEWAYS[0])) == 2, what="both readers have set it aside")
    assert letters(GATEWAYS[1]) == letters(GATEWAYS[2]) == letters(GATEWAYS[0])
    for letter in letters(GATEWAYS[1]):
        path = f"/api/operator/dead-letters/{letter}"
        assert system.ask(GATEWAYS[2], "DELETE", path, headers=headers).status_code in (200, 204)
    assert letters(GATEWAYS[0]) == []


def test_the_balancer_gives_requests_to_every_instance_that_is_ready(system: System) -> None:
    before = system.front.served()

    def all_have_worked() -> bool:
        order_id = system.post("gateway", headers={"Idempotency-Key": str(uuid4())})
        for path in (f"/api/orders/{order_id}", f"/api/orders/{order_id}/timeline", "/api/payments/stats"):
            system.ask("gateway", "GET", path)
        system.ask("gateway", "GET", "/api/operator/dead-letters", headers={"Authorization": f"Bearer {ROOT[0]}"})
        after = system.front.served()
        assert all(after[name] > before[name] for name in ALL), (before, after)
        return True

    until(all_have_worked, what="every instance has been asked")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_36_a_rolling_restart_as_the_page_says_fails_no_request_and_loses_no_order(system: System) -> None:
    world, front = system.world, system.front
    with Trickle(f"http://127.0.0.1:{world.ports['gateway']}", key=SHOP[0]) as load:
        until(lambda: len(load.accepted) > 10, what="the load has begun")
        for process, names in INSTANCES.items():
            for name in names:
                restart(system, process, name)
        sofar = len(load.accepted)
        until(lambda: len(load.accepted) > sofar + 10, what="the load has gone on")
    assert load.failed == []
    world.wait_at_rest(load.accepted, within=240)
    assert world.dead_letters() == []
    front.wait_up()
    (watched,) = commands(PAGE, "What to watch")
    assert "violated" not in run(system, watched, "gateway", GATEWAYS[0])


def restart(system: System, process: str, name: str) -> None:
    """Follow the page for one instance."""
    drain, look, stop, ready, back = commands(PAGE, "Restart one after the other")
    run(system, drain, process, name)
    idle = f"{name},0,"
    until(lambda: idle in run(system, look, process, name), what=f"{name} has nothing under way")
    run(system, stop, process, name)
    assert system.world.processes[name].wait(timeout=30) == 0, system.world.log(name)[-2000:]
    system.world.launch(name)
    until(lambda: run(system, ready, process, name, check=False).startswith('{"ready":true'), within=240, what="ready")
    run(system, back, process, name)
    system.front.wait_up(name)


def run(system: System, command: str, process: str, name: str, *, check: bool = True) -> str:
    """Run a command of the page in a shell, on this instance; what it prints."""
    world = system.world
    env = {
        **world.env,
        **system.front.env,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
        "BACKEND": f"{process}s",
        "INSTANCE": name,
        "ADDRESS": f"127.0.0.1:{world.ports[name]}",
        "PID": str(world.processes[name].pid),
        "SAGA_GATEWAY_URL": f"http://127.0.0.1:{world.ports['gateway']}",
        "SAGA_API_KEY": ROOT[0],
    }
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert not check or done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def status(system: System, order_id: str) -> str:
    return str(system.ask("gateway", "GET", f"/api/orders/{order_id}").json().get("status"))


def events(
    system: System, instance: str, order_id: str, *, after: str | None = None, most: int | None = None
) -> list[dict[str, str]]:
    """What a gateway's stream tells, to its end or up to so many events, after the one of this id."""
    headers = {"Authorization": f"Bearer {SHOP[0]}"} | ({"Last-Event-ID": after} if after else {})
    url = f"http://127.0.0.1:{system.world.ports[instance]}/api/orders/{order_id}/stream"
    told: list[dict[str, str]] = []
    with system.client.stream("GET", url, headers=headers) as stream:
        assert stream.status_code == 200
        event: dict[str, str] = {}
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event"):
                event[name] = value
            elif not line and event:
                told.append(event)
                event = {}
                if len(told) == most:
                    break
    return told
