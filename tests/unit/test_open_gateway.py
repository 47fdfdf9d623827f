"""A gateway without API keys serves nobody from elsewhere unless somebody has said so."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from api.gateway.keys import Role, mint
from embedded.errors import StackError
from stack.services import run
from stack.settings import Settings

_, KEY = mint("root", Role.OPERATOR)
MAY_START = "choose another with SAGA_PORT"  # the port is taken: it got as far as that


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SAGA_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("host", "settings", "said"),
    [
        ("0.0.0.0", {}, "Without API keys the gateway serves loopback alone, not SAGA_HOST=0.0.0.0"),
        ("::", {}, "SAGA_OPEN=true"),
        ("192.0.2.7", {"open": False}, "SAGA_API_KEYS"),
        ("shop.example", {}, "serves loopback alone"),
        ("127.0.0.1", {}, MAY_START),
        ("127.8.9.1", {}, MAY_START),
        ("localhost", {}, MAY_START),
        ("0.0.0.0", {"open": True}, MAY_START),
        ("0.0.0.0", {"api_keys": (KEY,)}, MAY_START),
    ],
)
def test_a_gateway_starts_where_nobody_comes_in_unasked(host: str, settings: dict[str, object], said: str) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        configured = Settings(host=host, port=taken.getsockname()[1], **settings)  # type: ignore[arg-type]
        with pytest.raises(StackError) as refused:
            asyncio.run(run("gateway", configured))
    assert said in str(refused.value)


def test_the_internal_ports_ask_for_a_token_wherever_they_are() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(StackError, match=MAY_START):
            asyncio.run(run("order", Settings(host="0.0.0.0", port=taken.getsockname()[1])))
