"""A private PostgreSQL: its data, its settings, a database and a role for each service."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals

import psutil
import psycopg
from psycopg import sql

from embedded.errors import StackError
from embedded.made_by import refuse_postgres_of_another_major
from embedded.ports import LOOPBACK
from embedded.postgres_binaries import installed, runnable, version
from embedded.program import Program, run_once

SUPERUSER = "postgres"
SYSTEM_USER = "payment-saga"  # PostgreSQL refuses to run as root
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 107
# The server's data is its working directory. So it needs no right on the folders above, which may be private (/root, a
# home), and the path of its socket is short.
HERE = "/proc/self/cwd"

CONFIGURATION = f"""\
listen_addresses = '{LOOPBACK}'
port = {{port}}
unix_socket_directories = '.'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
max_wal_size = 2GB
wal_level = replica
wal_compression = off
fsync = on
synchronous_commit = on
password_encryption = 'scram-sha-256'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'payment-saga-{{port}}'
"""
# The superuser has no way in over TCP; the socket lies in the data's own folder, mode 0700.
ACCESS = f"""\
local all {SUPERUSER} peer map=owner
host all {{roles}} {LOOPBACK}/32 scram-sha-256
"""

NO_MORE = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
# The role is no owner of its database: an owner could open it to others, rename it or change its settings.
OF_DATABASE = (
    f"ALTER DATABASE {{0}} OWNER TO {SUPERUSER}",
    "REVOKE ALL ON DATABASE {0}, postgres, template1 FROM PUBLIC",
    "REVOKE ALL ON DATABASE {0} FROM {0}",
    "GRANT CONNECT ON DATABASE {0} TO {0}",
)
OF_SCHEMA = (
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE, CREATE ON SCHEMA public TO {0}",
)


def program(*, data: Path, port: int, passwords: Mapping[str, str], env: Mapping[str, str]) -> Program:
    """A server with a database for each entry of `passwords`, open to the role of that name and closed to others."""
    user = system_user() if os.geteuid() == 0 else None
    binaries = runnable(installed(), user)
    folder = data / "postgres"
    _refuse_anothers(folder, user)
    refuse_postgres_of_another_major(folder, version(binaries).partition(".")[0])

    async def prepare() -> None:
        _forget_dead_server(folder)
        if not (folder / "PG_VERSION").exists():
            await _initialise(binaries, folder, user=user, env=env, log=data / "logs" / "postgres.log")
        roles = ",".join(passwords)
        owners = {user or SUPERUSER, pwd.getpwuid(os.geteuid()).pw_name}
        (folder / "postgresql.conf").write_text(CONFIGURATION.format(port=port))
        (folder / "pg_hba.conf").write_text(ACCESS.format(roles=roles))
        (folder / "pg_ident.conf").write_text("".join(f'owner "{owner}" {SUPERUSER}\n' for owner in sorted(owners)))

    return Program(
        name="postgres",
        argv=(str(binaries / "postgres"), "-D", HERE),
        env=env,
        cwd=folder,
        ports={"postgres": port},
        ready=lambda: _bootstrap(folder, port, passwords),
        alive=lambda: _alive(folder, port),
        prepare=prepare,
        user=user,
        stop_signal=Signals.SIGINT,  # "fast": roll back what is open, write a checkpoint, end
        stop_within=15.0,
        death_signal=Signals.SIGINT,
    )


def _refuse_anothers(folder: Path, user: str | None) -> None:
    """Raise StackError if the server could not read its data, before any other server has changed files beside them."""
    uid = pwd.getpwnam(user).pw_uid if user else os.geteuid()
    if folder.exists() and folder.stat().st_uid != uid:
        owner = _name_of(folder.stat().st_uid)
        raise StackError(
            f"{folder} belongs to the user {owner}: start as the user who made it, or choose another folder with --data"
        )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _forget_dead_server(folder: Path) -> None:
    """Remove the lock of a server that was killed, if its pid is another process's now: PostgreSQL would not start.

    A process that is left of that server stands in the folder. The lock stays then.
    """
    lock = folder / "postmaster.pid"
    try:
        psutil.Process(int(lock.read_text(encoding="ascii").split()[0]))
    except (OSError, ValueError, IndexError, psutil.Error):
        return  # there is none, or PostgreSQL itself sees that its process has ended
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder.resolve()):
                return
    for path in (lock, *folder.glob(".s.PGSQL.*.lock")):
        path.unlink(missing_ok=True)


def system_user() -> str:
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_name
    except KeyError:
        pass
    added = shutil.which("useradd") and subprocess.run(
        ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    if not added or added.returncode:
        raise StackError(
            f"PostgreSQL cannot run as root and the system user {SYSTEM_USER} could not be made"
            f"{f' ({added.stderr.strip()})' if added else ''}: make it, or start as another user"
        )
    return SYSTEM_USER


async def _initialise(binaries: Path, folder: Path, *, user: str | None, env: Mapping[str, str], log: Path) -> None:
    fresh = folder.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)  # an earlier attempt that was interrupted
    fresh.mkdir(mode=0o700)
    if user:
        shutil.chown(fresh, user, pwd.getpwnam(user).pw_gid)
    arguments = ("-D", HERE, "-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--auth=reject")
    initdb = Program(
        name="initdb",
        argv=(str(binaries / "initdb"), *arguments),
        env=env,
        cwd=fresh,
        ports={},
        ready=lambda: True,
        alive=lambda: True,
        user=user,
        death_signal=Signals.SIGKILL,
    )
    await run_once(initdb, log)
    fresh.rename(folder)  # whole or not at all


def answers(url: str) -> bool:
    """Whether the database at this URL answers now."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _bootstrap(folder: Path, port: int, passwords: Mapping[str, str]) -> bool:
    """Whether the server answers. If so, all roles and databases exist on return. Safe to repeat."""
    try:
        with _superuser(folder, port, timeout=5) as connection:
            for role, password in passwords.items():
                _give_database(connection, role, password)
        for role in passwords:
            with _superuser(folder, port, timeout=5, database=role) as connection:
                _give_schema(connection, role)
    except psycopg.OperationalError:
        return False
    return True


def _alive(folder: Path, port: int) -> bool:
    """Whether the server answers a query, or refuses it with a reason (recovery, no connections left, a full disk)."""
    try:
        with _superuser(folder, port, timeout=20) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return "FATAL:" in str(error)
    except psycopg.Error:
        pass
    return True


@contextmanager
def _superuser(folder: Path, port: int, *, timeout: int, database: str = "postgres") -> Iterator[psycopg.Connection]:
    """A connection over the socket in the server's folder. The folder's path may be too long for a socket's address."""
    above = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        short = str(folder) if len(os.fsencode(folder)) < SOCKET_PATH_LIMIT - 20 else f"/proc/self/fd/{above}"
        with psycopg.connect(
            host=short, port=port, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=timeout
        ) as connection:
            yield connection
    finally:
        os.close(above)


def _give_database(connection: psycopg.Connection, name: str, password: str) -> None:
    """A role that may connect to the database of its name and no other; the superuser owns both."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    # Its digest alone: the server logs a statement that fails.
    digest = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    verb = "ALTER" if known else "CREATE"
    connection.execute(
        sql.SQL(f"{verb} ROLE {{}} LOGIN {NO_MORE} PASSWORD {{}}").format(sql.Identifier(name), sql.Literal(digest))
    )
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    for statement in OF_DATABASE:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _give_schema(connection: psycopg.Connection, name: str) -> None:
    """What the role may do in its database: have tables of its own, which its migrations make and change."""
    for statement in OF_SCHEMA:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
