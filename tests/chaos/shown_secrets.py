"""Find the secrets of a run where others could read them: in logs, in open files, on command lines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from tests.chaos.system import System
from tests.support.secrecy import found_in, logs_in, open_files, secrets_of

_SHORT: Final = 12  # characters: a text that is no longer stands in a log by chance


def shown_secrets(system: System, command_lines: Iterable[str]) -> list[str]:
    """Passwords and tokens in a log, in a file that others may read, or on a command line."""
    world = system.world
    data = world.servers.logs.parent
    known = {**secrets_of(data), "internal token of chaos": world.env["SAGA_INTERNAL_TOKEN"]}
    secrets = {name: secret for name, secret in known.items() if len(secret) > _SHORT}
    places = chain(
        logs_in(world.logs, world.servers.logs),
        open_files(world.logs),
        open_files(data),
        ((f"the command line {line[:60]}", line) for line in command_lines),
    )
    return [f"a secret is shown: {found}" for found in found_in(secrets, places)]
