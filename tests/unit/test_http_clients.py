"""No HTTP client of ours uses a proxy, and all are made in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import http_clients
from stack.environment import forget_strangers, forget_ways_out

ROOT = Path(__file__).parents[2]
SHIPPED = (
    "models",
    "activities",
    "choreography",
    "workflows",
    "api",
    "audit",
    "embedded",
    "takeover",
    "stack",
    "cli",
    "bench",
)
# The files that may make clients, by library. Stripe is outside this system, so its client may use a proxy.
MAKERS: dict[str, set[str]] = {
    "httpx": {"cli/http_clients.py"},
    "aiohttp": {"api/gateway/service_client.py"},
    "stripe": {"activities/providers/stripe.py", "activities/providers/stripe_requests.py"},
    "urllib.request": set(),
    "requests": set(),
    "urllib3": set(),
    "grpc": set(),
}
VALUES = {"Limits", "Request", "Response", "Timeout", "URL"}  # of httpx: they reach nobody


def made(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The (library, name) of everything that a file calls or derives from these libraries, however it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            plain = {each.name.split(".")[0]: each.name.split(".")[0] for each in node.names if not each.asname}
            names |= plain | {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(tree):
        for used in [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else ():
            first, *rest = ast.unparse(used).split(".")
            path = ".".join((names.get(first, ""), *rest))
            library = next((each for each in MAKERS if path.startswith(f"{each}.")), None)
            if library is not None:
                yield library, path.removeprefix(f"{library}.")


def forgetful(source: str, file: str) -> list[str]:
    """The lines in which this file makes a client that it must not make."""
    return [
        f"{file}: {library}.{name}"
        for library, name in made(ast.parse(source))
        if file not in MAKERS[library] and name not in VALUES
    ]


def test_clients_are_made_only_where_the_environment_is_left_out() -> None:
    files = [file for package in SHIPPED for file in sorted((ROOT / package).rglob("*.py"))]

    assert [each for file in files for each in forgetful(file.read_text(), str(file.relative_to(ROOT)))] == []


@pytest.mark.parametrize(
    "source",
    [
        "import httpx\nhttpx.Client(trust_env=False)",
        "import httpx as h\nh.get('http://127.0.0.1')",
        "from httpx import AsyncClient as C\nC()",
        "import aiohttp\naiohttp.ClientSession()",
        "import aiohttp\nclass Session(aiohttp.ClientSession): ...",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
        "from urllib.request import urlopen\nurlopen('http://127.0.0.1')",
        "from urllib import request\nrequest.urlopen('http://127.0.0.1')",
        "import requests\nrequests.post('http://127.0.0.1')",
        "from stripe import StripeClient\nStripeClient('')",
    ],
)
def test_a_client_made_elsewhere_is_found(source: str) -> None:
    assert len(forgetful(source, "stack/new.py")) == 1


@pytest.mark.parametrize("value", ["http://proxy.example:3128", "socks5://proxy.example:1080", "no address at all"])
def test_a_client_for_a_part_of_this_system_has_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, value)

    with http_clients.client() as client:
        assert client.trust_env is False
    assert http_clients.async_client().trust_env is False


def test_variables_that_steer_libraries_are_forgotten_and_ours_are_kept() -> None:
    strangers = ["PGHOSTADDR", "PGSERVICE", "TEMPORAL_ADDRESS", "UVICORN_PORT", "WEB_CONCURRENCY", "SSLKEYLOGFILE"]
    ways_out = ["HTTP_PROXY", "https_proxy", "All_Proxy", "NO_PROXY", "grpc_proxy", "NETRC", "SSL_CERT_FILE"]
    kept = ["SAGA_HOST", "PATH", "OTEL_EXPORTER_OTLP_ENDPOINT", "PYTHONPATH"]
    environ = dict.fromkeys([*strangers, *ways_out, *kept], "x")

    forget_strangers(environ)
    assert set(environ) == {*ways_out, *kept}  # a real provider may need the ways out

    forget_ways_out(environ)
    assert set(environ) == set(kept)
