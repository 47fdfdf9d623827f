"""A client that takes more than its share is refused, and nobody else notices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from uuid import UUID

import httpx
import pytest

from api.crowd import Crowd, Network
from api.fields import ORDER_ID
from api.gateway.examples import EVENTS
from api.gateway.fair_share import Places, Rate, client_of
from api.gateway.keys import Role, mint
from api.problems import Problem
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

(SHOP, SHOPS), (BULK, BULKS) = mint("shop", Role.CLIENT), mint("bulk", Role.CLIENT)
BODY = {"userId": USER, "total": 999}


def shown(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_client_has_its_rate_and_no_more_whatever_others_do() -> None:
    clock = Clock()
    rate = Rate(10, clock)
    assert [rate.take("a") for _ in range(10)] == list(range(9, -1, -1))
    for _ in range(90):
        with pytest.raises(Problem) as refused:
            rate.take("a")
    assert refused.value.status == 429
    assert rate.take("b") == 9
    clock.now += 0.1
    assert rate.take("a") == 0
    clock.now += 3600
    assert rate.take("a") == 9, "no more at once than in a second"


def test_a_rate_below_one_a_second_says_how_long_to_wait() -> None:
    rate = Rate(0.1, Clock())
    rate.take("a")
    with pytest.raises(Problem) as refused:
        rate.take("a")
    fields = refused.value.headers or {}
    assert (fields["Retry-After"], fields["RateLimit-Policy"]) == ("10", '"default";q=1;w=10')
    assert fields["RateLimit"] == '"default";r=0;t=10'


def test_only_so_many_clients_are_remembered() -> None:
    rate = Rate(1, Clock())
    for number in range(30_000):
        rate.take(str(number))
    assert len(rate._left) <= 10_000


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", str(0x20010DB800000000)),
        ("2001:db8::ffff:1", str(0x20010DB800000000)),
    ],
)
def test_a_client_without_a_key_is_known_by_its_address(host: str, client: str) -> None:
    assert client_of({"client": (host, 4711)}) == client


async def test_a_client_at_ten_times_its_rate_gets_429_and_others_are_served(around: Neighbours) -> None:
    around.keys, around.rate = (SHOPS, BULKS), 5
    async with around.client() as client:
        answers = [await client.post("/api/orders", json=BODY, headers=shown(BULK)) for _ in range(50)]
        others = [await client.post("/api/orders", json=BODY, headers=shown(SHOP)) for _ in range(5)]
        health = [await client.get("/healthz") for _ in range(50)]
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert 5 <= len(accepted) < 15
    assert len(around.broker.published) == len(accepted) + 5
    for answer in refused:
        problem(answer, 429)
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"].startswith('"default";r=0;t=')
    for answer in [*accepted, *others]:
        assert answer.headers["ratelimit-policy"] == '"default";q=5;w=1'
    assert {answer.status_code for answer in others} == {202}
    assert {answer.status_code for answer in health} == {200}


@pytest.mark.parametrize(
    ("proxies", "statuses"),
    [
        ((ip_network("127.0.0.1"), ip_network("10.0.0.0/8")), [200, 200, 429]),
        ((ip_network("192.0.2.0/24"),), [200, 429, 429]),
        ((), [200, 429, 429]),
    ],
)
async def test_a_trusted_proxy_alone_tells_which_client_asks(
    around: Neighbours, proxies: tuple[Network, ...], statuses: list[int]
) -> None:
    around.rate, around.proxies = 1, proxies
    around.orders.tell("/orders", {"data": []})
    # A client may send the field, too. Each proxy adds the address of whoever has asked it.
    asked = ["192.0.2.7", "192.0.2.7, 198.51.100.1, 10.0.0.3", "203.0.113.9, 192.0.2.7"]
    async with around.client() as client:
        answers = [await client.get("/api/orders", headers={"X-Forwarded-For": value}) for value in asked]
    assert [answer.status_code for answer in answers] == statuses


def test_of_one_address_there_are_half_of_all_connections_and_of_a_proxy_as_many_as_there_is_room_for() -> None:
    crowd = Crowd(4, [ip_network("10.0.0.0/8")])
    assert [crowd.enter("192.0.2.7") for _ in range(3)] == [True, True, False]
    crowd.leave("192.0.2.7")
    crowd.leave("192.0.2.7")
    assert [crowd.enter("10.0.0.3") for _ in range(5)] == [True, True, True, True, False]
    assert crowd.is_dense
    for _ in range(4):
        crowd.leave("10.0.0.3")
    assert [crowd.enter(address) for address in ("192.0.2.7", "192.0.2.8", "")] == [True, True, True]


async def test_requests_without_a_good_key_count_for_their_address(around: Neighbours) -> None:
    around.keys, around.rate = (SHOPS,), 3
    async with around.client() as client:
        strangers = [await client.get("/api/orders", headers=shown(BULK)) for _ in range(5)]
        operators = await client.get("/api/operator/audit", headers=shown(SHOP))
        known = await client.post("/api/orders", json=BODY, headers=shown(SHOP))
    assert [answer.status_code for answer in strangers] == [401, 401, 401, 429, 429]
    assert int(strangers[-1].headers["retry-after"]) > 0
    assert (operators.status_code, known.status_code) == (429, 202)


async def test_without_a_limit_nothing_is_said_of_one(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/orders", json=BODY)
    assert not {"ratelimit", "ratelimit-policy", "retry-after"} & set(answer.headers)


def test_a_client_has_half_of_all_places_and_gives_them_back() -> None:
    places = Places("streams", 4)
    with places.take("a"), places.take("a"):
        with pytest.raises(Problem) as refused, places.take("a"):
            pass
        assert (refused.value.status, (refused.value.headers or {})["Retry-After"]) == (503, "5")
        with places.take("b"), places.take("b"), pytest.raises(Problem), places.take("c"):
            pass
    with places.take("c"):
        pass


async def test_waits_beyond_their_bound_are_refused_and_others_go_on(around: Neighbours) -> None:
    around.limits = replace(around.limits, preferred_waits=4)
    async with around.client() as client:
        waiting = [
            asyncio.create_task(client.post("/api/orders", json=BODY, headers={"Prefer": "wait=1"})) for _ in range(6)
        ]
        done, still = await asyncio.wait(waiting, timeout=0.5)
        assert [task.result().status_code for task in done] == [503] * 4
        assert (await client.post("/api/orders", json=BODY)).status_code == 202
        assert {answer.status_code for answer in await asyncio.gather(*still)} == {202}
        assert (await client.post("/api/orders", json=BODY, headers={"Prefer": "wait=0"})).status_code == 202


async def test_streams_beyond_their_bound_are_refused_before_anything_is_asked(around: Neighbours) -> None:
    around.limits = replace(around.limits, streams=0)
    around.orders.log(f"/orders/{ORDER_ID}/events", *EVENTS)
    async with around.client() as client:
        answer = await client.get(f"/api/orders/{ORDER_ID}/stream")
    assert problem(answer, 503)["detail"].startswith("As many streams")
    assert around.orders.asked == []
    assert around.feed.idle
    assert UUID(ORDER_ID) not in around.feed.watchers
