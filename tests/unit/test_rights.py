"""What stands in deploy/ gives the rights that stack/rights.py describes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from choreography.topology import INBOXES, Topology
from models.message_types import ROUTES, EventType
from stack.rights import OPERATOR, RIGHTS, USERS, definitions, password_hash

DEPLOY = Path(__file__).parents[2] / "deploy" / "rabbitmq"
PASSWORDS = {name: f"p&ss/{name}\\$(echo)%s 'ü\"" for name in USERS}


def recognises(stored: str, password: str) -> bool:
    """As RabbitMQ checks a password: four bytes of salt, and SHA-256 of salt and password."""
    salt, digest = b64decode(stored)[:4], b64decode(stored)[4:]
    return hashlib.sha256(salt + password.encode()).digest() == digest


def test_the_definitions_file_is_what_the_description_says() -> None:
    generated = subprocess.run([sys.executable, "-m", "stack.rights"], capture_output=True, text=True, check=True)
    assert (DEPLOY / "definitions.json").read_text() == generated.stdout


@pytest.mark.parametrize("shown", ["right", "wrong"])
def test_a_password_is_kept_as_a_digest_of_its_own(shown: str) -> None:
    assert recognises(password_hash("right"), shown) == (shown == "right")
    assert password_hash("right") != password_hash("right")


def test_the_container_puts_digests_in_the_places_of_the_names(tmp_path: Path) -> None:
    """Whatever a password consists of; the file is its owner's, and the server itself gets none of them."""
    variables = {f"SAGA_BROKER_{name.upper()}_PASSWORD": PASSWORDS[name] for name in RIGHTS}
    env = {
        "PATH": os.defpath,
        "SAGA_RIGHTS": str(DEPLOY),
        "SAGA_DEFINITIONS": str(tmp_path / "definitions.json"),
        "SAGA_BROKER_PASSWORD": PASSWORDS[OPERATOR],
        **variables,
    }
    started = subprocess.run(
        ["bash", str(DEPLOY / "start.sh"), "env"], env=env, capture_output=True, text=True, check=True
    )
    assert "PASSWORD" not in started.stdout
    assert (tmp_path / "definitions.json").stat().st_mode & 0o077 == 0
    made = json.loads((tmp_path / "definitions.json").read_text())
    stored = {user["name"]: user.pop("password_hash") for user in made["users"]}
    assert {name: recognises(stored[name], PASSWORDS[name]) for name in stored} == dict.fromkeys(USERS, True)
    wanted = definitions(dict.fromkeys(USERS, ""))
    for user in wanted["users"]:
        del user["password_hash"]
    assert made == wanted


def test_a_missing_password_keeps_the_broker_from_starting(tmp_path: Path) -> None:
    env = {"PATH": os.defpath, "SAGA_RIGHTS": str(DEPLOY), "SAGA_DEFINITIONS": str(tmp_path / "made.json")}
    started = subprocess.run(
        ["bash", str(DEPLOY / "start.sh"), "env"], env=env, capture_output=True, text=True, check=False
    )
    assert started.returncode != 0
    assert "SAGA_BROKER_PASSWORD" in started.stderr


def test_each_queue_and_each_event_is_of_one_process() -> None:
    for queue in Topology(reads=INBOXES).queues:
        owners = [process for process, rights in RIGHTS.items() if re.search(rights.configure, queue.name)]
        assert len(owners) == 1, queue.name
    for event in EventType:
        exchange, key = ROUTES[event]
        speakers = [process for process, rights in RIGHTS.items() if re.search(rights.topics[exchange][0], key)]
        assert len(speakers) == 1, event


def test_nobody_but_the_operator_administers_the_broker_or_publishes_past_the_exchanges() -> None:
    """The default exchange is called amq.default where rights are asked for."""
    made = definitions(dict.fromkeys(USERS, ""))
    assert {user["name"] for user in made["users"] if user["tags"]} == {OPERATOR}
    for permission in made["permissions"]:
        reached = [kind for kind in ("configure", "write", "read") if re.search(permission[kind], "amq.default")]
        assert bool(reached) == (permission["user"] == OPERATOR)
