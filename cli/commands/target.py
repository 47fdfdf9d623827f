"""Find the system that a command is for, and send it requests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from cli import http_clients
from cli.commands import origin
from cli.commands.keys import api_key
from cli.commands.options import folder, require_offset
from embedded import state as state_of_stack
from embedded.errors import StackError
from embedded.state import has_shape

if TYPE_CHECKING:
    import httpx


Need = Literal["gateway", "order_service", "payment_service", "amqp_url", "internal_token"]

_ADDRESSES: Final[Mapping[Need, str]] = {
    "gateway": "SAGA_GATEWAY_URL",
    "order_service": "SAGA_ORDER_SERVICE_URL",
    "payment_service": "SAGA_PAYMENT_SERVICE_URL",
    "amqp_url": "SAGA_AMQP_URL",
}
_SCHEMES: Final[Mapping[Need, tuple[str, ...]]] = {"amqp_url": ("amqp://", "amqps://")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The addresses and the token of a system. Unknown ones are empty."""

    gateway: str = ""
    order_service: str = ""
    payment_service: str = ""
    amqp_url: str = ""
    internal_token: str = ""
    api_key: str = field(default="", repr=False)  # for the gateway alone


def find(
    data: Path | None,
    *needs: Need,
    port_offset: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """The system that `--data` or `--port-offset` names, else the one in the environment, else the default one.

    They are never mixed: a token or a command must not reach another system than the user means. Only
    SAGA_INTERNAL_TOKEN and SAGA_API_KEY apply to all. Raises StackError unless all `needs` are known.
    """
    chosen = data is not None or port_offset is not None
    named = not chosen and any(environ.get(variable) for variable in _ADDRESSES.values())
    if named:
        found = _from_environment(environ)
    else:
        data = folder(data)
        found = _from_folder(data, environ)
        require_offset(found.gateway, data, port_offset)
    if not (found.internal_token.isascii() and (found.internal_token or " ").isprintable()):
        raise StackError("SAGA_INTERNAL_TOKEN has a character that HTTP cannot carry, such as a line break; correct it")
    for need in needs:
        value = getattr(found, need)
        variable = _ADDRESSES.get(need, "SAGA_INTERNAL_TOKEN")
        if not value:
            where = "the environment" if named else f"{data}/state.json or {data}/secrets.json"
            start = "" if named else ", or start our processes with `saga up` if only the servers run"
            raise StackError(f"This needs {variable}, and {where} does not have it; set {variable}{start}")
        schemes = _SCHEMES.get(need, ("http://", "https://"))
        if need in _ADDRESSES and not all(_is_address(each, schemes) for each in _parts(need, value)):
            raise StackError(f"{variable} must be an address that starts with {' or '.join(schemes)}; correct it")
    return found


def _parts(need: Need, value: str) -> tuple[str, ...]:
    if need != "amqp_url":
        return (value,)
    from choreography.connecting import nodes  # a cluster has several

    return nodes(value)


def _is_address(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return value.startswith(schemes) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _from_environment(environ: Mapping[str, str]) -> Target:
    address = {need: environ.get(variable, "").rstrip("/") for need, variable in _ADDRESSES.items()}
    return Target(
        gateway=address["gateway"].removesuffix("/api"),
        order_service=address["order_service"],
        payment_service=address["payment_service"],
        amqp_url=environ.get("SAGA_AMQP_URL", ""),
        internal_token=environ.get("SAGA_INTERNAL_TOKEN", ""),
        api_key=api_key(environ),
    )


def _from_folder(data: Path, environ: Mapping[str, str]) -> Target:
    try:
        state = _read(data / "state.json")
    except FileNotFoundError:
        raise StackError(
            f"No running system found in {data}: start one with `saga up`. If one runs elsewhere, name its folder with "
            "--data or SAGA_DATA, or its gateway with SAGA_GATEWAY_URL"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StackError(
            f"{data}/state.json cannot be read ({why}); restart `saga up` or set SAGA_GATEWAY_URL"
        ) from None
    if "pid" in state and state_of_stack.has_ended(state["pid"], state.get("started")):
        raise StackError(f"The stack on {data} has ended without a word: start it again with `saga up`")
    secrets: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # a command that needs them says that they are missing
        secrets = _read(data / "secrets.json")
    urls = state.get("urls") or {}
    return Target(
        gateway=str(urls.get("gateway") or "").rstrip("/").removesuffix("/api"),
        order_service=_service_address(state, "order"),
        payment_service=_service_address(state, "payment"),
        amqp_url=str(urls.get("amqp") or ""),
        internal_token=environ.get("SAGA_INTERNAL_TOKEN") or str(secrets.get("internal_token") or ""),
        api_key=api_key(environ),
    )


def _service_address(state: Mapping[str, Any], service: str) -> str:
    ports = {process.get("name"): process.get("port") for process in state.get("processes") or ()}
    return f"http://127.0.0.1:{ports[service]}" if ports.get(service) else ""


def _read(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(value, dict) and has_shape(value)):
        raise ValueError("it holds something else")
    return value


def ask(
    method: str,
    url: str,
    *,
    bearer: str = "",
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 10.0,
    alive: str = "",
) -> httpx.Response:
    """Send a request, and wait `timeout` seconds for its answer. Raises httpx.HTTPError unless it is a success.

    `alive` is an address that a living process answers at once: it is asked first if the answer may take long.
    """
    with client(url, bearer) as http:
        if alive:
            http.get(alive, timeout=5.0)  # whatever it answers; a balancer may know no such path
        answer = http.request(method, url, params=given(params or {}), json=body, headers=headers, timeout=timeout)
        return answer.raise_for_status()


def client(url: str, bearer: str = "") -> httpx.Client:
    """A client with this token. It connects directly, without a proxy."""
    import httpx

    return http_clients.client(headers=bearing(bearer), timeout=httpx.Timeout(10.0, connect=5.0))


def bearing(token: str) -> dict[str, str]:
    """The field that shows this token, if there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def content(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises StackError if it holds anything else."""
    with suppress(ValueError):
        value = answer.json()
        if isinstance(value, dict):
            return value
    raise StackError(f"{origin(answer.request)} does not answer as this system does; check the address")


def given(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that are not None, as text."""
    return {name: str(value) for name, value in values.items() if value is not None}
