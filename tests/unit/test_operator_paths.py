"""What operators ask of the gateway reaches every process that has a part in it, under the name of their key."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from structlog.testing import capture_logs

from api import examples
from api.fields import ORDER_ID
from api.gateway.keys import Role, mint
from api.services.internal import create_health_app
from api.services.operator_routes import dead_letter_routes
from choreography.dead_letter_json import as_json, from_json
from choreography.dead_letters import DeadLetterRecord, Wanted
from choreography.outgoing_message import BrokerUnavailable
from models.originals import ServiceName
from tests.support.fakes.gateway import FakeService, Neighbours
from tests.support.gateway_http import problem

pytestmark = pytest.mark.anyio

KEY, RECORD = mint("root", Role.OPERATOR)
LETTERS = "/api/operator/dead-letters"


@pytest.fixture
def around(around: Neighbours) -> Neighbours:
    around.keys = (RECORD,)
    return around


def processes(around: Neighbours) -> list[FakeService]:
    return [around.orders, around.payments, around.worker]


async def ask(around: Neighbours, method: str, path: str, json: Any = None) -> httpx.Response:
    async with around.client() as client:
        return await client.request(method, path, json=json, headers={"Authorization": f"Bearer {KEY}"})


async def test_dead_letters_are_those_of_all_processes(around: Neighbours) -> None:
    for number, process in enumerate(processes(around)):
        process.tell("/dead-letters/find", {"data": [examples.DEAD_LETTER | {"id": str(number)}], "total": number})
    answer = await ask(around, "GET", f"{LETTERS}?queue=order.service&reason=MALFORMED&limit=2")

    assert (answer.status_code, answer.json()["total"]) == (200, 3)
    assert [letter["id"] for letter in answer.json()["data"]] == ["0", "1"]
    for process in processes(around):
        assert process.asked[0].content == {
            "queue": "order.service", "reason": "MALFORMED", "limit": 2, "by": "root"
        }  # fmt: skip


async def test_causes_are_counted_over_all_processes_the_most_frequent_first(around: Neighbours) -> None:
    for number, process in enumerate(processes(around)):
        process.tell("/dead-letters/causes", {"data": [examples.CAUSE | {"count": number}]})
    answer = await ask(around, "GET", f"{LETTERS}?group=cause")
    assert [group["count"] for group in answer.json()["data"]] == [2, 1, 0]


@pytest.mark.parametrize(
    ("method", "path", "act", "done"),
    [("POST", "/7/redrive", "redrive", "redriven"), ("DELETE", "/7", "discard", "discarded")],
)
async def test_one_is_seen_to_by_its_id(around: Neighbours, method: str, path: str, act: str, done: str) -> None:
    for process in processes(around):
        process.tell(f"/dead-letters/{act}", {done: 0})
    assert "No dead letter has the id 7" in problem(await ask(around, method, LETTERS + path), 404)["detail"]
    around.worker.tell(f"/dead-letters/{act}", {done: 1})
    answer = await ask(around, method, LETTERS + path)
    assert (answer.status_code, answer.json()) == (200, {done: 1})
    assert around.payments.asked[0].content == {"ids": ["7"], "by": "root"}


@pytest.mark.parametrize(("method", "path"), [("POST", "/redrive"), ("DELETE", ""), ("GET", "")])
async def test_a_stranger_may_have_chosen_any_text_as_an_id(around: Neighbours, method: str, path: str) -> None:
    wanted = "a/b redrive/%2F?é"
    around.worker.tell("/dead-letters/find", {"data": [examples.DEAD_LETTER | {"id": wanted}], "total": 1})
    for process in processes(around):
        process.tell("/dead-letters/redrive", {"redriven": 1})
        process.tell("/dead-letters/discard", {"discarded": 1})
        process.says.setdefault("/dead-letters/find", (200, b'{"data":[],"total":0}'))
    answer = await ask(around, method, f"{LETTERS}/{quote(wanted, safe='')}{path}")
    assert answer.status_code == 200, answer.text
    assert around.orders.asked[0].content["ids"] == [wanted]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/operator/events/replay", {"orderId": ORDER_ID}),
        (f"{LETTERS}/redrive", {}),
        (f"{LETTERS}/7/redrive", None),
    ],
)
async def test_beside_an_original_service_nothing_is_half_done(around: Neighbours, path: str, body: Any) -> None:
    around.originals = frozenset({ServiceName.PAYMENT})
    assert (
        "SAGA_ORIGINAL_SERVICES names the payment service"
        in problem(await ask(around, "POST", path, body), 501)["detail"]
    )
    assert [process.asked for process in processes(around)] == [[], [], []]


async def test_redriving_answers_how_many_and_replaying_too(around: Neighbours) -> None:
    for process in processes(around):
        process.tell("/dead-letters/redrive", {"redriven": 2})
        process.tell("/events/replay", {"replayed": 3})
    assert (await ask(around, "POST", f"{LETTERS}/redrive", {"eventType": "OrderCreated"})).json() == {"redriven": 6}
    assert (await ask(around, "POST", "/api/operator/events/replay", {"eventType": "OrderPaid"})).json() == {
        "replayed": 6
    }
    assert around.orders.asked[1].content == {"eventType": "OrderPaid", "by": "root"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"eventType": "Nothing"},
        {"orderId": "42"},
        {"by": "mallory"},
        {"since": 182},
        {"since": "182"},
        {"until": -182.5},
        {"since": "2026-02-15T01:42:19"},
    ],
)
async def test_a_replay_of_nothing_in_particular_is_refused(around: Neighbours, body: Any) -> None:
    problem(await ask(around, "POST", "/api/operator/events/replay", body), 422)
    assert around.orders.asked == []


async def test_reconciling_is_up_to_temporal(around: Neighbours) -> None:
    assert (await ask(around, "POST", "/api/operator/reconcile")).status_code == 202
    assert around.orchestration.swept == 1
    around.orchestration.away = True
    assert (await ask(around, "POST", "/api/operator/reconcile")).headers["retry-after"] == "1"


async def test_an_audit_holds_if_no_service_has_found_a_violation(around: Neighbours) -> None:
    check = {"check": "c", "invariant": 5, "violations": 0, "examples": []}
    around.orders.tell("/audit", {"checks": [check], "waiting": 1})
    around.payments.tell("/audit", {"checks": [check], "waiting": 2})
    assert (await ask(around, "GET", "/api/operator/audit")).json()["holds"] is True
    around.payments.tell("/audit", {"checks": [check | {"violations": 1}], "waiting": 2})
    found = (await ask(around, "GET", "/api/operator/audit")).json()
    assert (found["holds"], found["waiting"], len(found["checks"])) == (False, 3, 2)


@pytest.mark.parametrize("away", ["orders", "payments", "worker"])
async def test_a_process_that_is_away_is_named(around: Neighbours, away: str) -> None:
    for process in processes(around):
        process.tell("/dead-letters/redrive", {"redriven": 1})
    getattr(around, away).away = True
    told = problem(await ask(around, "POST", f"{LETTERS}/redrive"), 503)
    assert {"orders": "order", "payments": "payment"}.get(away, away) in told["detail"]


async def test_each_use_is_logged_with_the_name_of_the_key(around: Neighbours) -> None:
    for process in processes(around):
        process.tell("/dead-letters/redrive", {"redriven": 0})
        process.tell("/audit", {"checks": [], "waiting": 0})
    with capture_logs() as lines:
        await ask(around, "POST", f"{LETTERS}/redrive", {"reason": "MALFORMED"})
        await ask(around, "GET", "/api/operator/audit")
        await ask(around, "POST", "/api/operator/reconcile")
    told = [(line["action"], line["operator"]) for line in lines if line["event"] == "operator_action"]
    assert told == [("dead_letters_redrive", "root"), ("audit", "root"), ("reconcile", "root")]
    assert KEY not in repr(lines)


class Store:
    """Dead letters in memory."""

    def __init__(self, *records: DeadLetterRecord) -> None:
        self.records = list(records)
        self.by: list[str] = []
        self.away = False

    async def all(self) -> list[DeadLetterRecord]:
        if self.away:
            raise BrokerUnavailable("away")
        return list(self.records)

    async def redrive(self, wanted: Wanted, *, by: str = "") -> list[DeadLetterRecord]:
        self.by.append(by)
        return await self.discard(wanted)

    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]:
        gone = [record for record in self.records if wanted(record)]
        self.records = [record for record in self.records if record not in gone]
        return gone


def letter(name: str, **values: Any) -> DeadLetterRecord:
    return from_json(examples.DEAD_LETTER | {"id": name} | values)


@pytest.mark.parametrize("body", [b'{"a":1}', b"\xff\x00", b"no JSON", b"[]", b"null"])
def test_a_dead_letter_is_read_as_it_was_written(body: bytes) -> None:
    shown = as_json(letter("1")) | as_json(DeadLetterRecord(**_fields(letter("1")) | {"body": body}))
    assert as_json(from_json(shown)) == shown


def _fields(record: DeadLetterRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in DeadLetterRecord.__slots__}


async def test_a_process_sees_to_its_own_dead_letters() -> None:
    store = Store(letter("1", eventType="A"), letter("2", eventType="B"), letter("3", eventType="B", error="latest"))

    async def ready() -> dict[str, str]:
        return {}

    app = create_health_app(name="worker", token="t", readiness=ready, routes=[dead_letter_routes(store)])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

        async def post(act: str, **body: Any) -> Any:
            answer = await client.post(f"/dead-letters/{act}", json=body, headers={"Authorization": "Bearer t"})
            return answer.json()

        assert (await client.post("/dead-letters/find", json={})).status_code == 401
        causes = (await post("causes"))["data"]
        assert [(each["eventType"], each["count"], each["error"]) for each in causes] == [
            ("B", 2, "latest"),
            ("A", 1, "total must be a whole number"),
        ]
        found = await post("find", eventType="b", limit=1)
        assert ([each["id"] for each in found["data"]], found["total"]) == (["2"], 2)
        assert await post("redrive", ids=["2", "9"], by="root") == {"redriven": 1}
        assert await post("discard", reason="malformed") == {"discarded": 2}
        assert (store.by, store.records) == (["root"], [])
        store.away = True
        assert (await post("find"))["status"] == 503
