"""Each alert has a page; alerts, pages and dashboard name only what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

from cli.app import app
from tests.support.prometheus import DASHBOARD, MONITORING, ROOT, alerts, dashboard_queries

PAGES = ROOT / "docs" / "operations" / "alerts"
ALERTS = alerts()
# Counted by every Prometheus.
ITS_OWN = {"up"}


def documented() -> set[str]:
    """The metrics of docs/operations/metrics.md, as they are read."""
    text = (ROOT / "docs" / "operations" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"`(saga_\w+)", text))


def metrics_in(expression: str) -> set[str]:
    bare = re.sub(r'\{[^}]*\}|"[^"]*"|by \([^)]*\)|on \(\)', " ", expression)
    return {
        re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\b(?:saga|up|temporal|process)\w*", bare)
    }


def commands_in(page: Path) -> Iterator[list[str]]:
    for command in re.findall(r"`saga ([^`]+)`", page.read_text(encoding="utf-8")):
        yield command.split()


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_page_that_it_names(name: str) -> None:
    page = ROOT / ALERTS[name]["annotations"]["runbook"]
    text = page.read_text(encoding="utf-8")
    assert page.parent == PAGES
    assert text.startswith(f"# {name}: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What it means", "How to look", "What to do"]
    assert f"[{name}]({page.name}) | {ALERTS[name]['labels']['severity']} |" in (PAGES / "README.md").read_text()


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == {*ALERTS}


def test_rules_and_dashboard_use_metrics_that_are_documented() -> None:
    expressions = [rule["expr"] for rule in ALERTS.values()] + [expression for _, expression in dashboard_queries()]
    used = {name for expression in expressions for name in metrics_in(expression)}
    ours = {name for name in used if name.startswith("saga_")}
    assert len(ours) > 10
    assert ours <= documented()
    assert used - ours - ITS_OWN == {name for name in used if name.startswith(("temporal_", "process_"))}


def test_each_metric_is_on_the_dashboard() -> None:
    shown = {name for _, expression in dashboard_queries() for name in metrics_in(expression)}
    assert documented() <= shown


def test_grafana_finds_its_prometheus_and_its_dashboard_where_compose_has_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    mounted = dict(each.removesuffix(":ro").split(":") for each in services["grafana"]["volumes"])
    inside = {path: (ROOT / outside) for outside, path in mounted.items() if outside.startswith("./")}
    assert all(path.is_file() for path in inside.values())
    known = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (MONITORING / "grafana").iterdir()}
    (source,) = known["datasources.yaml"]["datasources"]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090" and source["isDefault"]
    (provider,) = known["dashboards.yaml"]["providers"]
    dashboard = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert str(Path(dashboard).parent) == provider["options"]["path"]
    assert inside[dashboard] == DASHBOARD


def test_each_panel_asks_the_prometheus_that_is_chosen() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert [each["query"] for each in board["templating"]["list"] if each["type"] == "datasource"] == ["prometheus"]
    asked = {panel["datasource"]["uid"] for panel in board["panels"] if panel["type"] != "row"}
    assert asked == {"${datasource}"}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_the_pages_exist(page: Path) -> None:
    for words in commands_in(page):
        command = typer.main.get_command(app)
        while (inner := getattr(command, "commands", {}).get(words[0] if words else "")) is not None:
            command, words = inner, words[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert not hasattr(command, "commands"), f"saga {words} is no command"
        assert {word for word in words if word.startswith("--")} <= options
