"""API keys are made once, read from one documented form, and shown by the commands without anybody else seeing them."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from api.gateway.keys import ApiKey, Keys, Role, mint, parse_all
from cli.app import app
from cli.commands.keys import api_key
from embedded.errors import StackError
from stack import local
from stack.settings import Settings

USER = UUID("d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f")


def saga(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", "new", *arguments])


@pytest.mark.parametrize(
    ("arguments", "record"),
    [
        (["--name", "shop", "--role", "client"], "shop:client:{}"),
        (["--name", "alice", "--role", "client", "--user", str(USER)], f"alice:client:{USER}:{{}}"),
        (["--name", "ops.1_a-b", "--role", "operator"], "ops.1_a-b:operator:{}"),
    ],
)
def test_a_new_key_is_shown_with_the_record_that_knows_it(arguments: list[str], record: str) -> None:
    shown = saga(*arguments)
    assert shown.exit_code == 0, shown.output
    (key,) = re.findall(r"sk_saga_[A-Za-z0-9_-]{43}\b", shown.stdout)
    assert record.format(sha256(key.encode()).hexdigest()) in shown.stdout.split()
    assert key not in saga(*arguments).output, "each key is another one"

    told = json.loads(saga(*arguments, "--json").stdout)
    (known,) = parse_all(told["record"])
    assert Keys([known]).find(told["key"].encode()) == known


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "a:b", "--role", "client"],
        ["--name", "a,b", "--role", "client"],
        ["--name", "", "--role", "client"],
        ["--name", "x" * 65, "--role", "client"],
        ["--name", "a", "--role", "admin"],
        ["--name", "a", "--role", "client", "--user", "42"],
        ["--name", "a", "--role", "operator", "--user", str(USER)],
        ["--role", "client"],
    ],
)
def test_a_key_that_no_gateway_would_take_is_not_made(arguments: list[str]) -> None:
    refused = saga(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("separator", [",", " ", "\n", ", ", "\t,\n"])
def test_records_are_separated_by_commas_or_white_space(separator: str) -> None:
    (_, a), (_, b) = mint("a", Role.CLIENT, USER), mint("b", Role.OPERATOR)
    assert parse_all(separator.join(["", str(a), str(b), ""])) == (a, b)
    assert parse_all(separator) == parse_all("") == ()


def test_a_name_may_have_two_keys_while_one_replaces_the_other() -> None:
    (old_key, old), (new_key, new) = mint("a", Role.CLIENT), mint("a", Role.CLIENT)
    keys = Keys(parse_all(f"{old},{new}"))
    assert keys.find(old_key.encode()) == old != keys.find(new_key.encode()) == new


def test_a_digest_is_taken_in_capitals_too_and_is_no_key() -> None:
    key, record = mint("a", Role.CLIENT)
    (known,) = parse_all(f"a:client:{record.digest.hex().upper()}")
    assert Keys([known]).find(key.encode()) == record
    for wrong in (b"", record.digest, record.digest.hex().encode(), key[:-1].encode(), key.encode() + b" "):
        assert Keys([known]).find(wrong) is None


def test_digests_are_not_in_what_is_printed_of_settings() -> None:
    _, record = mint("a", Role.CLIENT)
    settings = Settings(api_keys=(record,))
    assert settings.api_keys[0].name == "a"
    assert record.digest.hex() not in repr(settings)
    assert repr(record.digest)[2:-1] not in repr(settings)


def test_a_command_finds_its_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk_saga_file\n")
    file.chmod(0o600)
    assert api_key({}) == ""
    assert api_key({"SAGA_API_KEY_FILE": str(file)}) == "sk_saga_file"
    assert api_key({"SAGA_API_KEY": "sk_saga_set", "SAGA_API_KEY_FILE": str(file)}) == "sk_saga_set"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text("sk_saga_hidden")
    file.chmod(mode)
    with pytest.raises(StackError, match=f"has mode {mode:o}.*chmod 600") as refused:
        api_key({"SAGA_API_KEY_FILE": str(file)})
    assert "sk_saga_hidden" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", b"\xff\xfe", b"a\x00b"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(StackError, match="holds no API key"):
        api_key({"SAGA_API_KEY_FILE": str(file)})


def test_the_stack_tells_the_gateway_alone_of_keys_and_nobody_of_ours(tmp_path: Path) -> None:
    secrets = local.Secrets(orders="o", payments="p", broker="b", cookie="c", internal_token="t")
    ours = (
        "SAGA_API_KEY",
        "SAGA_API_KEY_FILE",
        "SAGA_ORIGINAL_ORDERS_DATABASE_URL",
        "SAGA_ORIGINAL_PAYMENTS_DATABASE_URL",
    )
    environ = {"SAGA_API_KEYS": "records", **dict.fromkeys(ours, "ours")}
    for program in local.services(tmp_path, 0, secrets, environ):
        assert ("SAGA_API_KEYS" in program.env) == (program.name == "gateway")
        assert not {*ours} & set(program.env)


def test_a_record_is_written_as_it_is_read() -> None:
    record = ApiKey(name="a", role=Role.CLIENT, digest=bytes(32), user_id=USER)
    assert parse_all(str(record)) == (record,)
