"""Turn stretches of load and ceilings into figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from bench.backlog import Drained
from bench.costs import LOAD_GENERATOR, counted, cpu_of_a_saga, predicted_rate
from bench.figures import percentiles, quantile
from bench.meters import Reading
from bench.report import Notes
from bench.trials import Trial
from bench.wal import SHARED

RATES: Final = "Sagas a second at saturation"
CEILINGS: Final = "Ceilings of the same servers in the same run"
COSTS: Final = "What a saga costs"
MEMORY: Final = "Memory of the four processes at saturation"
MIRRORS: Final = "The mirrors' backlog, after the last saga has ended"
STARTS: Final = "Start"
_MIB: Final = 2**20


def note_rate(notes: Notes, condition: str, trial: Trial, *, name: str) -> None:
    """Note how many sagas a second ended, and how many POSTs were refused."""
    notes.note(f"saturation.{condition}", trial.rate, group=RATES, name=name, unit="a second")
    if trial.refused:
        notes.troubles.append(f"{trial.refused} of {len(trial.placed)} POSTs were refused at saturation, {name}")


def note_cpu(notes: Notes, condition: str, trial: Trial, used: Reading, rest: Reading | None, *, name: str) -> None:
    """Note the milliseconds of CPU of each process for each saga of the stretch."""
    cpu = cpu_of_a_saga(used, rest, trial.sagas)
    every = {**cpu, LOAD_GENERATOR: trial.own_cpu_ms}
    notes.cpu.setdefault(name, []).append(every)
    if condition == "off":
        cores = len(os.sched_getaffinity(0))
        what = f"predicted by the CPU of a saga on {cores} cores, {name}"
        notes.note("model.off", predicted_rate(every, cores), group=RATES, name=what, unit="a second")
    for key, milliseconds, what in (
        (f"cpu.{condition}", counted(cpu), "CPU without Temporal"),
        (f"cpu.{condition}.all", sum(cpu.values()), "CPU of all processes"),
    ):
        notes.note(key, milliseconds, group=COSTS, name=f"{what}, {name}", unit="ms")


def note_memory(notes: Notes, condition: str, trial: Trial, *, name: str) -> None:
    """Note the most memory that our four processes held together."""
    peak = trial.footprint.peak
    resident = {each: held.resident / _MIB for each, held in peak.items()}
    proportional = {each: held.proportional / _MIB for each, held in peak.items()}
    for kind, word, sizes in (("rss", "resident", resident), ("pss", "proportional", proportional)):
        if not condition:
            for each, size in sizes.items():
                notes.note(f"memory.{each}.{kind}", size, group=MEMORY, name=f"{each}, {word}", unit="MiB")
        key = f"memory.{condition}.{kind}" if condition else f"memory.{kind}"
        notes.note(key, sum(sizes.values()), group=MEMORY, name=f"all four, {word}{name}", unit="MiB")


def note_latency(notes: Notes, key: str, trial: Trial, *, name: str) -> None:
    """Milliseconds from POST to the commit of the order's last status, and how late the load generator itself was."""
    values = trial.latencies
    if not values:
        notes.troubles.append(f"Not one saga ended, {name}")
        return
    note_percentiles(notes, key, values, name=name, series=trial.coordinator.value)
    late = quantile([1000 * placed.late for placed in trial.placed], 0.99)
    what = "of it the load generator's, p99"
    notes.note(f"latency.{key}.late", late, group=group_of_latencies(name), name=what, unit="ms")


def note_percentiles(notes: Notes, key: str, values: Sequence[float], *, name: str, series: str) -> None:
    """The percentiles that so many milliseconds from begin to end can tell, and their distribution."""
    notes.note_latencies(name, series, values)
    for percentile, value in percentiles(values).items():
        notes.note(f"latency.{key}.{percentile}", value, group=group_of_latencies(name), name=percentile, unit="ms")


def group_of_latencies(name: str) -> str:
    """The title of a group of latencies."""
    return f"POST to terminal status, ms, {name}"


def note_drained(notes: Notes, drained: Drained) -> None:
    """Note how fast the backlog was worked off."""
    notes.note("drain.waiting", drained.events, group=MIRRORS, name="events that waited", unit="")
    notes.note("drain.events", drained.events_rate, group=MIRRORS, name="events told", unit="a second")
    notes.note("drain.open", drained.sagas, group=MIRRORS, name="sagas whose mirror was open", unit="")
    notes.note("drain.sagas", drained.sagas_rate, group=MIRRORS, name="mirrors closed", unit="a second")
    notes.note("drain.seconds", drained.seconds, group=MIRRORS, name="until all had closed", unit="s")


def note_counts(notes: Notes, used: Reading, wal: Mapping[str, int], sagas: int, *, expected: int) -> None:
    """What the servers counted for each of so many sagas; other than `expected` messages is noted as trouble."""
    for name, size in wal.items():
        key = f"wal.{name}" if name != SHARED else "wal.rest"
        notes.note(key, size / sagas, group=COSTS, name=f"write-ahead log, {name}", unit="bytes")
    notes.note("wal", sum(wal.values()) / sagas, group=COSTS, name="write-ahead log, all in all", unit="bytes")
    flushes = used.wal_flushes / sagas
    notes.note("wal.flushes", flushes, group=COSTS, name="flushes of the write-ahead log", unit="")
    written = used.writing_transactions / sagas
    notes.note("transactions", written, group=COSTS, name="transactions that wrote", unit="")
    published, delivered = used.published / sagas, used.delivered / sagas
    notes.note("messages.published", published, group=COSTS, name="messages published", unit="")
    notes.note("messages.delivered", delivered, group=COSTS, name="messages delivered", unit="")
    if round(published, 1) != expected:
        notes.troubles.append(f"{published:.2f} messages a saga were published, and {expected} were expected")
