"""Strike at random, and undo what was struck a little later."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.chaos.misuse import MISUSES
from tests.chaos.system import INSTANCES, POISONS, SERVERS, WAYS, System, Undo


@dataclass(frozen=True, kw_only=True)
class Strike:
    """An action on a victim, which lasts between `shortest` and `longest` seconds."""

    name: str
    targets: Sequence[str]
    act: Callable[[System, str], Undo]
    weight: int
    shortest: float = 0.1
    longest: float = 3.0


POISONING: Final = (
    Strike(name="send", targets=POISONS, act=System.give_poison, weight=6),
    Strike(name="signal", targets=tuple(MISUSES), act=System.misuse, weight=2),
)
EVERYTHING: Final = (
    Strike(name="kill", targets=INSTANCES, act=System.kill, weight=8),
    Strike(name="restart", targets=INSTANCES, act=System.restart, weight=3),
    Strike(name="freeze", targets=INSTANCES, act=System.freeze, weight=4),
    # A killed server needs some seconds to come back, and is left alone for so long.
    Strike(name="kill", targets=SERVERS, act=System.kill, weight=2, shortest=6, longest=10),
    Strike(name="freeze", targets=SERVERS, act=System.freeze, weight=2),
    Strike(name="cut", targets=WAYS, act=System.cut, weight=2),
    Strike(name="reset", targets=WAYS, act=System.reset, weight=4),
    Strike(name="slow down", targets=WAYS, act=System.slow_down, weight=2),
    *POISONING,
)
KILLS: Final = (Strike(name="kill", targets=INSTANCES, act=System.kill, weight=1, longest=0.5),)


@dataclass(kw_only=True)
class Strikes:
    """Draws strikes from a seed, about one every `pause` seconds. The same seed gives the same strikes."""

    system: System
    kinds: Sequence[Strike]
    random: Random
    pause: float
    tell: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    accidents: list[str] = field(default_factory=list)
    _undo: dict[str, tuple[float, Undo]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def strike_until(self, over: Callable[[], bool]) -> None:
        """Strike until the load is over, then undo every strike."""
        following = time.monotonic()
        while not over():
            if time.monotonic() >= following:
                self._strike()
                following = time.monotonic() + self.pause * self.random.uniform(0.5, 1.5)
            self._undo_until(time.monotonic())
            self.look_for_accidents()
            time.sleep(0.05)
        while self._undo:
            self._undo_until(float("inf"))
            time.sleep(0.05)
        self.look_for_accidents()

    def _strike(self) -> None:
        kind = self.random.choices(self.kinds, [each.weight for each in self.kinds])[0]
        target, length = self.random.choice(kind.targets), self.random.uniform(kind.shortest, kind.longest)
        if target in self._undo:
            return  # it has enough to bear
        self._tell(f"{kind.name} {target}, {length:.1f} s")
        self.done[f"{kind.name} {target}"] += 1
        self._undo[target] = (time.monotonic() + length, kind.act(self.system, target))

    def _undo_until(self, now: float) -> None:
        for target, (due, undo) in list(self._undo.items()):
            if due <= now and undo() is not False:
                del self._undo[target]

    def look_for_accidents(self) -> None:
        """Report each process that ended without a strike, and start it again, as a supervisor does."""
        for name in self.system.died_by_themselves(self._undo.__contains__):
            code = self.system.world.processes[name].returncode
            self.accidents.append(f"{name} ended by itself with {code}: {self.system.end_of(name)}")
            self._tell(f"{name} ended by itself with {code}")
            self.system.world.launch(name)

    def _tell(self, what: str) -> None:
        self.tell(f"{time.monotonic() - self._began:7.1f} s  {what}")
