"""One run of chaos puts a load on the system, strikes while the load lasts, and gives a verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.chaos.load import sales
from tests.chaos.shown_secrets import shown_secrets
from tests.chaos.strikes import Strike, Strikes
from tests.chaos.system import GATEWAYS, System
from tests.chaos.verdict import judge
from tests.support.command_lines import CommandLines
from tests.support.load import Load

_LOOK_EVERY: Final = 0.2  # seconds


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """A number of sagas over `seconds`, with a strike about every `pause` seconds. The seed decides everything."""

    sagas: int
    seconds: float
    seed: int
    kinds: Sequence[Strike]
    pause: float


def unleash(chaos: Chaos, system: System, tell: Callable[[str], None]) -> list[str]:
    """Run it, and return the findings. Raises AssertionError if the system comes to no rest or breaks an invariant."""
    with CommandLines(every=_LOOK_EVERY) as lines:
        found = _strike_and_judge(chaos, system, tell)
    shown = shown_secrets(system, lines.seen)
    tell(f"looked for secrets in logs, open files and {len(lines.seen)} command lines: {len(shown)} are shown")
    return found + shown


def _strike_and_judge(chaos: Chaos, system: System, tell: Callable[[str], None]) -> list[str]:
    wishes = sales(chaos.sagas, random=Random(f"load {chaos.seed}"))
    gateways = [f"http://127.0.0.1:{system.world.ports[name]}" for name in GATEWAYS]
    load = Load(gateways, patient=True, timeout=5)
    strikes = Strikes(
        system=system, kinds=chaos.kinds, random=Random(f"strikes {chaos.seed}"), pause=chaos.pause, tell=tell
    )
    failures: list[BaseException] = []

    def offer() -> None:
        try:
            load.run(wishes, rate=chaos.sagas / chaos.seconds)
        except BaseException as error:
            failures.append(error)

    loading = threading.Thread(target=offer, daemon=True)
    loading.start()
    try:
        strikes.strike_until(lambda: not loading.is_alive())
        loading.join()
    except BaseException:
        load.give_up()
        raise
    tell(f"accepted {len(load.accepted)} orders and {len(load.cancelled)} cancellations; answers {dict(load.answers)}")
    tell(f"struck {sum(strikes.done.values())} times: {dict(sorted(strikes.done.items()))}")
    if failures:
        raise failures[0]
    found = judge(system, load, tell)
    strikes.look_for_accidents()
    return strikes.accidents + found
