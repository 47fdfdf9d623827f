"""A real stack with API keys keeps its clients apart, through curl's eyes and through the commands of `saga`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from api.gateway.keys import Role, mint, parse_all
from cli.app import app
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET
from tests.support.stack import Stack, publish
from tests.support.waiting import until

OTHER = str(uuid4())
SHOP, ROOT = mint("shop", Role.CLIENT), mint("root", Role.OPERATOR)


def made(*arguments: str) -> tuple[str, str]:
    """A key and its record, as the command shows them."""
    words = CliRunner().invoke(app, [*arguments]).stdout.split()
    return words[1], words[3]


BOB = made("keys", "new", "--name", "bob", "--role", "client", "--user", USER)
_CAROLS = json.loads(
    CliRunner().invoke(app, ["keys", "new", "--name", "carol", "--role", "client", "--user", OTHER, "--json"]).stdout
)
CAROL = _CAROLS["key"], _CAROLS["record"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    stack = OwnStack(tmp_path_factory.mktemp("guarded"), OFFSET + 340)
    records = ",".join([str(SHOP[1]), str(ROOT[1]), BOB[1], CAROL[1]])
    try:
        stack.up(api_keys=records)
        yield stack
    finally:
        stack.down()


def shown(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_an_order_is_its_users_alone(guarded: OwnStack) -> None:
    with httpx.Client(base_url=guarded.urls["gateway"], timeout=30) as client:
        body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}
        placed = client.post("/api/orders", json=body, headers={**shown(BOB[0]), "Prefer": "wait=20"})
        assert (placed.status_code, placed.json()["status"]) == (200, "PAID")
        order_id = placed.json()["id"]
        seen = {}
        for name, key in (("bob", BOB[0]), ("carol", CAROL[0]), ("shop", SHOP[0]), ("nobody", "x")):
            answers = [
                client.get(path.format(order_id), headers=shown(key))
                for path in (
                    "/api/orders/{}",
                    "/api/payments/order/{}",
                    "/api/orders/{}/timeline",
                    "/api/orders/{}/stream",
                )
            ]
            seen[name] = {answer.status_code for answer in answers}
            if name in ("bob", "carol"):
                lists = [client.get(f"/api/{each}", headers=shown(key)).json() for each in ("orders", "payments")]
                assert [each["meta"]["total"] for each in lists] == ([1, 1] if name == "bob" else [0, 0])
                filtered = client.get("/api/payments?status=APPROVED", headers=shown(key)).json()
                assert [row["orderId"] for row in filtered["data"]] == ([order_id] if name == "bob" else [])
        assert client.patch(f"/api/orders/{order_id}/cancel", headers=shown(CAROL[0])).status_code == 404
        assert client.patch(f"/api/orders/{order_id}/cancel", headers=shown(BOB[0])).status_code == 202
    assert seen == {"bob": {200}, "carol": {404}, "shop": {200}, "nobody": {401}}


def test_commands_show_the_key_they_are_given(guarded: OwnStack) -> None:
    refused = guarded.saga("order", "list", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "SAGA_API_KEY" in refused.stderr

    for arguments in (("order", "list"), ("order", "create", "--total", "5", "--wait", "20")):
        guarded.saga(*arguments, env={"SAGA_API_KEY": ROOT[0]})
    assert guarded.saga("status").returncode == 0


def test_operators_see_to_dead_letters_events_and_sweeps_through_the_gateway(guarded: OwnStack) -> None:
    stack = Stack(guarded.data, guarded.urls)
    publish(stack, "order.create.requested", b"not JSON", b"[]", b"{}")
    publish(stack, "payment.approved", b"not JSON either")
    with httpx.Client(base_url=f"{guarded.urls['gateway']}/api/operator", headers=shown(ROOT[0]), timeout=60) as client:
        until(lambda: client.get("/dead-letters").json()["total"] >= 4, within=30, what="they are dead letters")
        groups = client.get("/dead-letters?group=cause").json()["data"]
        assert ("order-service", "MALFORMED", 4) in {(each["queue"], each["cause"], each["count"]) for each in groups}
        first = client.get("/dead-letters?queue=order-service").json()["data"][0]
        assert client.get(f"/dead-letters/{first['id']}").json() == first
        assert client.delete(f"/dead-letters/{first['id']}").json() == {"discarded": 1}
        assert client.get(f"/dead-letters/{first['id']}").status_code == 404
        redriven = client.post("/dead-letters/redrive", json={"queue": "order-service"})
        assert redriven.json() == {"redriven": 3}
        waiting = "/dead-letters?queue=order-service"
        until(lambda: client.get(waiting).json()["total"] == 3, within=30, what="they fail again")
        again = client.get(waiting).json()["data"]
        assert [(each["redriven"], each["redrivenBy"]) for each in again] == [(1, "root")] * 3
        groups = client.get(f"{waiting}&group=cause").json()["data"]
        assert [(each["count"], each["redriven"]) for each in groups] == [(3, 3)]
        assert client.post("/events/replay", json={"since": "2026-01-01T00:00:00Z"}).json()["replayed"] > 0
        audited = client.get("/audit").json()
        assert (audited["holds"], {each["violations"] for each in audited["checks"]}) == (True, {0})
        assert client.get("/audit", headers=shown(SHOP[0])).status_code == 403
    outside = {"SAGA_GATEWAY_URL": guarded.urls["gateway"], "SAGA_API_KEY": ROOT[0]}
    for arguments in (["dead-letters", "list"], ["dead-letters", "redrive", "--all"], ["events", "replay", "--yes"]):
        done = CliRunner().invoke(app, arguments, env=outside)
        assert done.exit_code == 0, (arguments, done.output)
    audits = CliRunner().invoke(app, ["audit"], env=outside)
    assert (audits.exit_code, "violation" in audits.output) == (0, False), audits.output
    assert "Left out, because a gateway reads no database" in audits.output
    assert CliRunner().invoke(app, ["audit", "--at-rest"], env=outside).exit_code == 2, "it takes both databases"
    guarded.saga("reconcile", env={"SAGA_API_KEY": ROOT[0]})
    for log in ("gateway",):
        lines = (guarded.data / "logs" / f"{log}.log").read_text()
        assert '"operator_action"' in lines
        assert '"operator": "root"' in lines or '"operator":"root"' in lines


def test_no_key_and_no_record_is_in_a_log_or_on_a_command_line(guarded: OwnStack) -> None:
    logs = "".join(path.read_text(errors="replace") for path in (guarded.data / "logs").iterdir())
    lines = (
        "".join(path.read_text(errors="replace") for path in (guarded.data / "state.json",))
        + os.popen("ps axww -o args").read()
    )
    for key, record in (BOB, CAROL, (SHOP[0], str(SHOP[1])), (ROOT[0], str(ROOT[1]))):
        (known,) = parse_all(record)
        for secret in (key, known.digest.hex()):
            assert secret not in logs
            assert secret not in lines
