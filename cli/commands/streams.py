"""Read the events of an order as they happen, over several streams if one ends early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from cli.commands.target import Target, client

_MOST_FRUITLESS: Final = 5  # streams in a row that end without a new event
_SILENCE: Final = 60.0  # seconds without an event or a heartbeat after which a stream counts as broken


def events_of(target: Target, order_id: UUID) -> Iterator[str]:
    """The data of each event, once, until the saga is over.

    If a stream ends, another one continues after the last event. The gateway answers 204 when no event is left.
    """
    seen: set[str] = set()
    last, fruitless = "", 0
    while fruitless < _MOST_FRUITLESS:
        time.sleep(1.0 if fruitless else 0.0)
        fruitless += 1
        for event_id, event in _events(target, order_id, after=last):
            if event_id is None:
                return
            if (event_id or event) not in seen:
                seen.add(event_id or event)
                last, fruitless = event_id, 0
                yield event


def _events(target: Target, order_id: UUID, *, after: str) -> Iterator[tuple[str | None, str]]:
    """The id and data of each server-sent event, read as the WHATWG's HTML standard says. The id None is the end."""
    import httpx

    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
    timeout = httpx.Timeout(_SILENCE, connect=5.0)
    with (
        client(target.gateway, target.api_key) as http,
        http.stream(
            "GET", f"{target.gateway}/api/orders/{order_id}/stream", headers=headers, timeout=timeout
        ) as answer,
    ):
        if not answer.is_success:
            answer.read()
            answer.raise_for_status()
        if answer.status_code == 204:
            yield None, ""
        event_id, lines = "", list[str]()
        for line in answer.iter_lines():
            field, _, value = line.partition(":")
            if field == "id":
                event_id = value.removeprefix(" ")
            elif field == "data":
                lines.append(value.removeprefix(" "))
            elif not line and lines:
                yield event_id, "\n".join(lines)
                lines = []
