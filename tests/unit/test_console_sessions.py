"""A key is exchanged for a session, which reaches as much as the key, and changes nothing without its proof."""

from __future__ import annotations

import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.fields import ORDER_ID
from api.gateway.console.sessions import LIFE, Sessions
from api.gateway.keys import Role, mint
from tests.support.fakes.gateway import NOW, Neighbours
from tests.support.gateway_http import BODY, problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

SESSION = "/api/console/session"
CHANGES = [
    ("POST", "/api/orders"),
    ("PATCH", f"/api/orders/{ORDER_ID}/cancel"),
    ("POST", "/api/operator/reconcile"),
    ("DELETE", "/api/operator/dead-letters/1"),
    ("DELETE", SESSION),
]
(ROOT, ROOTS), (ALICE, ALICES), (BOB, BOBS) = (
    mint("root", Role.OPERATOR),
    mint("alice", Role.CLIENT, UUID(USER)),
    mint("bob", Role.CLIENT, UUID(int=7)),
)


@pytest.fixture
def around(around: Neighbours) -> Neighbours:
    around.keys = (ROOTS, ALICES, BOBS)
    return around


async def sign_in(client: httpx.AsyncClient, key: str = ROOT) -> Any:
    answer = await client.post(SESSION, json={"key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_key_is_exchanged_for_a_session_that_ends_when_it_is_deleted(client: httpx.AsyncClient) -> None:
    nobody = (await client.get(SESSION)).json()
    assert (nobody["keysRequired"], nobody["key"], nobody["proof"]) == (True, None, None)
    told = await sign_in(client)
    assert told["key"] == {"name": "root", "role": "operator", "userId": None}
    assert (await client.get(SESSION)).json() == told
    assert (await client.get("/api/operator/dead-letters/1")).status_code != 401
    gone = await client.delete(SESSION, headers={"X-Saga-Proof": told["proof"]})
    assert (gone.status_code, gone.json()["key"], dict(client.cookies)) == (200, None, {})
    assert (await client.get("/api/orders")).status_code == 401


async def test_the_cookie_is_hidden_from_scripts_and_other_sites_and_holds_no_key(client: httpx.AsyncClient) -> None:
    answer = await client.post(SESSION, json={"key": ROOT})
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert {name: value for name, value in cookie.items() if value} == {
        "path": "/",
        "max-age": str(LIFE),
        "httponly": True,
        "samesite": "Strict",
    }
    content = urlsafe_b64decode(cookie.value + "==")
    for secret in (ROOT.encode(), ROOTS.digest, around_secret := b"token"):
        assert secret not in content, around_secret
        assert secret.hex() not in answer.text + cookie.value
    assert answer.headers["cache-control"] == "no-store"
    secure = await client.post(SESSION, json={"key": ROOT}, headers={"Origin": "https://localhost"})
    assert "; Secure" in secure.headers["set-cookie"]


@pytest.mark.parametrize(
    "shown",
    ["sk_saga_" + "x" * 43, ROOTS.digest.hex(), ROOT[:-1], ROOT.upper()],
    ids=["another", "its digest", "a part of it", "in capitals"],  # keys are made anew in each process
)
async def test_a_wrong_key_begins_no_session(client: httpx.AsyncClient, shown: str) -> None:
    answer = await client.post(SESSION, json={"key": shown})
    assert problem(answer, 401)["type"] == "urn:payment-saga:problem:unauthorized"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 1}, {"key": ROOT, "role": "operator"}, {"key": "x" * 257}])
