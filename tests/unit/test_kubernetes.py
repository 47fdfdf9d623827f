"""The Kubernetes manifests are valid, restricted, and agree with the processes that they run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from choreography.topology import ORDER_QUEUE, PAYMENT_QUEUE
from models.migrations import DatabaseName
from stack.addresses import Process
from stack.migrations import main
from stack.settings import Settings

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("base", "keda", "migrations")
VERSIONS = ("1.31", "1.37")
PROCESSES = get_args(Process)


@cache
def resources(overlay: str) -> tuple[Mapping[str, Any], ...]:
    """What a kustomization has, its bases included."""
    return tuple(_read(ROOT / overlay))


def _read(folder: Path) -> Iterator[Mapping[str, Any]]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert set(kustomization) - {"patches"} == {"apiVersion", "kind", "namespace", "resources"}, "nothing else is read"
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        yield from _read(path) if path.is_dir() else yaml.safe_load_all(path.read_text(encoding="utf-8"))


def of_kind(overlay: str, kind: str) -> dict[str, Mapping[str, Any]]:
    return {each["metadata"]["name"]: each for each in resources(overlay) if each["kind"] == kind}


def pods() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for overlay, kind in (("base", "Deployment"), ("migrations", "Job")):
        for name, each in of_kind(overlay, kind).items():
            yield name, each["spec"]["template"]


PODS = dict(pods())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_are_as_kubernetes_has_them(overlay: str, version: str) -> None:
    checked = 0
    for resource in resources(overlay):
        if "keda.sh" not in resource["apiVersion"]:  # KEDA brings kinds of its own
            kubernetes_validate.validate(resource, version, strict=True)
            checked += 1
    assert checked >= 2


def test_a_manifest_that_is_wrong_is_noticed() -> None:
    wrong = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_what_this_test_reads(overlay: str) -> None:
    built = subprocess.run(["kubectl", "kustomize", str(ROOT / overlay)], capture_output=True, text=True, check=True)
    names = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(built.stdout)}
    assert names == {(each["kind"], each["metadata"]["name"]) for each in resources(overlay)}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_an_apply_leaves_the_number_of_instances_to_keda() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(ROOT / "keda")], capture_output=True, text=True, check=True)
    made = [each for each in yaml.safe_load_all(built.stdout) if each["kind"] == "Deployment"]
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind("keda", "ScaledObject").values()}
    assert {each["metadata"]["name"] for each in made if "replicas" not in each["spec"]} == scaled


def test_each_process_is_deployed_with_a_service_and_a_budget() -> None:
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        assert {*of_kind("base", kind)} == {*PROCESSES}
    for name, deployment in of_kind("base", "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["replicas"] >= 2, "one must be left while another is replaced"
        for selector in (
            deployment["spec"]["selector"]["matchLabels"],
            of_kind("base", "Service")[name]["spec"]["selector"],
            of_kind("base", "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"],
        ):
            assert selector.items() <= labels.items()


@pytest.mark.parametrize("name", PROCESSES)
def test_each_deployment_runs_its_process_and_asks_it_how_it_is(name: Process) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    port = Settings.model_construct().port_of(name)
    assert container["args"] == ["run", name]
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert {"name": "SAGA_PORT", "value": str(port)} in container["env"]
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["httpHeaders"]) == (path, [{"name": "Host", "value": "localhost"}])
    assert PODS[name]["spec"]["terminationGracePeriodSeconds"] > 5 + 8  # preStop, and SAGA_SHUTDOWN_TIMEOUT


@pytest.mark.parametrize("name", PODS)
def test_every_pod_keeps_to_the_restricted_standard_and_has_limits(name: str) -> None:
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_what_is_configured_exists_and_what_is_secret_is_in_secrets() -> None:
    known = {f"SAGA_{name.upper()}" for name in Settings.model_fields}
    secret = {name for name in known if re.search("TOKEN|DATABASE_URL|AMQP_URL|API_KEY", name)}
    (shared,) = of_kind("base", "ConfigMap").values()
    given = {*shared["data"]}
    assert not given & secret
    for name, pod in PODS.items():
        for variable in pod["spec"]["containers"][0]["env"]:
            if variable["name"] in secret:
                assert "secretKeyRef" in variable["valueFrom"], (name, variable)
            given.add(variable["name"])
    assert given - {"POD_IP", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= known


def test_the_payment_service_alone_has_a_provider_and_its_key() -> None:
    """No other process starts with SAGA_PROVIDER=stripe: it has no key."""
    (shared,) = of_kind("base", "ConfigMap").values()
    own = {name: {each["name"] for each in pod["spec"]["containers"][0]["env"]} for name, pod in PODS.items()}
    for setting in ("SAGA_PROVIDER", "SAGA_STRIPE_API_KEY"):
        assert setting not in shared["data"]
        assert [name for name in own if setting in own[name]] == ["payment"]


def test_each_process_has_a_user_of_the_broker_of_its_own_and_the_gateway_alone_the_token() -> None:
    """The others recognise the token by its digest, which opens no port."""
    given = {
        name: {
            each["name"]: each["valueFrom"]["secretKeyRef"]
            for each in variables
            if "valueFrom" in each and "secretKeyRef" in each["valueFrom"]
        }
        for name, pod in PODS.items()
        for variables in [pod["spec"]["containers"][0]["env"]]
    }
    for process in ("gateway", "order", "payment", "worker"):
        assert given[process]["SAGA_AMQP_URL"]["name"] == f"saga-{process}"
        key = "token" if process == "gateway" else "digest"
        assert given[process]["SAGA_INTERNAL_TOKEN"] == {"name": "saga-internal", "key": key}


def test_only_a_service_is_given_the_url_of_its_database() -> None:
    found = {
        (name, variable["name"])
        for name, pod in PODS.items()
        for variable in pod["spec"]["containers"][0]["env"]
        if variable["name"].endswith("DATABASE_URL")
    }
    assert found == {
        *((name, "SAGA_ORDERS_DATABASE_URL") for name in ("order", "migrate-orders")),
        *((name, "SAGA_PAYMENTS_DATABASE_URL") for name in ("payment", "migrate-payments")),
    }


def test_nothing_is_reached_that_no_policy_names() -> None:
    policies = of_kind("base", "NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    to_databases = policies["databases"]["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert {*to_databases} == {"order", "payment", "migrate-orders", "migrate-payments"}
    assert policies["provider"]["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "payment"


def test_services_grow_with_their_queues() -> None:
    scaled = of_kind("keda", "ScaledObject")
    assert {*scaled} <= {*of_kind("base", "Deployment")}
    queues = {name: each["spec"]["triggers"][0]["metadata"].get("queueName") for name, each in scaled.items()}
    assert queues == {"order": ORDER_QUEUE, "payment": PAYMENT_QUEUE, "gateway": None}
    authentications = of_kind("keda", "TriggerAuthentication")
    for each in scaled.values():
        assert each["spec"]["scaleTargetRef"] == {"name": each["metadata"]["name"]}
        named = each["spec"]["triggers"][0].get("authenticationRef")
        assert named is None or named["name"] in authentications


def test_each_database_is_migrated_by_a_job() -> None:
    commands = [pod["spec"]["containers"][0]["command"] for name, pod in PODS.items() if name.startswith("migrate")]
    assert commands == [["python", "-m", "stack.migrations", name] for name in get_args(DatabaseName)]
    with pytest.raises(SystemExit, match="orders, payments"):
        main("nothing")


def test_the_gateway_may_ask_every_process_that_it_has_an_address_of() -> None:
    (shared,) = of_kind("base", "ConfigMap").values()
    policies = of_kind("base", "NetworkPolicy")
    (leaves,) = policies["clients-to-gateway"]["spec"]["egress"]
    for name in ("order_service_url", "payment_service_url", "worker_url"):
        to = urlsplit(shared["data"][f"SAGA_{name.upper()}"])
        assert to.hostname in PROCESSES
        assert to.port == Settings.model_construct().port_of(cast("Process", to.hostname))
        for selector in (leaves["to"][0]["podSelector"], policies["gateway-to-services"]["spec"]["podSelector"]):
            assert to.hostname in selector["matchExpressions"][0]["values"]
        assert {"protocol": "TCP", "port": to.port} in leaves["ports"]
