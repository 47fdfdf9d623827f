"""Debian's Prometheus, as `make long-test` fetches it, reading the processes of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.support.ports import free_port
from tests.support.waiting import until

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "deploy" / "monitoring"
RULES: Final = MONITORING / "alerts.yaml"
DASHBOARD: Final = MONITORING / "dashboard.json"
_FETCHED: Final = ROOT / "build" / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """Where `prometheus` or `promtool` is."""
    found = shutil.which(name, path=f"{_FETCHED}") or shutil.which(name)
    assert found is not None, f"{name} is missing: run `make prometheus`"
    return found


def alerts() -> Mapping[str, dict[str, Any]]:
    """The rules, by the names of their alerts."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard_queries() -> list[tuple[str, str]]:
    """Title of the panel, and a query of it."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression has now. Fails if Prometheus doesn't understand it."""
        answer = httpx.get(f"{self._url}/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def active(self) -> dict[str, str]:
        """The alerts that are pending or firing."""
        found = httpx.get(f"{self._url}/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert["state"] for alert in found}


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int], token: str, operator_key: str = "") -> Iterator[Prometheus]:
    """Read these processes, by name to port, as deploy/monitoring/prometheus.yml says, but every second."""
    port = free_port()
    file = prepared(folder, targets, token, operator_key)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _ready(port), what="Prometheus is ready")
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()


def prepared(folder: Path, targets: Mapping[str, int], token: str, operator_key: str) -> Path:
    """The path of the configuration in a folder that has all that it expects beside it."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "internal-token").write_text(token, encoding="utf-8")
    (secrets / "operator-key").write_text(operator_key, encoding="utf-8")
    found = [{"targets": [f"127.0.0.1:{at}"], "labels": {"process": name}} for name, at in targets.items()]
    (folder / "targets.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
    shutil.copy(RULES, folder)
    configuration = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    assert "15s" in configuration
    file = folder / "prometheus.yml"
    file.write_text(configuration.replace("15s", "1s"), encoding="utf-8")
    return file


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
