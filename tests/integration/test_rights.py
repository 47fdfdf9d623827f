"""Every way to install the servers gives the same rights, and each start of the embedded ones gives them anew."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from embedded.postgres_binaries import installed
from stack.rights import RIGHTS
from tests.support.waiting import until
from tests.support.world import Servers

SCRIPT = Path(__file__).parents[2] / "deploy" / "postgres" / "own-role.sh"
PSQL = installed()
ROLE = (
    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin"
    " FROM pg_roles WHERE rolname = %s"
)
DATABASE = "SELECT datdba::regrole::text, datacl::text FROM pg_database WHERE datname = %s"
SCHEMA = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'"


def rights(servers: Servers, name: str) -> list[Any]:
    """What the role and the database of this name may do and let others do, with the name left open."""
    with psycopg.connect(servers.admin_dsn.replace("dbname=postgres", f"dbname={name}")) as admin:
        found = [
            *(admin.execute(ROLE, [name]).fetchone() or ()),
            *(admin.execute(DATABASE, [name]).fetchone() or ()),
            *(admin.execute(SCHEMA).fetchone() or ()),
        ]
    return [each.replace(name, "NAME") if isinstance(each, str) else each for each in found]


def test_the_script_for_a_server_of_ones_own_gives_the_rights_of_the_embedded_one(
    servers: Servers, tmp_path: Path
) -> None:
    place = dict(each.split("=", 1) for each in servers.admin_dsn.split())
    env = {
        "PATH": f"{PSQL}:{os.defpath}",
        "PGHOST": place["host"],
        "PGPORT": place["port"],
        "PGDATA": str(tmp_path),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "shop",
        "SERVICE_ROLE": "shop",
        "SERVICE_PASSWORD": "it's \\ a $secret",
    }
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE shop")
        try:
            subprocess.run(["sh", str(SCRIPT)], env=env, check=True, capture_output=True, text=True)
            assert rights(servers, "shop") == rights(servers, "orders")
        finally:
            admin.execute("DROP DATABASE shop WITH (FORCE)")
            admin.execute("DROP ROLE IF EXISTS shop")
    assert "host shop shop all scram-sha-256" in (tmp_path / "pg_hba.conf").read_text()


def test_what_a_version_before_or_somebody_has_opened_is_closed_at_the_next_start(servers: Servers) -> None:
    """As after an upgrade, where roles owned their databases and the broker knew one user alone."""
    before = {name: rights(servers, name) for name in ("orders", "payments")}
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute("ALTER DATABASE orders OWNER TO orders")
        admin.execute("GRANT CONNECT ON DATABASE orders TO PUBLIC")
        admin.execute("ALTER ROLE payments CREATEDB CREATEROLE")
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    with httpx.Client(base_url=servers.rabbitmq_api, timeout=20) as api:
        for user in ("order", "worker"):
            api.delete(f"/users/{user}").raise_for_status()
        api.put("/permissions/%2F/gateway", json=everything).raise_for_status()
    for server in ("postgres", "rabbitmq"):
        servers.kill(server)

    def closed() -> bool:
        try:
            found = {name: rights(servers, name) for name in ("orders", "payments")}
            permissions = httpx.get(f"{servers.rabbitmq_api}/vhosts/%2F/permissions", timeout=5).json()
        except (psycopg.Error, httpx.HTTPError, TypeError, ValueError):  # a server that is just starting
            return False
        given = {each["user"]: each["configure"] for each in permissions}
        wanted: dict[str, str] = {name: each.configure for name, each in RIGHTS.items()}
        return found == before and given == wanted | {"saga": ".*"}

    until(closed, within=120, what="only what is described may be done")


@pytest.mark.parametrize("role", ["orders", "payments"])
def test_a_role_makes_and_changes_tables_of_its_own(servers: Servers, role: str) -> None:
    """A migration does."""
    url = f"postgresql://{role}:{servers.database_passwords[role]}@127.0.0.1:{servers.postgres_port}/{role}"
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE its_own (id int PRIMARY KEY)")
        connection.execute("ALTER TABLE its_own ADD COLUMN more text")
        connection.execute("CREATE INDEX ON its_own (more)")
        connection.execute("DROP TABLE its_own")
