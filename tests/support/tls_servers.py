"""A PostgreSQL and a RabbitMQ that take TLS, and then from nobody without a certificate of their CA."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psycopg

from embedded import postgres, rabbitmq
from embedded.log_files import LogFile
from embedded.program import spawn
from models.migrations import migrate
from stack import local
from tests.support.certificates import Authority, Pair
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.support.world import Servers

_SYSTEM: Final = Path("/usr/lib/postgresql")  # the embedded one speaks no TLS
_ACCESS: Final = """\
local all postgres trust
hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostnossl all all 127.0.0.1/32 scram-sha-256
"""


def installed() -> Path | None:
    """The programs of the system's PostgreSQL, which speaks TLS; None if there is none."""
    return max(_SYSTEM.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


@contextmanager
def running(folder: Path, authority: Authority, server: Pair) -> Iterator[tuple[Servers, int]]:
    """Both servers, and the port on which RabbitMQ takes TLS; PostgreSQL takes it on its only port."""
    secrets = local.Secrets.of(folder)
    with ExitStack() as stack:
        # PostgreSQL of the system starts in no folder whose parents its user can't enter, as those of pytest's are.
        opened = Path(stack.enter_context(TemporaryDirectory(prefix="saga-tls-")))
        opened.chmod(0o755)
        database, port = stack.enter_context(_postgres(opened / "postgres", authority, server, secrets))
        broker_port, api = stack.enter_context(_rabbitmq(folder, authority, server, secrets))
        plain, amqps = broker_port
        yield (
            Servers(
                admin_dsn=f"host={database} port={port} user=postgres dbname=postgres",
                database_passwords={"orders": secrets.orders, "payments": secrets.payments},
                postgres_port=port,
                amqp_url=f"amqp://saga:{secrets.broker}@127.0.0.1:{plain}/",
                rabbitmq_api=f"http://saga:{secrets.broker}@127.0.0.1:{api}/api",
                pids=dict,
                logs=folder,
            ),
            amqps,
        )


@contextmanager
def _postgres(folder: Path, authority: Authority, server: Pair, secrets: local.Secrets) -> Iterator[tuple[Path, int]]:
    binaries, port = installed(), free_port()
    assert binaries is not None
    user = postgres.system_user() if os.geteuid() == 0 else None
    folder.mkdir(mode=0o700, parents=True)
    for name, file in (("ca.pem", authority.file), ("server.pem", server.certificate), ("server.key", server.key)):
        shutil.copy(file, folder.parent / name)
    if user:
        shutil.chown(folder, user, user)
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": ()} if user else {}
    here = ("-D", postgres.HERE)
    subprocess.run([binaries / "initdb", *here, "-U", "postgres", "-A", "trust"], cwd=folder, check=True,
                   capture_output=True, **identity)  # type: ignore[call-overload]  # fmt: skip
    for name in ("ca.pem", "server.pem", "server.key"):
        (folder.parent / name).rename(folder / name)
        (folder / name).chmod(0o600)
        if user:
            shutil.chown(folder / name, user, user)
    settings = {"ssl": "on", "ssl_ca_file": "ca.pem", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
    more = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    (folder / "postgresql.conf").write_text(postgres.CONFIGURATION.format(port=port) + more)
    (folder / "pg_hba.conf").write_text(_ACCESS)
    with (folder.parent / "postgres.log").open("wb") as log:
        process = subprocess.Popen([binaries / "postgres", *here], cwd=folder, stdout=log, stderr=log, **identity)  # type: ignore[call-overload]
    try:
        until(lambda: _made(folder, port, secrets), within=60, what="PostgreSQL answers")
        for role, password in (("orders", secrets.orders), ("payments", secrets.payments)):
            migrate(role, f"postgresql://{role}:{password}@127.0.0.1:{port}/{role}")  # type: ignore[arg-type]
        yield folder, port
    finally:
        process.kill()
        process.wait()


def _made(folder: Path, port: int, secrets: local.Secrets) -> bool:
    try:
        with psycopg.connect(host=str(folder), port=port, user="postgres", autocommit=True) as connection:
            for role, password in (("orders", secrets.orders), ("payments", secrets.payments)):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
                connection.execute(f"CREATE DATABASE {role} OWNER {role}")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _rabbitmq(
    folder: Path, authority: Authority, server: Pair, secrets: local.Secrets
) -> Iterator[tuple[tuple[int, int], int]]:
    plain, amqps, ui, distribution = (free_port() for _ in range(4))
    program = rabbitmq.program(
        data=folder,
        amqp=plain,
        ui=ui,
        behind="127.0.0.1",
        distribution=distribution,
        password=secrets.broker,
        cookie=secrets.cookie,
        definitions=local.broker_definitions(secrets),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
    )
    assert program.prepare is not None
    asyncio.run(program.prepare())  # type: ignore[arg-type]
    configuration = folder / "rabbitmq" / "advanced.config"
    tls = (
        f'{{ssl_listeners, [{{"127.0.0.1", {amqps}}}]}}, {{ssl_options, [{{cacertfile, "{authority.file}"}},'
        f' {{certfile, "{server.certificate}"}}, {{keyfile, "{server.key}"}}, {{verify, verify_peer}},'
        " {fail_if_no_peer_cert, true}]},"
    )
    configuration.write_text(configuration.read_text().replace("[{rabbit, [", f"[{{rabbit, [{tls}", 1))
    process = spawn(program, LogFile(folder / "rabbitmq.log"))
    try:
        until(program.ready, within=120, what="RabbitMQ answers")
        yield (plain, amqps), ui
    finally:
        process.kill()
        process.wait()