async def test_a_body_of_another_form_begins_none_and_is_not_told_again(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post(SESSION, json=body)
    assert problem(answer, 422)
    assert ROOT not in answer.text


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_session_changes_nothing_without_its_proof(
    around: Neighbours, client: httpx.AsyncClient, method: str, path: str
) -> None:
    others = Sessions(around.secret, around.keys)
    await sign_in(client)
    for proof in (None, "", others.proof(), others.proof(others.open(ROOTS, NOW - timedelta(seconds=1)))):
        headers = {} if proof is None else {"X-Saga-Proof": proof}
        refused = await client.request(method, path, headers=headers, json=BODY if path == "/api/orders" else None)
        assert "X-Saga-Proof" in problem(refused, 403)["detail"]
    assert (around.broker.published, around.worker.asked, around.orchestration.swept) == ([], [], 0)


async def test_with_its_proof_a_session_does_what_its_key_may(client: httpx.AsyncClient, around: Neighbours) -> None:
    proof = {"X-Saga-Proof": (await sign_in(client, ALICE))["proof"]}
    assert (await client.post("/api/orders", json=BODY, headers=proof)).status_code == 202
    assert (
        await client.post("/api/orders", json=BODY | {"userId": str(UUID(int=7))}, headers=proof)
    ).status_code == 403
    assert (await client.post("/api/operator/reconcile", headers=proof)).status_code == 403
    assert (await client.get("/api/payments/stats")).status_code == 403
    assert [command.event_type for command in around.broker.published] == ["CreateOrderRequested"]


async def test_a_key_that_is_shown_counts_and_the_session_beside_it_does_not(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    bobs = {"Authorization": f"Bearer {BOB}"}
    assert (await client.get(SESSION, headers=bobs)).json()["key"]["name"] == "bob"
    assert (await client.get("/api/operator/audit", headers=bobs)).status_code == 403
    assert (await client.post("/api/orders", json=BODY, headers=bobs)).status_code == 403  # not for want of a proof
    assert (await client.get("/api/orders", headers={"Authorization": "Bearer wrong"})).status_code == 401


@pytest.mark.parametrize("place", range(0, 75, 2))
async def test_a_session_that_was_changed_anywhere_is_none(around: Neighbours, place: int) -> None:
    sealed = Sessions(around.secret, around.keys).open(ALICES, NOW)
    other = "A" if sealed[place] != "A" else "B"
    async with around.client() as client:
        client.cookies.set("saga_session", sealed)
        assert (await client.get("/api/orders/not-an-id")).status_code == 422
        client.cookies.clear()
        client.cookies.set("saga_session", sealed[:place] + other + sealed[place + 1 :])
        assert "sign in again" in problem(await client.get("/api/orders"), 401)["detail"]


@pytest.mark.parametrize("cookie", ["", "x", "=" * 80, "A" * 10_000, urlsafe_b64encode(bytes(56)).decode()])
async def test_any_other_cookie_is_no_session(around: Neighbours, cookie: str) -> None:
    async with around.client() as client:
        answer = await client.get("/api/orders", headers={"Cookie": f"saga_session={cookie}"})
        assert problem(answer, 401)
        assert (await client.get(SESSION, headers={"Cookie": f"saga_session={cookie}"})).json()["key"] is None
        again = await client.post(SESSION, json={"key": ROOT}, headers={"Cookie": f"saga_session={cookie}"})
        assert again.status_code == 200


async def test_a_session_ends_after_its_time(around: Neighbours) -> None:
    async with around.client() as client:
        await sign_in(client)
        around.pass_time(LIFE - 1)
        assert (await client.get(SESSION)).json()["key"]["name"] == "root"
        around.pass_time(2)
        assert (await client.get("/api/orders")).status_code == 401
        assert (await client.delete(SESSION)).status_code == 200  # whoever is signed out may sign out


async def test_a_session_ends_with_its_key_and_holds_at_every_gateway_with_the_secret(around: Neighbours) -> None:
    async with around.client() as client:
        await sign_in(client, ALICE)
    sealed = Sessions(b"token", around.keys).open(ALICES, NOW)
    for keys, secret, status in (
        ((ROOTS, ALICES, BOBS), b"token", 200),
        ((ALICES,), b"token", 200),
        ((ROOTS, BOBS), b"token", 401),
        ((ROOTS, ALICES, BOBS), b"another", 401),
    ):
        other = Neighbours(keys=keys, secret=secret)
        other.orders.tell("/orders", {"data": [], "meta": {}})
        async with other.client() as client:
            answer = await client.get("/api/orders", headers={"Cookie": f"saga_session={sealed}"})
            assert answer.status_code == status


def test_without_a_secret_no_other_process_makes_a_session() -> None:
    assert Sessions(b"", [ALICES]).find(Sessions(b"", [ALICES]).open(ALICES, NOW), NOW) is None


async def test_without_keys_everybody_is_an_operator_and_needs_no_proof() -> None:
    around = Neighbours()
    async with around.client() as client:
        told = (await client.get(SESSION)).json()
        assert (told["keysRequired"], told["key"], bool(told["proof"])) == (False, None, True)
        assert (await client.post(SESSION, json={"key": ROOT})).status_code == 401
        assert (await client.post("/api/orders", json=BODY, headers={"X-Saga-Proof": told["proof"]})).status_code == 202
        assert (await client.post("/api/orders", json=BODY)).status_code == 202


async def test_a_foreign_page_begins_no_session(client: httpx.AsyncClient) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client.post(SESSION, json={"key": ROOT}, headers=foreign)).status_code == 403


def test_no_other_text_is_the_same_session(around: Neighbours) -> None:
    """Base64 has texts that are decoded to the same bytes."""
    sessions = Sessions(around.secret, around.keys)
    sealed = sessions.open(ALICES, NOW)
    assert sessions.find(sealed, NOW) == ALICES
    others = [sealed[:-1] + last for last in string.ascii_letters + string.digits + "-_" if last != sealed[-1]]
    for other in (*others, f"{sealed}=", f"{sealed}!", f"{sealed[:9]} {sealed[9:]}"):
        assert sessions.find(other, NOW) is None, other
