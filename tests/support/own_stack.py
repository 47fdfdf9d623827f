"""A whole stack of its own for a test, brought up and down by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil

from embedded import state
from stack import local
from tests.support.waiting import until

SETTINGS = {"SAGA_PROVIDER_LATENCY_MS": "100", "SAGA_RETRY_DELAYS": "0.2,0.4", "SAGA_RECONCILE_INTERVAL": "5"}
ENDS = ("PAID", "CANCELLED", "FAILED")
ROLES = {"postgres": "-D /proc/self/cwd", "rabbitmq": "beam.smp", "temporal": "start-dev"}


@dataclass(frozen=True)
class OwnStack:
    """A stack on a folder of data that no other stack uses."""

    data: Path
    offset: int

    @property
    def urls(self) -> dict[str, str]:
        return local.urls(self.offset, local.Secrets.of(self.data))

    def up(self, **settings: str) -> None:
        """Bring it up; `settings` are as in SAGA_…, in lower case."""
        more = {f"SAGA_{name.upper()}": value for name, value in settings.items()}
        self.saga("up", "--detach", "--port-offset", str(self.offset), env=more)

    def down(self) -> None:
        self.saga("down")

    def saga(
        self, *arguments: str, check: bool = True, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator does."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "saga"), *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**os.environ, **SETTINGS, **env},
        )
        assert not check or done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def wait_ready(self) -> None:
        until(lambda: self.saga("status", check=False).returncode == 0, within=120, what="all of it is ready")

    @property
    def supervisor(self) -> int:
        """The process that starts the others, and starts them again."""
        return int(self._known()["pid"])

    def living(self) -> dict[str, int]:
        """The processes that run now, by name. The machine is asked, since the state on a full disk is old."""
        found = {}
        for process in psutil.Process(self.supervisor).children():
            with suppress(psutil.Error):  # it has ended
                line = " ".join(process.cmdline())
                for name in (*ROLES, "order", "payment", "gateway", "worker"):
                    if ROLES.get(name, f"-m cli run {name}") in line:
                        found[name] = process.pid
        return found

    def said(self) -> str:
        """The output of `saga up` so far."""
        return (self.data / "logs" / "saga-up.log").read_text()

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text()

    def post(self, **body: Any) -> str:
        answer = httpx.post(f"{self.urls['gateway']}/api/orders", json=body, timeout=20)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])

    def status(self, order_id: str) -> str:
        return str(httpx.get(f"{self.urls['gateway']}/api/orders/{order_id}", timeout=20).json().get("status"))

    def story(self, order_id: str) -> list[str]:
        """The types of the events in its timeline."""
        answer = httpx.get(f"{self.urls['gateway']}/api/orders/{order_id}/timeline", timeout=20)
        assert answer.status_code == 200, answer.text
        return [str(entry["eventType"]) for entry in answer.json()["entries"]]

    def wait_over(self, order_ids: Sequence[str], *ends: str, within: float = 120) -> None:
        """Wait until each of these orders has come to its end, or to one of `ends`."""
        open_ones = set(order_ids)

        def over() -> bool:
            open_ones.difference_update([each for each in open_ones if self.status(each) in (ends or ENDS)])
            return not open_ones

        until(over, within=within, what=f"{len(order_ids)} orders are over")

    def audit(self, *options: str) -> tuple[int, dict[str, list[str]]]:
        """The exit code, and the ids that each violated check names."""
        done = self.saga("audit", "--json", *options, check=False)
        checks = json.loads(done.stdout)["checks"]
        found = {each["name"]: each for each in checks if each["state"] == "violated"}
        return done.returncode, {
            name: [str(example["id"]) for example in each["examples"]] for name, each in found.items()
        }

    def audit_holds(self, *options: str) -> None:
        """Wait until nothing is under way and the audit finds no violation."""

        def holds() -> bool:
            assert self.audit("--at-rest", "--grace", "1", "--timelines", "0", *options) == (0, {})
            return True

        until(holds, within=120, what="the audit holds")

    def _known(self) -> dict[str, Any]:
        known = state.read(self.data)
        assert known is not None
        return known
