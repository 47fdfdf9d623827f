"""Debian's Prometheus reads real processes; every query finds something, and every alert can fire."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.gateway.keys import Role, mint
from tests.support.messages import USER
from tests.support.prometheus import MONITORING, RULES, alerts, dashboard_queries, prepared, prometheus, tool
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

# For each alert, series (by 15 s) that must make it fire within half an hour.
GATEWAY = 'saga_http_requests_total{process="gateway",route="/api/orders",method="POST",status="%s"}'
FIRING: dict[str, dict[str, str]] = {
    "SagaProcessDown": {'up{job="payment-saga",process="order",instance="a"}': "0x200"},
    "SagasDoNotEnd": {GATEWAY % 202: "0+5x200", 'saga_ended_total{outcome="PAID"}': "7x200"},
    "SagaOutboxStuck": {'saga_outbox_oldest_seconds{process="order"}': "0+15x200"},
    "SagaProviderUnavailable": {
        'saga_provider_seconds_count{operation="charge",outcome="charged"}': "0+7x200",
        'saga_provider_seconds_count{operation="charge",outcome="provider_unavailable"}': "0+3x200",
    },
    "SagaGatewayErrors": {GATEWAY % 202: "0+9x200", GATEWAY % 503: "0+1x200"},
    "SagaDeadLetters": {'saga_dead_letters{queue="order-service"}': "1x200"},
    "SagasNeedOperator": {"saga_need_operator": "1x200"},
    "SagaMessagesRetried": {
        'saga_messages_total{queue="payment-service",disposition="ack"}': "0+5x200",
        'saga_messages_total{queue="payment-service",disposition="retry"}': "0+1x200",
    },
    "SagaMirrorsBehind": {'saga_mirror_lag_seconds{process="worker"}': "0+15x200"},
    "SagasFail": {
        'saga_ended_total{coordinator="choreography",outcome="PAID"}': "0+9x200",
        'saga_ended_total{coordinator="choreography",outcome="FAILED"}': "0+1x200",
    },
    "SagasSlow": {
        'saga_duration_seconds_bucket{coordinator="orchestration",le="30"}': "0+1x200",
        'saga_duration_seconds_bucket{coordinator="orchestration",le="60"}': "0+5x200",
        'saga_duration_seconds_bucket{coordinator="orchestration",le="+Inf"}': "0+5x200",
    },
}
HEALTHY = {
    **{
        f'up{{job="payment-saga",process="{process}",instance="a"}}': "1x200"
        for process in ("gateway", "order", "payment", "worker")
    },
    GATEWAY % 202: "0+100x200",
    GATEWAY % 503: "0+1x200",
    'saga_ended_total{coordinator="choreography",outcome="PAID"}': "0+99x200",
    'saga_ended_total{coordinator="choreography",outcome="FAILED"}': "0+1x200",
    'saga_outbox_oldest_seconds{process="order"}': "2x200",
    'saga_dead_letters{queue="order-service"}': "0x200",
    "saga_need_operator": "0x200",
    'saga_mirror_lag_seconds{process="worker"}': "20x200",
}


# Series that have gone: their process is gone with them.
GONE: dict[str, dict[str, str]] = {
    "SagaProcessDown": {key: values for key, values in HEALTHY.items() if 'process="order",instance' not in key},
    "SagasDoNotEnd": {GATEWAY % 202: "0+5x200"},
}


def fires(folder: Path, alert: str, series: dict[str, str], *, expected: bool) -> None:
    """Have promtool compute the rules over these series, and look whether the alert fires at the end."""
    file = folder / "test.yaml"
    firing = f'max(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    samples: list[dict[str, Any]] = [{"labels": "{}", "value": 1}] if expected else []
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "30m", "exp_samples": samples}],
    }
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}))
    found = subprocess.run([tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_fires_when_it_must_and_not_otherwise(alert: str, tmp_path: Path) -> None:
    fires(tmp_path, alert, FIRING[alert], expected=True)
    fires(tmp_path, alert, HEALTHY, expected=False)


@pytest.mark.parametrize("alert", GONE)
def test_an_alert_fires_though_the_process_that_told_of_it_is_gone(alert: str, tmp_path: Path) -> None:
    fires(tmp_path, alert, GONE[alert], expected=True)


def selectors() -> set[str]:
    """The series that the rules select, such as `saga_messages_total{disposition="retry"}`."""
    return {
        found for rule in alerts().values() for found in re.findall(r"\b(?:up|saga_\w+)\b(?:\{[^}]*\})?", rule["expr"])
    }


def test_the_configuration_is_valid_with_the_targets_of_each_installation(tmp_path: Path) -> None:
    file = prepared(tmp_path, {}, "token", "")
    for targets in sorted(MONITORING.glob("targets*.yaml")):
        shutil.copy(targets, tmp_path / "targets.yaml")
        checked = subprocess.run(
            [tool("promtool"), "check", "config", file], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr
        assert f"{len(alerts())} rules found" in checked.stdout
        described = yaml.safe_load(targets.read_text(encoding="utf-8"))
        assert [each["labels"]["process"] for each in described] == ["gateway", "order", "payment", "worker"]


def test_a_gateway_with_keys_is_read_by_an_operators_key(world: World, tmp_path: Path) -> None:
    key, record = mint("prometheus", Role.OPERATOR, None)
    world.has_run("order")
    world.start("gateway", api_keys=record)
    (tmp_path / "refused").mkdir()
    ports = {"gateway": world.ports["gateway"]}
    with prometheus(tmp_path, ports, world.env["SAGA_INTERNAL_TOKEN"], key) as found:
        until(lambda: found.query('up{job="payment-saga",process="gateway"} == 1'), what="the gateway is read")
    with prometheus(tmp_path / "refused", ports, world.env["SAGA_INTERNAL_TOKEN"], "") as found:
        until(lambda: found.query('up{job="payment-saga",process="gateway"} == 0'), what="the gateway refuses")


def test_every_query_finds_what_a_real_stack_tells(world: World, temporal: TemporalServer, tmp_path: Path) -> None:
    world.start("order", "payment", "gateway", "worker", temporal_address=temporal.address)
    ports = {name: world.ports[name] for name in ("order", "payment", "gateway", "worker")}
    with prometheus(tmp_path, ports, world.env["SAGA_INTERNAL_TOKEN"]) as found:
        until(lambda: len(found.query('up{job="payment-saga"} == 1')) == 4, what="all four processes are read")
        # Rates need two readings of a counter, the first before the orders.
        until(lambda: found.query("saga_ended_total"), what="sagas can be counted")
        for coordinator in ("choreography", "orchestration"):
            for method in ("pm_card_visa", "pm_error"):
                world.post(method, coordinator=coordinator, headers={"Prefer": "wait=20"})
        world.publish(("orders.exchange", "order.create.requested", b"no message at all"))

        def silent() -> list[str]:
            queries = [expression.replace("$__rate_interval", "1m") for _, expression in dashboard_queries()]
            return [query for query in queries if not found.query(query)]

        def all_speak() -> bool:
            nothing = silent()
            assert nothing == []
            return True

        until(all_speak, within=60, what="every panel of the dashboard shows something")
        for rule in alerts().values():
            found.query(rule["expr"])
        until(lambda: found.query("saga_need_operator == 0"), what="no saga needs an operator")
        world.post("pm_unavailable")
        temporal.kill()
        world.post()
        refused = {"userId": USER, "total": 1, "coordinator": "orchestration"}
        assert world.request("POST", "/orders", json=refused).status_code == 503

        def all_are_told() -> bool:
            missing = {each for each in selectors() if each != "saga_need_operator" and not found.query(each)}
            assert missing == set()
            return True

        until(all_are_told, what="every series that a rule selects is told by some process")
        until(lambda: found.query("max(saga_mirror_backlog) >= 3"), what="a backlog of the mirrors is seen")
        until(lambda: found.query("max(saga_mirror_lag_seconds) > 2"), what="their lag is seen")
        until(lambda: "SagaDeadLetters" in found.active(), what="the dead letter raises an alert")
        world.kill("order")
        until(lambda: "SagaProcessDown" in found.active(), what="a process that is down raises an alert")
