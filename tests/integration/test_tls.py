"""Processes and commands reach PostgreSQL, RabbitMQ and Temporal over TLS, and say what is wrong with the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlencode

import httpx
import psycopg
import pytest

from stack.rights import USERS, definitions, password_hash
from tests.support.certificates import Authority, Pair
from tests.support.temporal import TemporalServer
from tests.support.tls_proxy import TlsProxy
from tests.support.tls_servers import installed, running
from tests.support.waiting import until
from tests.support.world import Servers, World

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(installed() is None, reason="needs the system's PostgreSQL: apt-get install postgresql"),
]


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """What the test's CA has made, and another CA."""

    authority: Authority
    stranger: Authority
    server: Pair
    expired_server: Pair
    client: Pair
    expired_client: Pair


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "strange")
    return Certificates(
        authority=authority,
        stranger=stranger,
        server=authority.issue("server"),
        expired_server=authority.issue("expired-server", expired=True),
        client=authority.issue("client"),
        expired_client=authority.issue("expired-client", expired=True),
    )


@pytest.fixture(scope="module")
def protected(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, int]]:
    folder = tmp_path_factory.mktemp("tls")
    with running(folder, certificates.authority, certificates.server) as servers:
        yield servers


@dataclass(frozen=True, kw_only=True)
class Protected:
    """A world whose processes have the settings of protected servers, and users with the least rights."""

    world: World
    certificates: Certificates
    amqps: int
    temporal: TlsProxy

    def database(self, role: str, **changed: str) -> str:
        files = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.certificates.authority.file),
            "sslcert": str(self.certificates.client.certificate),
            "sslkey": str(self.certificates.client.key),
        }
        return f"{self.world.dsn(role)}?{urlencode({**files, **changed})}"

    def broker(self, user: str, *, port: int = 0, changed: Mapping[str, str] = MappingProxyType({})) -> str:
        files = {
            "cafile": str(self.certificates.authority.file),
            "certfile": str(self.certificates.client.certificate),
            "keyfile": str(self.certificates.client.key),
        }
        given = {name: value for name, value in {**files, **changed}.items() if value}
        place = f"127.0.0.1:{port or self.amqps}/{quote(self.world.name)}"
        return f"amqps://{user}:of-{user}@{place}?{urlencode(given)}"

    def environment(self, process: str) -> Mapping[str, str]:
        return {
            "SAGA_ORDERS_DATABASE_URL": self.database("orders"),
            "SAGA_PAYMENTS_DATABASE_URL": self.database("payments"),
            "SAGA_AMQP_URL": self.broker(process),
            "SAGA_TEMPORAL_ADDRESS": f"localhost:{self.temporal.port}",
            "SAGA_TEMPORAL_TLS_CA": str(self.certificates.authority.file),
            "SAGA_TEMPORAL_TLS_CERT": str(self.certificates.client.certificate),
            "SAGA_TEMPORAL_TLS_KEY": str(self.certificates.client.key),
        }

    def saga(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator, with these variables changed."""
        env = {**self.world.env, **self.environment("saga"), **{f"SAGA_{k.upper()}": v for k, v in changed.items()}}
        command = [str(Path(sys.executable).parent / "saga"), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def start(self, *processes: str) -> None:
        for process in processes:
            given = self.environment(process)
            self.world.start(process, **{name.removeprefix("SAGA_").lower(): text for name, text in given.items()})

    def refusal(self, process: str, **changed: str) -> str:
        """What a process says that ends at its start."""
        given = {name.removeprefix("SAGA_").lower(): text for name, text in self.environment(process).items()}
        self.world.launch(process, **{**given, **changed})
        running = self.world.processes.pop(process)
        assert until(lambda: running.poll() is not None, what=f"the {process} ends")
        return self.world.log(process).strip().splitlines()[-1]

    def complaint(self, process: str, part: str, **changed: str) -> str:
        """What a process that is not ready says of a part."""
        given = {name.removeprefix("SAGA_").lower(): text for name, text in self.environment(process).items()}
        self.world.launch(process, **{**given, **changed})

        def said() -> str:
            try:
                answer = httpx.get(f"http://127.0.0.1:{self.world.ports[process]}/readyz", timeout=5)
            except httpx.TransportError:  # it is still starting
                return ""
            told = str(answer.json()["checks"][part])
            return told if "certificate" in told or "TLS" in told else ""

        try:
            return until(said, what=f"the {process} says why")
        finally:
            self.world.kill(process)


@pytest.fixture
def system(
    protected: tuple[Servers, int], certificates: Certificates, temporal: TemporalServer, tmp_path: Path
) -> Iterator[Protected]:
    servers, amqps = protected
    world = World(servers, tmp_path)
    given = definitions({user: password_hash(f"of-{user}") for user in USERS if user != "saga"}, vhost=world.name)
    # The administrator's own password stays: the test itself needs it.
    operator = {"user": "operator", "vhost": world.name, "configure": ".*", "write": ".*", "read": ".*"}
    given["users"].append(
        {
            "name": "operator",
            "password_hash": password_hash("of-operator"),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "",
        }
    )
    given["permissions"].append(operator)
    httpx.post(f"{servers.rabbitmq_api}/definitions", json=given, timeout=20).raise_for_status()
    port = int(temporal.address.rpartition(":")[2])
    with TlsProxy(port, certificates.server, client_ca=certificates.authority.file) as proxy:
        try:
            yield Protected(world=world, certificates=certificates, amqps=amqps, temporal=proxy)
        finally:
            world.close()


def test_both_coordinators_run_over_tls_alone(system: Protected) -> None:
    """With users that have the least rights, and client certificates; a command reads all three servers, too."""
    system.start("order", "payment", "worker", "gateway")
    ids = [system.world.post(coordinator=each) for each in ("choreography", "orchestration")]
    declined = system.world.post("pm_card_chargeDeclined")
    for order_id in ids:
        system.world.wait_status(order_id, "PAID", "APPROVED", within=60)
    system.world.wait_status(declined, "CANCELLED", "DECLINED")
    with psycopg.connect(system.world.servers.admin_dsn) as admin:
        rows = admin.execute(
            "SELECT a.application_name, bool_and(s.ssl AND s.client_dn IS NOT NULL) FROM pg_stat_activity a"
            " JOIN pg_stat_ssl s USING (pid) WHERE a.application_name LIKE '%% service' GROUP BY 1"
        ).fetchall()
    assert dict(rows) == {"orders service": True, "payments service": True}
    connections = f"{system.world.servers.rabbitmq_api}/vhosts/{system.world.name}/connections"
    expected = {(user, True) for user in ("order", "payment", "worker", "gateway")}

    def all_known() -> bool:  # RabbitMQ counts its connections every few seconds
        found = {(each["user"], each["ssl"]) for each in httpx.get(connections, timeout=20).json()}
        assert found <= expected
        return found == expected

    until(all_known, what="every process is connected by TLS")
    amqp = system.broker("operator")
    found = system.saga("audit", "--json", "--grace", "1", "--timelines", "all", amqp_url=amqp)
    report = json.loads(found.stdout)
    assert (found.returncode, report.get("unread") or {}) == (0, {}), (found.stdout[-1500:], found.stderr)
    letters = system.saga("dead-letters", "list", "--json", amqp_url=amqp)
    assert (letters.returncode, json.loads(letters.stdout)["data"]) == (0, []), letters.stderr


Change = Callable[[Certificates], dict[str, str]]
DATABASE: Mapping[str, tuple[Change, str]] = {
    "a strange CA": (
        lambda c: {"sslrootcert": str(c.stranger.file)},
        "set sslrootcert in SAGA_ORDERS_DATABASE_URL to the CA that signed it",
    ),
    "no client certificate": (
        lambda _: {"sslcert": "/nowhere.pem", "sslkey": "/nowhere.key"},
        "the server asks for a client certificate; set sslcert in SAGA_ORDERS_DATABASE_URL",
    ),
    "an expired client certificate": (
        lambda c: {"sslcert": str(c.expired_client.certificate), "sslkey": str(c.expired_client.key)},
        "our client certificate has expired; renew sslcert in SAGA_ORDERS_DATABASE_URL",
    ),
}
BROKER: Mapping[str, tuple[Change, str]] = {
    "a strange CA": (
        lambda c: {"cafile": str(c.stranger.file)},
        "is not signed by a CA that is trusted here; set cafile in SAGA_AMQP_URL to the CA that signed it",
    ),
    "no client certificate": (
        lambda _: {"certfile": "", "keyfile": ""},
        "the server asks for a client certificate; set certfile in SAGA_AMQP_URL and keyfile in SAGA_AMQP_URL",
    ),
    "an expired client certificate": (
        lambda c: {"certfile": str(c.expired_client.certificate), "keyfile": str(c.expired_client.key)},
        "our client certificate has expired; renew certfile in SAGA_AMQP_URL",
    ),
}
TEMPORAL: Mapping[str, tuple[Change, str]] = {
    "a strange CA": (
        lambda c: {"temporal_tls_ca": str(c.stranger.file)},
        "set SAGA_TEMPORAL_TLS_CA to the CA that signed it",
    ),
    "no client certificate": (
        lambda _: {"temporal_tls_cert": "", "temporal_tls_key": ""},
        "the server asks for a client certificate; set SAGA_TEMPORAL_TLS_CERT and SAGA_TEMPORAL_TLS_KEY",
    ),
    "an expired client certificate": (
        lambda c: {
            "temporal_tls_cert": str(c.expired_client.certificate),
            "temporal_tls_key": str(c.expired_client.key),
        },
        "our client certificate has expired; renew SAGA_TEMPORAL_TLS_CERT",
    ),
}


def one_line(text: str) -> bool:
    return "\n" not in text.strip() and "Traceback" not in text


@pytest.mark.parametrize("fault", DATABASE)
def test_a_process_and_a_command_say_what_is_wrong_with_the_way_to_the_database(system: Protected, fault: str) -> None:
    change, expected = DATABASE[fault]
    url = system.database("orders", **change(system.certificates))
    assert expected in system.refusal("order", orders_database_url=url)
    found = system.saga("audit", "--timelines", "0", orders_database_url=url)
    assert found.returncode == 2
    assert expected in found.stderr
    assert one_line(found.stderr)


@pytest.mark.parametrize("fault", BROKER)
def test_a_process_and_a_command_say_what_is_wrong_with_the_way_to_the_broker(system: Protected, fault: str) -> None:
    change, expected = BROKER[fault]
    changed = change(system.certificates)
    found = system.saga("dead-letters", "list", amqp_url=system.broker("operator", changed=changed))
    assert (found.returncode, one_line(found.stderr)) == (1, True), found.stderr
    assert expected in found.stderr
    assert expected in system.complaint("gateway", "broker", amqp_url=system.broker("gateway", changed=changed))


@pytest.mark.parametrize("fault", TEMPORAL)
def test_a_process_and_a_command_say_what_is_wrong_with_the_way_to_temporal(system: Protected, fault: str) -> None:
    change, expected = TEMPORAL[fault]
    changed = change(system.certificates)
    found = system.saga("audit", "--timelines", "all", amqp_url=system.broker("operator"), **changed)
    assert (found.returncode, one_line(found.stderr)) == (2, True), found.stderr
    assert expected in found.stderr
    assert expected in system.complaint("worker", "temporal", **changed)


def test_an_expired_server_certificate_is_named(system: Protected) -> None:
    plain = int(system.world.servers.amqp_url.rstrip("/").rpartition(":")[2])
    expected = "the server's certificate has expired; renew it at the server"
    with TlsProxy(plain, system.certificates.expired_server) as broker:
        found = system.saga("dead-letters", "list", amqp_url=system.broker("operator", port=broker.port))
        assert (found.returncode, expected in found.stderr, one_line(found.stderr)) == (1, True, True), found.stderr
    temporal = system.temporal.target_port
    with TlsProxy(temporal, system.certificates.expired_server) as proxy:
        told = system.complaint("worker", "temporal", temporal_address=f"localhost:{proxy.port}")
        assert expected in told


def test_a_server_without_tls_is_named(system: Protected) -> None:
    plain = int(system.world.servers.amqp_url.rstrip("/").rpartition(":")[2])
    found = system.saga("dead-letters", "list", amqp_url=system.broker("operator", port=plain))
    assert (found.returncode, one_line(found.stderr)) == (1, True), found.stderr
    assert "RabbitMQ could not be reached" in found.stderr


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"temporal_tls_cert": "/nowhere.pem"}, "SAGA_TEMPORAL_TLS_CERT: /nowhere.pem cannot be read"),
        ({"temporal_tls_key": ""}, "SAGA_TEMPORAL_TLS_CERT is set and SAGA_TEMPORAL_TLS_KEY is not"),
        ({"amqp_url": "amqps://a:secret@b/?cafile=/nowhere.pem"}, "SAGA_AMQP_URL: names the file /nowhere.pem"),
    ],
)
def test_a_file_that_is_not_there_ends_a_process_with_one_line(
    system: Protected, changed: dict[str, str], expected: str
) -> None:
    said = system.refusal("gateway", **changed)
    assert expected in said
    assert "secret" not in said
