"""docker-compose.yml hands the user's settings on to the processes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from stack.rights import USERS
from stack.settings import Settings

FILE = Path(__file__).parents[2] / "docker-compose.yml"
# Settings that the file makes itself: the addresses of its parts, and the time that a container has to stop.
SETTLED = {
    *("host", "port", "amqp_url", "orders_database_url", "payments_database_url"),
    "worker_url",
    *("order_service_url", "payment_service_url", "temporal_address", "temporal_namespace", "shutdown_timeout"),
    *("temporal_tls", "temporal_tls_ca", "temporal_tls_cert", "temporal_tls_key", "temporal_tls_name"),
    *("temporal_api_key", "supervised_in"),
}
FOR_TESTS = {"crash_at"}


def test_every_setting_can_be_set_from_outside_or_is_settled_by_the_file() -> None:
    handed_on = {name.lower() for name in re.findall(r"^ +SAGA_(\w+): \$\{SAGA_\1\b", FILE.read_text(), re.MULTILINE)}
    assert {*Settings.model_fields} - handed_on == SETTLED | FOR_TESTS


def test_the_image_has_every_package_that_is_shipped() -> None:
    folder = FILE.parent
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    shipped = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert set(re.findall(r"^COPY (\w+) \1$", (folder / "Dockerfile").read_text(), re.MULTILINE)) == shipped
    assert shipped <= set(re.findall(r"^!(\w+)$", (folder / ".dockerignore").read_text(), re.MULTILINE))


def test_traces_can_be_turned_on_from_outside() -> None:
    processes = yaml.safe_load(FILE.read_text())["services"]
    for name in ("gateway", "order", "payment", "worker"):
        given = processes[name]["environment"]
        assert given["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
        assert given["OTEL_TRACES_SAMPLER"] == "${OTEL_TRACES_SAMPLER:-}"


def test_each_process_has_a_user_of_the_broker_of_its_own_with_a_password_of_its_own() -> None:
    found = dict(re.findall(r"^ +SAGA_AMQP_URL: amqp://(\w+):(\$\{\w+:-[\w-]+\})@", FILE.read_text(), re.MULTILINE))
    assert set(found) == set(USERS)
    assert len(set(found.values())) == len(USERS)
    given = set(re.findall(r"^ +SAGA_BROKER_\w*PASSWORD: (.+)$", FILE.read_text(), re.MULTILINE))
    assert given == set(found.values())


def test_the_services_have_no_network_in_common() -> None:
    """Nor does a service share one with the other's database."""
    services = yaml.safe_load(FILE.read_text())["services"]
    networks = {name: {*service.get("networks", ())} for name, service in services.items()}
    for pair in (("order", "payment"), ("order", "payments-db"), ("payment", "orders-db"), ("gateway", "orders-db")):
        assert networks[pair[0]] & networks[pair[1]] == set(), pair
    for asked in ("order", "payment", "worker"):
        assert networks["gateway"] & networks[asked], asked
    for needed in ("rabbitmq", "temporal"):
        assert all(networks[process] & networks[needed] for process in ("order", "payment", "worker", "gateway"))
