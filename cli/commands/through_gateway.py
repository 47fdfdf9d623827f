"""Reach what operators see to through a gateway, where neither broker nor databases can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cli.commands.target import Target, ask, content

if TYPE_CHECKING:
    from choreography.dead_letters import DeadLetterRecord, Wanted

_MOST: Final = 10_000  # dead letters that are looked at
_PATIENCE: Final = 330.0  # seconds: a gateway answers when all is done


class DeadLettersAtGateway:
    """The dead letters that a gateway tells of; an operator's API key opens them."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def all(self) -> list[DeadLetterRecord]:
        """All of them, as far as a gateway lists them at once."""
        from choreography.dead_letter_json import from_json

        found = await asyncio.to_thread(operate, self._target, "GET", "dead-letters", params={"limit": _MOST})
        return [from_json(letter) for letter in found.get("data") or ()]

    async def redrive(self, wanted: Wanted) -> list[DeadLetterRecord]:
        """Send the wanted ones back to the queue they failed in."""
        return await self._each("POST", "/redrive", wanted)

    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]:
        """Delete the wanted ones for good."""
        return await self._each("DELETE", "", wanted)

    async def _each(self, method: str, act: str, wanted: Wanted) -> list[DeadLetterRecord]:
        chosen: Sequence[DeadLetterRecord] = [record for record in await self.all() if wanted(record)]
        for record in chosen:
            await asyncio.to_thread(operate, self._target, method, f"dead-letters/{quote(record.id, safe='')}{act}")
        return list(chosen)


def operate(
    target: Target,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the gateway answers at this path of the operators'. Raises httpx.HTTPError."""
    url, alive = f"{target.gateway}/api/operator/{path}", f"{target.gateway}/healthz"
    return content(ask(method, url, bearer=target.api_key, params=params, body=body, timeout=_PATIENCE, alive=alive))
