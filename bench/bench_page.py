"""Make one HTML page of a run: verdicts, plots and tables, without script, and nothing to load from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import Final

from bench.bench_table import measured, values
from bench.costs import LOAD_GENERATOR
from bench.figures import shown
from bench.page import plot, table
from bench.plots import Bar, bars, distribution, legend
from bench.results import Measure, Results, Row

_TITLES: Final = {"bench": "As fast as the machine allows", "scale": "Fuller tables, more instances, slower providers"}
_VERDICTS: Final = {True: "met", False: "not met", None: "-"}
_RATE: Final = "a second"


def page(results: Results) -> str:
    """The whole page."""
    style = (files("bench") / "page.css").read_text(encoding="utf-8")
    title = _TITLES[results.kind]
    body = "\n".join(_sections(results))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<style>{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _sections(results: Results) -> Iterable[str]:
    yield f"<h1>{_TITLES[results.kind]}</h1>"
    yield _guide(results)
    yield _verdict(results)
    yield "<h2>Targets</h2>" + _targets(results.rows)
    yield from _measured(results.measures)
    for profile, milliseconds in results.latencies.items():
        drawn = distribution({"choreography": milliseconds}, unit="ms")
        yield plot(drawn, f"Share of sagas that were over by then, {profile}, of {len(milliseconds)}")
    yield _cpu(results)


def _guide(results: Results) -> str:
    machine, repetitions = results.machine, int(results.settings["repetitions"])
    settings = ", ".join(f"{name} {value}" for name, value in results.settings.items())
    return (
        "<p>Servers, services, load generator and whatever else the machine had to do shared"
        f" {machine['cores']} cores; its load average was {machine['load_average_before']} before the run. Each figure"
        f" is the median of {repetitions} {'repetitions' if repetitions > 1 else 'repetition'}, with the least and the"
        " greatest beside it. Sagas a second are counted from the first tenth of the ends to the last. A latency runs"
        " from the moment an order was due to be sent until its last status was committed in the order service's"
        " database. Every order is one that ends PAID.</p>"
        f'<p class="small">{escape(results.began)}, commit {escape(results.commit)}, {results.seconds:.0f} s,'
        f" {results.orders} orders; Python {escape(str(machine['python']))}, {escape(str(machine['system']))},"
        f" {machine['memory_gib']} GiB of memory; {escape(settings)}.</p>"
    )


def _verdict(results: Results) -> str:
    parts = []
    if results.improper:
        items = "".join(f"<li>{escape(each)}</li>" for each in results.improper)
        count = f"{len(results.improper)} of {results.orders} orders have not ended as they must"
        parts.append(f'<div class="bad">{count}:<ul>{items}</ul></div>')
    else:
        parts.append(f'<p class="good">All {results.orders} accepted orders have ended as they must, to the cent.</p>')
    if results.troubles:
        items = "".join(f"<li>{escape(each)}</li>" for each in results.troubles)
        parts.append(f'<div class="bad">Not as it should be:<ul>{items}</ul></div>')
    return "\n".join(parts)


def _targets(rows: Sequence[Row]) -> str:
    told = [
        (
            f"{row.what}|{row.note}" if row.note else row.what,
            row.asked,
            measured(row),
            _VERDICTS[row.met],
        )
        for row in rows
    ]
    return table(("", "asked for", "measured", ""), told)


def _measured(measures: Sequence[Measure]) -> Iterable[str]:
    for group, members in groupby(measures, key=lambda measure: measure.group):
        found = list(members)
        rows = [(measure.name, *values(measure)) for measure in found]
        yield f"<h2>{escape(group)}</h2>" + table(("", "median", "least to greatest"), rows)
        rates = [measure for measure in found if measure.unit == _RATE]
        if len(rates) > 1:
            # What a bar stands for is told below it in full; before it there is room for a few words.
            drawn = [Bar(label=_short(measure.name), parts=[("choreography", measure.median)]) for measure in rates]
            yield plot(bars(drawn, unit=_RATE), group)


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _cpu(results: Results) -> str:
    names = list(dict.fromkeys(name for each in results.cpu.values() for name in each))
    if not names:
        return ""
    conditions = list(results.cpu)
    rows = [(name, *(shown(results.cpu[each].get(name)) for each in conditions)) for name in names]
    served = [name for name in names if name != LOAD_GENERATOR]
    drawn = [
        Bar(label=_short(each), parts=[(name, results.cpu[each].get(name, 0.0)) for name in served])
        for each in conditions
    ]
    return (
        "<h2>Whose CPU a saga uses</h2>"
        + table(("process", *(f"{each}, ms" for each in conditions)), rows)
        + legend(served)
        + plot(bars(drawn, unit="ms of CPU a saga"), "CPU of a saga by process, without the load generator")
    )
