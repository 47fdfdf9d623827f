"""Tell how each part of the system is, and have the embedded stack's supervisor break one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from api.gateway.dependencies import Breaker, QueryClient, ServiceRequest
from api.health import DEGRADED, Readiness

_WITHIN: Final = 2.0  # seconds: who does not answer by then is down
_DATABASE: Final = "database"
_Checks: TypeAlias = Mapping[str, str]

# What the supervisor's word for a program's state means here; "ready" leaves it to what the program itself says.
_STATES: Final[Mapping[str, str]] = {
    "waiting": "restarting",
    "starting": "restarting",
    "died": "restarting",
    "no room": "restarting",
    "frozen": "frozen",
    "cut off": "cut off",
    "silent": "down",
    "stopping": "down",
    "stopped": "down",
}


class _State(NamedTuple):
    state: str
    detail: str | None = None


_OK: Final = _State("ok")


class _Answer(msgspec.Struct):
    checks: dict[str, str]


class Parts:
    """Asks every process whether it can do its work, and the supervisor, if there is one, which processes run."""

    def __init__(
        self,
        *,
        readiness: Readiness,
        orders: QueryClient,
        payments: QueryClient,
        worker: QueryClient,
        breaker: Breaker | None,
    ) -> None:
        self._readiness = readiness
        self._processes = {"order": orders, "payment": payments, "worker": worker}
        self._breaker = breaker

    async def read(self) -> list[dict[str, Any]]:
        """Each part in wire form: its state is ok, degraded, down, unknown, frozen, cut off or restarting."""
        own, told = await asyncio.gather(self._readiness(), asyncio.gather(*map(_checks_of, self._processes.values())))
        checks = dict(zip(self._processes, told, strict=True))
        states = {
            "gateway": _OK,
            **{name: _process(found) for name, found in checks.items()},
            "postgres": _database([each[_DATABASE] for each in told if each and _DATABASE in each]),
            "rabbitmq": _server(own.get("broker")),
            "temporal": _server(own.get("temporal")),
        }
        supervised = {each["name"]: each for each in self._breaker.processes()} if self._breaker else {}
        return [_as_json(name, state, supervised.get(name, {})) for name, state in states.items()]


async def _checks_of(client: QueryClient) -> _Checks | None:
    """What a process says that it needs; None if it doesn't answer. An original service says nothing of it."""
    try:
        async with asyncio.timeout(_WITHIN):
            answer = await client.request(ServiceRequest(method="GET", path="/readyz"))
        return msgspec.json.decode(answer.content, type=_Answer).checks
    except OSError:  # TimeoutError is one, too
        return None
    except msgspec.DecodeError:
        return {}


def _process(checks: _Checks | None) -> _State:
    if checks is None:
        return _State("down", "It does not answer")
    wrong = [f"{name}: {said.removeprefix(DEGRADED)}" for name, said in checks.items() if said != "ok"]
    return _State("degraded", "; ".join(wrong)) if wrong else _OK


def _database(told: list[str]) -> _State:
    if not told:
        return _State("unknown", "No service answers that could tell")
    return next((_State("down", said) for said in told if said != "ok"), _OK)


def _server(said: str | None) -> _State:
    if said is None:
        return _State("unknown")
    return _OK if said == "ok" else _State("down", said.removeprefix(DEGRADED))


def _as_json(name: str, state: _State, supervised: Mapping[str, Any]) -> dict[str, Any]:
    known = _STATES.get(supervised.get("state", ""), state.state)
    return {
        "name": name,
        "state": known,
        "detail": state.detail,
        "pid": supervised.get("pid"),
        "restarts": supervised.get("restarts"),
        "cuttable": supervised.get("cuttable", False),
    }
