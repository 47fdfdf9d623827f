"""The inside of the broker's node, and what it keeps on disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from embedded.rabbitmq import NODE
from stack.addresses import Ports
from tests.support.world import Servers


def store(servers: Servers) -> Path:
    """The folder of RabbitMQ's data."""
    return Path(servers.admin_dsn.partition("host=")[2].partition("/postgres ")[0]) / "rabbitmq"


def in_broker(servers: Servers, module: str, function: str, arguments: str) -> None:
    """Call a function in the broker from a hidden node beside it."""
    home = store(servers) / "home"
    distribution = (urlsplit(servers.amqp_url).port or 0) - Ports().amqp + Ports().rabbitmq_distribution
    ran = subprocess.run(
        [
            *("erl", "-noinput", "-sname", f"probe{uuid4().hex[:8]}@localhost", "-dist_listen", "false"),
            *("-start_epmd", "false", "-erl_epmd_port", str(distribution)),
            "-eval",
            f"io:format('~p', [rpc:call('{NODE}', {module}, {function}, [{arguments}])]), halt().",
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stdout.strip() == "ok", ran.stdout + ran.stderr
