"""The console tells operators how each part is, and breaks parts where there is a supervisor to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from api.gateway.keys import Role, mint
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import problem, violations

pytestmark = pytest.mark.anyio

PARTS = "/api/console/parts"
SERVICE = {"database": "ok", "broker": "ok", "temporal": "ok"}


@dataclass
class FakeBreaker:
    """A supervisor of these programs."""

    states: dict[str, str] = field(default_factory=dict)
    is_there: bool = True
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    error: Exception | None = None
    cuttable: bool = True

    def processes(self) -> Sequence[dict[str, Any]]:
        more = {"pid": 7, "restarts": 2, "cuttable": self.cuttable}
        return [{"name": name, "state": state, **more} for name, state in self.states.items()]

    async def kill(self, name: str) -> None:
        self.do("kill", name)

    async def freeze(self, name: str, seconds: float) -> None:
        self.do("freeze", name, seconds)

    async def cut(self, name: str, seconds: float) -> None:
        self.do("cut", name, seconds)

    def do(self, *asked: Any) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(asked)


@pytest.fixture
def breaker() -> FakeBreaker:
    names = ("gateway", "order", "payment", "worker", "postgres", "rabbitmq", "temporal")
    return FakeBreaker(dict.fromkeys(names, "ready"))


@pytest.fixture
def around(around: Neighbours) -> Neighbours:
    around.checks = {"broker": "ok", "temporal": "ok", "orders": "ok", "payments": "ok"}
    for service in (around.orders, around.payments):
        service.tell("/readyz", {"ready": True, "checks": SERVICE})
    around.worker.tell("/readyz", {"ready": True, "checks": {"broker": "ok", "temporal": "ok"}})
    return around


async def states(client: httpx.AsyncClient) -> dict[str, tuple[str, str | None]]:
    answer = await client.get(PARTS)
    assert answer.status_code == 200, answer.text
    return {each["name"]: (each["state"], each["detail"]) for each in answer.json()["parts"]}


async def test_every_part_is_told_and_well(client: httpx.AsyncClient) -> None:
    assert await states(client) == dict.fromkeys(
        ["gateway", "order", "payment", "worker", "postgres", "rabbitmq", "temporal"], ("ok", None)
    )


async def test_a_part_that_is_not_well_says_why(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.checks |= {"broker": "is not connected", "temporal": "degraded: does not answer: RPCError"}
    without = SERVICE | {"database": "does not answer", "temporal": "degraded: x"}
    around.orders.tell("/readyz", {"ready": False, "checks": without}, 503)
    around.payments.hangs = around.worker.away = True
    assert await states(client) == {
        "gateway": ("ok", None),
        "order": ("degraded", "database: does not answer; temporal: x"),
        "payment": ("down", "It does not answer"),
        "worker": ("down", "It does not answer"),
        "postgres": ("down", "does not answer"),
        "rabbitmq": ("down", "is not connected"),
        "temporal": ("down", "does not answer: RPCError"),
    }
    around.orders.away = True
    assert (await states(client))["postgres"] == ("unknown", "No service answers that could tell")


async def test_an_original_service_says_nothing_of_itself(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.says["/readyz"] = (404, b"<html>")
    assert (await states(client))["order"] == ("ok", None)


@pytest.mark.parametrize(
    ("supervised", "told"),
    [
        ("ready", "ok"),
        ("frozen", "frozen"),
        ("cut off", "cut off"),
        ("died", "restarting"),
        ("starting", "restarting"),
        ("silent", "down"),
        ("stopping", "down"),
    ],
)
async def test_the_supervisor_knows_more(around: Neighbours, breaker: FakeBreaker, supervised: str, told: str) -> None:
    around.breaker = breaker
    breaker.states["payment"] = supervised
    async with around.client() as client:
        parts = {each["name"]: each for each in (await client.get(PARTS)).json()["parts"]}
    assert (parts["payment"]["state"], parts["payment"]["pid"], parts["payment"]["restarts"]) == (told, 7, 2)


async def test_an_operator_breaks_parts_and_it_is_logged(around: Neighbours, breaker: FakeBreaker) -> None:
    around.breaker = breaker
    key, record = mint("root", Role.OPERATOR)
    around.keys = (record,)
    async with around.client() as client:
        client.headers["Authorization"] = f"Bearer {key}"
        assert (await client.get("/api/console/session")).json()["breakIt"] is True
        with capture_logs() as logs:
            assert (await client.post(f"{PARTS}/payment/kill")).status_code == 200
            assert (await client.post(f"{PARTS}/postgres/freeze", json={"seconds": 5})).status_code == 200
            assert (await client.post(f"{PARTS}/worker/cut", json={"seconds": 7})).status_code == 200
            assert (await client.post(f"{PARTS}/gateway/kill")).status_code == 200
    assert breaker.asked == [("kill", "payment"), ("freeze", "postgres", 5), ("cut", "worker", 7), ("kill", "gateway")]
    noted = [(each["action"], each["operator"], each["asked"]["name"]) for each in logs if "action" in each]
    assert noted == [
        ("kill_part", "root", "payment"),
        ("freeze_part", "root", "postgres"),
        ("cut_part", "root", "worker"),
        ("kill_part", "root", "gateway"),
    ]


async def test_without_keys_whoever_is_on_this_machine_breaks_parts_and_nobody_else(
    around: Neighbours, breaker: FakeBreaker
) -> None:
    around.breaker = breaker
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 404), ("nonsense", 404)):
        transport = httpx.ASGITransport(around.gateway(), client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.post(f"{PARTS}/order/kill")).status_code == status
            assert (await client.get("/api/console/session")).json()["breakIt"] is (status == 200)


async def test_elsewhere_than_on_the_embedded_stack_nothing_is_broken(around: Neighbours, breaker: FakeBreaker) -> None:
    for around.breaker in (None, FakeBreaker(breaker.states, is_there=False)):
        async with around.client() as client:
            assert (await client.get("/api/console/session")).json()["breakIt"] is False
            for act, body in (("kill", None), ("freeze", {"seconds": 1}), ("cut", {"seconds": 1})):
                assert "saga up" in problem(await client.post(f"{PARTS}/order/{act}", json=body), 404)["detail"]


async def test_clients_break_nothing_and_see_no_parts(around: Neighbours, breaker: FakeBreaker) -> None:
    around.breaker = breaker
    key, record = mint("shop", Role.CLIENT)
    around.keys = (record,)
    async with around.client() as client:
        client.headers["Authorization"] = f"Bearer {key}"
        assert (await client.get("/api/console/session")).json()["breakIt"] is False
        for method, path in (("GET", PARTS), *(("POST", f"{PARTS}/order/{act}") for act in ("kill", "freeze", "cut"))):
            assert (await client.request(method, path)).status_code == 403
        client.headers.pop("Authorization")
        assert (await client.get("/api/console/session")).json()["breakIt"] is False
    assert breaker.asked == []


async def test_what_cannot_be_broken_is_refused_with_the_reason(around: Neighbours, breaker: FakeBreaker) -> None:
    around.breaker = breaker
    async with around.client() as client:
        assert problem(await client.post(f"{PARTS}/nothing/kill"), 404)
        for seconds in (0, 61, "x", None):
            answer = await client.post(f"{PARTS}/order/freeze", json={"seconds": seconds})
            assert violations(answer)[0][:2] == ("body", "seconds")
        breaker.error = LookupError("order is starting; only what is ready can be frozen")
        refused = problem(await client.post(f"{PARTS}/order/freeze", json={"seconds": 1}), 409)
        assert refused["detail"].startswith("order is starting")
        breaker.error = ConnectionRefusedError("no")
        assert problem(await client.post(f"{PARTS}/order/kill"), 503)


async def test_a_stack_whose_parts_reach_each_other_directly_says_so(around: Neighbours, breaker: FakeBreaker) -> None:
    around.breaker, breaker.cuttable = breaker, False
    async with around.client() as client:
        assert [each["cuttable"] for each in (await client.get(PARTS)).json()["parts"]] == [False] * 7
        refused = problem(await client.post(f"{PARTS}/order/cut", json={"seconds": 1}), 409)
    assert "saga up --cuttable" in refused["detail"]
    assert breaker.asked == []
