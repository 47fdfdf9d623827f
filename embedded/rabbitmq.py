"""Run a private RabbitMQ node of the system's package: one Erlang process, without epmd, all files in its folder."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Any, Final

from embedded import elections
from embedded.broker_store import BrokerStore
from embedded.errors import StackError
from embedded.made_by import refuse_rabbitmq_of_another_line
from embedded.ports import LOOPBACK
from embedded.program import ALIVE_TIMEOUT, Program, amqp_greets

USER = "saga"
NODE = "saga@localhost"  # the data's folder has this name, so it must not depend on the port; no registry is used
PLUGINS = "[rabbitmq_management]."
# The package's own scripts come first: the one that Debian puts on the PATH changes to another user.
SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)

# Erlang terms instead of rabbitmq.conf, because translating that takes half a second at every start.
CONFIGURATION = """\
[{{rabbit, [
   {{tcp_listeners, [{{"{loopback}", {amqp}}}]}},
   {{load_definitions, "{definitions}"}},
   {{loopback_users, [<<"{user}">>]}},
   {{disk_free_limit, 50000000}},
   {{vm_memory_high_watermark, 0.4}},
   {{log, [{{console, [{{enabled, true}}, {{level, info}}]}}, {{file, [{{file, false}}]}}]}}]}},
 {{rabbitmq_management, [{{tcp_config, [{{ip, "{behind}"}}, {{port, {ui}}}]}}]}}].
"""


_OLDEST: Final = (3, 10)  # which gives messages in quorum queues a time to live


def program(
    *,
    data: Path,
    amqp: int,
    ui: int,
    behind: str,
    distribution: int,
    password: str,
    cookie: str,
    definitions: Mapping[str, Any],
    env: Mapping[str, str],
) -> Program:
    """A node with its web UI at the address `behind`. Each start gives it the users and rights of `definitions`.

    `password` is the password of the administrator among the users, `saga`.
    """
    folder = data / "rabbitmq"
    script = _installed(env)
    found = _usable(script, data)
    refuse_rabbitmq_of_another_line(folder / "mnesia" / f"{NODE}-feature_flags", found)
    own = {**env, **_environment(folder, distribution=distribution)}
    store = BrokerStore(
        data=data,
        api=(behind, ui),
        user=USER,
        password=password,
        hold_elections=lambda: elections.hold(NODE, distribution, own),
    )

    async def prepare() -> None:
        for part in ("home", "mnesia", "log"):
            (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / "home" / ".erlang.cookie", cookie, mode=0o400)
        _write(folder / "enabled_plugins", PLUGINS)
        _write(folder / "definitions.json", json.dumps(definitions))
        defined = json.dumps(str(folder / "definitions.json"))[1:-1]
        settings = CONFIGURATION.format(
            loopback=LOOPBACK, amqp=amqp, behind=behind, ui=ui, user=USER, definitions=defined
        )
        _write(folder / "advanced.config", settings)

    return Program(
        name="rabbitmq",
        argv=(script,),
        env=own,
        cwd=data,
        ports={"rabbitmq": amqp, "rabbitmq's management UI": ui, "rabbitmq's distribution": distribution},
        doors={ui: (behind, ui)},
        ready=lambda: amqp_greets(amqp),
        alive=lambda: amqp_greets(amqp, timeout=ALIVE_TIMEOUT) and store.is_whole(),
        mend=store.mend,
        tend=store.tend,
        prepare=prepare,
        # On SIGTERM RabbitMQ first closes queues and messages. Then the management plugin waits 5 s for a process that
        # waits for it. By then everything that matters is on disk.
        stop_within=2.0,
        death_signal=Signals.SIGKILL,
    )


def _usable(script: str, data: Path) -> tuple[int, int] | None:
    """The version, if it is known. Raises StackError if RabbitMQ would fail on this data, or is too old."""
    if not str(data).isascii():
        raise StackError(f"RabbitMQ cannot work on {data}, whose path is not ASCII: choose another folder with --data")
    found = version_of(script)
    if found is not None and found < _OLDEST:
        raise StackError(
            f"RabbitMQ {found[0]}.{found[1]} is too old, {_OLDEST[0]}.{_OLDEST[1]} or newer is needed: "
            "see https://www.rabbitmq.com/docs/download"
        )
    return found


def _installed(env: Mapping[str, str]) -> str:
    script = next((path for path in SCRIPTS if os.access(path, os.X_OK)), None) or shutil.which("rabbitmq-server")
    if script is None or shutil.which("erl", path=env["PATH"]) is None:
        raise StackError(
            "RabbitMQ is missing: run `apt-get install -y rabbitmq-server` (with sudo unless you are root); "
            "without apt, see https://www.rabbitmq.com/docs/download"
        )
    return script


def version_of(script: str) -> tuple[int, int] | None:
    """Major and minor version of the package that has this script; None if its plugins don't tell."""
    plugins = Path(script).resolve().parent.parent / "plugins"
    found = re.findall(
        r"^rabbit-(\d+)\.(\d+)\.", "\n".join(path.name for path in plugins.glob("rabbit-*")), re.MULTILINE
    )
    return (int(found[0][0]), int(found[0][1])) if found else None


def _environment(folder: Path, *, distribution: int) -> dict[str, str]:
    # With a fixed port no epmd is needed, a daemon that would outlive us. With the node's name given here, RabbitMQ
    # starts none. A little busy-waiting halves the time of the start, which consists of thousands of small reads.
    erlang = (
        f"+sbwt very_short +sbwtdcpu very_short +sbwtdio very_short -sname {NODE} -start_epmd false "
        f"-erl_epmd_port {distribution} -kernel inet_dist_use_interface {{127,0,0,1}}"
    )
    return {
        "HOME": str(folder / "home"),
        # Once a minute RabbitMQ looks for epmd, and has a second node start it. This keeps that node from doing so.
        "ERL_ZFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        "detached": "true",  # the script then becomes the node instead of watching it
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "none.d"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.sh"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
    }


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=mode)
    path.chmod(mode | 0o200)
    path.write_text(text)
    path.chmod(mode)
