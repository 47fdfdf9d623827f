"""What is wrong with a certificate is told in one line, with the setting to correct."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from urllib.parse import urlencode

import pytest
from temporalio.service import TLSConfig

from api.gateway.orchestration import Orchestration
from choreography import connection_errors
from choreography.dead_letters import DeadLetters
from models import tls
from tests.support.certificates import Authority, Pair
from tests.support.tls_proxy import TlsProxy
from workflows import temporal_client
from workflows.temporal_client import Protection, answers, connect, connect_now
from workflows.temporal_errors import TemporalUnavailable

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Doors:
    """Two doors behind which nobody answers, and the certificates to try there."""

    open: TlsProxy  # to clients of our CA
    expired: TlsProxy
    authority: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, strange = Authority(folder / "ours"), Authority(folder / "strange")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with (
            TlsProxy(port, ours.issue("server"), client_ca=ours.file) as door,
            TlsProxy(port, ours.issue("old", expired=True)) as expired,
        ):
            yield Doors(door, expired, ours, strange)


FAULTS = {
    "a strange CA": "is not signed by a CA that is trusted here; set {ca} to the CA that signed it",
    "no client certificate": "asks for a client certificate; set {certificate} and {key} to one that it accepts",
    "an expired client certificate": "finds that our client certificate has expired; renew {certificate}",
    "a strange client certificate": "does not know the CA of our client certificate; set {certificate} to one",
    "an expired server": "the server's certificate has expired; renew it at the server",
}


def tried(doors: Doors, fault: str) -> tuple[int, Path, Pair | None]:
    """The port, the CA and the client certificate with which this fault shows."""
    client = doors.authority.issue("client")
    match fault:
        case "a strange CA":
            return doors.open.port, doors.stranger.file, client
        case "no client certificate":
            return doors.open.port, doors.authority.file, None
        case "an expired client certificate":
            return doors.open.port, doors.authority.file, doors.authority.issue("late", expired=True)
        case "a strange client certificate":
            return doors.open.port, doors.authority.file, doors.stranger.issue("client")
        case _:
            return doors.expired.port, doors.authority.file, client


def in_words(fault: str, names: tls.Names) -> str:
    return FAULTS[fault].format(ca=names.ca, certificate=names.certificate, key=names.key)


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_wrong_with_the_way_to_the_broker_is_told(doors: Doors, fault: str) -> None:
    port, ca, client = tried(doors, fault)
    files = {"cafile": ca, **({"certfile": client.certificate, "keyfile": client.key} if client else {})}
    with pytest.raises(connection_errors.LOST) as refused:
        await DeadLetters(f"amqps://user:secret@127.0.0.1:{port}/?{urlencode(files)}").all()
    assert isinstance(refused.value, Exception)
    told = connection_errors.explain(refused.value) or ""
    assert in_words(fault, tls.BROKER) in told
    assert "secret" not in told


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_wrong_with_the_way_to_temporal_is_told(doors: Doors, fault: str) -> None:
    port, ca, client = tried(doors, fault)
    protection = Protection(
        tls=TLSConfig(
            server_root_ca_cert=ca.read_bytes(),
            client_cert=client.certificate.read_bytes() if client else None,
            client_private_key=client.key.read_bytes() if client else None,
        )
    )
    with pytest.raises(RuntimeError) as refused:
        await connect(f"localhost:{port}", "default", protection, lazy=False)
    assert in_words(fault, tls.TEMPORAL) in str(refused.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("SSL error: certificate verify failed", "or set sslrootcert in SAGA_ORDERS_DATABASE_URL to the CA"),
        ("FATAL:  connection requires a valid client certificate", "set sslcert in SAGA_ORDERS_DATABASE_URL"),
        ("SSL error: sslv3 alert certificate expired", "renew sslcert in SAGA_ORDERS_DATABASE_URL"),
        ('server certificate for "db" does not match host name "127.0.0.1"', "connect by a name that stands in it"),
        ("server does not support SSL, but SSL was required", "speaks no TLS on this port"),
        ('root certificate file "/nowhere.pem" does not exist', "cannot be used; correct sslrootcert in SAGA_ORDERS"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "orders", database "orders", no encryption', "without TLS"),
    ],
)
def test_what_postgresql_and_its_driver_say_is_told_with_the_setting(said: str, told: str) -> None:
    assert told in (tls.DATABASES["orders"].explain(said) or "")


@pytest.mark.parametrize("said", ["connection refused", 'password authentication failed for user "orders"', ""])
def test_what_is_no_matter_of_tls_is_not_explained(said: str) -> None:
    assert tls.BROKER.explain(said) is None


@pytest.mark.parametrize("protected", [False, True])
async def test_a_temporal_that_takes_connections_and_is_silent_keeps_nobody_waiting(protected: bool) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        client = await connect(target, "default", Protection(tls=TLSConfig() if protected else False))
        began = monotonic()
        assert (await answers(client)).startswith("does not answer: ")
        assert monotonic() - began < 1.9  # seconds; the console's probes wait for 2
        with pytest.raises(TemporalUnavailable):
            await Orchestration(client, payment_timeout=1, retry_delays=()).reconcile()


@pytest.mark.parametrize("protected", [False, True])
async def test_nobody_waits_for_ever_for_a_connection_to_a_silent_temporal(
    protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's time limit of a call leaves out connecting, and all calls wait for the one that connects."""
    monkeypatch.setattr(temporal_client, "_CONNECTED_WITHIN", 0.2)
    protection = Protection(tls=TLSConfig() if protected else False)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        client = await connect(target, "default", protection)
        calls = [client.count_workflows(rpc_timeout=timedelta(seconds=1)) for _ in range(3)]
        connecting = [connect(target, "default", protection, lazy=False), connect_now(client)]
        async with asyncio.timeout(20):
            found = await asyncio.gather(*calls, *connecting, return_exceptions=True)
    assert [str(each) for each in found] == [f"{target} takes connections and says nothing"] * 5
