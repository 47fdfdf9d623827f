"""Find queues that RabbitMQ cannot recover: set their files aside, or have the queues elect the leader that they lack.

If a server ends in the middle of a write, the log of a quorum queue may have a gap (`corrupt_log`,
`gap_between_snapshot_and_first_index`). RabbitMQ then runs without that queue. It refuses all messages for the queue
and all its readers, for good. `elections` tells of queues without a leader.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from embedded import state

SET_ASIDE: Final = "set-aside"
_LOOK_AGAIN: Final = 3.0  # seconds in which RabbitMQ tries again to start a queue by itself
_LOOK_EVERY: Final = 15.0  # seconds
_TIMEOUT: Final = 10.0  # seconds


class BrokerStore:
    """The queues of one node's default virtual host, and their files."""

    def __init__(
        self, *, data: Path, api: tuple[str, int], user: str, password: str, hold_elections: Callable[[], Sequence[str]]
    ) -> None:
        """`api` is the address of the management API. `hold_elections` names the queues that lacked a leader."""
        self._data = data
        self._hold_elections = hold_elections
        self._api = api
        self._authorization = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        self._looked, self._found = -_LOOK_EVERY, False
        self._tended = -_LOOK_EVERY

    def is_whole(self) -> bool:
        """Whether every queue ran some seconds ago. While the disk has no room, no queue counts as broken."""
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._looked, self._found = time.monotonic(), bool(self._broken())
        return not (self._found and state.has_room(self._data))

    def mend(self) -> str:
        """Set aside the queues that this newly started node could not recover. Returns in words what was done."""
        broken = self._broken()
        if broken and state.has_room(self._data):
            time.sleep(_LOOK_AGAIN)
            broken &= self._broken()
        self._found = False
        if not broken or not state.has_room(self._data):
            return ""
        kept = self._data / "rabbitmq" / SET_ASIDE / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for queue in sorted(broken):
            self._keep(queue, kept)
            self._ask("DELETE", f"/api/queues/%2F/{quote(queue, safe='')}")
        return (
            f"could not recover {', '.join(sorted(broken))}: its files are kept in {kept}, and the services declare it "
            "anew. Publish again what was waiting: `saga events replay --since 1h`; see docs/restoring.md"
        )

    def tend(self) -> str:
        """Have queues that run without a leader elect one; what was done, in words. It looks every few seconds."""
        if time.monotonic() - self._tended < _LOOK_EVERY or not self._may_lack_leaders():
            return ""
        self._tended = time.monotonic()
        try:
            elected = self._hold_elections()
        except (OSError, subprocess.SubprocessError) as error:
            return f"whether a queue lacks a leader could not be told: {error}"
        if not elected:
            return ""
        return (
            f"had {', '.join(elected)} without a leader, and elected one: RabbitMQ had made it anew. "
            "Publish again what may have waited there: `saga events replay --since 1h`; see docs/restoring.md"
        )

    def _may_lack_leaders(self) -> bool:
        """Whether RabbitMQ counts nothing of some queue: a leader counts, seconds after it began."""
        queues = self._ask("GET", "/api/queues")
        return any(each.get("type") == "quorum" and "messages" not in each for each in queues or ())

    def _broken(self) -> set[str]:
        """The quorum queues that have no running member; none while the management API does not answer."""
        queues = self._ask("GET", "/api/queues/%2F?disable_stats=true&enable_queue_totals=true")
        return {each["name"] for each in queues or () if each.get("type") == "quorum" and not each.get("online")}

    def _keep(self, queue: str, kept: Path) -> None:
        """Keep the queue's files by hard links, because RabbitMQ deletes its own links to them."""
        named = f"'%2F_{queue}'".encode()
        for config in (self._data / "rabbitmq" / "mnesia").glob("*/quorum/*/*/config"):
            if named in config.read_bytes():
                for file in filter(Path.is_file, config.parent.rglob("*")):
                    link = kept / queue / file.relative_to(config.parent)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    os.link(file, link)

    def _ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection(*self._api, timeout=_TIMEOUT)
        try:
            connection.request(method, path, headers={"Authorization": self._authorization})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == http.HTTPStatus.OK:
                with suppress(ValueError):
                    return json.loads(body)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        return None
