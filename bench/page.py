"""Make one HTML page of a contrast: tables and plots, without script, and nothing to load from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import Final

from bench.figures import Figure, shown
from bench.plots import Bar, bars, distribution, legend
from bench.report import Recovery, Report
from models.saga import Coordinator

ONE: Final = Coordinator.CHOREOGRAPHY.value
OTHER: Final = Coordinator.ORCHESTRATION.value

_PART_NAMES: Final = {
    "order": "order service",
    "payment": "payment service",
    "rabbitmq": "RabbitMQ",
    "temporal": "Temporal",
    "postgres": "PostgreSQL",
}
_TITLE: Final = "Choreography and orchestration, side by side"


def page(report: Report) -> str:
    """The whole page."""
    style = (files("bench") / "page.css").read_text(encoding="utf-8")
    body = "\n".join(_sections(report))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{_TITLE}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<style>{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _sections(report: Report) -> Iterable[str]:
    yield f"<h1>{_TITLE}</h1>"
    yield _guide(report)
    yield _summary(report)
    yield legend((ONE, OTHER))
    yield _verdict(report)
    yield from _measured(report)
    yield _cpu(report)
    if report.recoveries:
        yield _recoveries(report)
    yield _lines(report)
    rows = [(view.question, view.choreography, view.orchestration) for view in report.views]
    yield "<h2>What you see where</h2>" + table(("", ONE, OTHER), rows, kind="views")


def _guide(report: Report) -> str:
    machine, settings = report.machine, report.settings
    return (
        "<p>The same orders were sent through both coordinators of one running system, in alternating blocks. Servers,"
        f" services and load generator shared {machine['cores']} cores, and the provider answered at once: what is left"
        f" is the cost of coordination. {_repeated(int(settings['repetitions']))}; the ratio is orchestration's figure"
        " divided by choreography's. A latency runs from the moment an order was due to be sent until its last status"
        " was committed in the order service's database (but for the flush of that commit, which is told apart);"
        " orders that were cancelled are left out. Choreography is"
        " measured with its mirror in Temporal, whose work goes on while and after the sagas end. Trust ratios more"
        f" than absolute figures: the machine's load average was {machine['load_average_before']} before the run.</p>"
        f'<p class="small">{escape(report.began)}, {report.seconds:.0f} s, {report.orders} orders; Python'
        f" {escape(str(machine['python']))}, {escape(str(machine['system']))}, {machine['memory_gib']} GiB of memory;"
        f" at most {settings['in_flight']} sagas under way at saturation; half load is"
        f" {settings['half_load_rate']} a second, half of what the slower coordinator kept up with.</p>"
    )


def _summary(report: Report) -> str:
    """The figures that most decisions hang on."""
    wanted = {
        ("Throughput", "sagas at saturation"): "sagas a second at saturation",
        ("Latency at 10 a second", "p50"): "ms from POST to end, p50 at 10 a second",
        ("Cost of a saga, at saturation", "CPU, all processes"): "ms of CPU a saga",
    }
    tiles = [
        (wanted[key], figure.median(ONE), figure.median(OTHER))
        for figure in report.figures
        if (key := (figure.group, figure.name)) in wanted
    ]
    if report.recoveries:
        stalls = (_longest_stall(report, ONE), _longest_stall(report, OTHER))
        tiles.append(("s, the longest stall after a kill", *stalls))
    items = "".join(
        f'<li><span class="{ONE}">{shown(one)}</span> <span class="{OTHER}">{shown(other)}</span>'
        f"<small>{escape(what)}</small></li>"
        for what, one, other in tiles
    )
    return f'<ul class="tiles">{items}</ul>'


def _longest_stall(report: Report, coordinator: str) -> float | None:
    stalls = [each.stall for each in report.recoveries if each.coordinator == coordinator and each.stall is not None]
    return max(stalls, default=None)


def _repeated(repetitions: int) -> str:
    if repetitions == 1:
        return "Each figure comes from a single block"
    return f"Each figure is the median of up to {repetitions} blocks, the least and the greatest below it"


def _verdict(report: Report) -> str:
    if not report.improper:
        return f'<p class="good">All {report.orders} accepted orders have ended as they must, to the cent.</p>'
    items = "".join(f"<li>{escape(each)}</li>" for each in report.improper)
    count = len(report.improper)
    return f'<div class="bad">{count} of {report.orders} orders have not ended as they must:<ul>{items}</ul></div>'


def _measured(report: Report) -> Iterable[str]:
    for group, figures in groupby(report.figures, key=lambda figure: figure.group):
        rows = [_figure(figure) for figure in figures]
        yield f"<h2>{escape(group)}</h2>" + table(("", ONE, OTHER, "ratio"), rows)
        values = report.latencies.get(group.removeprefix("Latency "))
        if values:
            sagas = " and ".join(str(len(each)) for each in values.values())
            yield plot(distribution(values, unit="ms"), f"Share of sagas that were over by then, of {sagas}")
        elif group == "Throughput":
            drawn = [each for each in report.figures if each.group == group and each.unit == "a second"]
            yield plot(bars(_by_coordinator(drawn[0]), unit="sagas a second"), "Sagas a second at saturation")


def _by_coordinator(figure: Figure) -> list[Bar]:
    return [Bar(label=each, parts=[(each, figure.median(each) or 0.0)]) for each in (ONE, OTHER)]


def _cpu(report: Report) -> str:
    names = list(dict.fromkeys(name for each in report.cpu.values() for name in each))
    rows = [
        (name, *(shown(report.cpu.get(each, {}).get(name)) for each in (ONE, OTHER)), *_at_rest(report, name))
        for name in names
    ]
    served = [name for name in names if name in report.cpu_at_rest]
    drawn = [
        Bar(label=each, parts=[(name, report.cpu[each].get(name, 0.0)) for name in served])
        for each in (ONE, OTHER)
        if each in report.cpu
    ]
    return (
        "<h2>Whose CPU a saga uses</h2>"
        "<p>At saturation, less what each process uses at rest; the load generator's is not part of the sum.</p>"
        + table(("process", f"{ONE}, ms", f"{OTHER}, ms", "at rest, % of a core", "memory, MiB"), rows)
        + legend(served)
        + plot(bars(drawn, unit="ms of CPU a saga"), "CPU of a saga by process")
    )


def _at_rest(report: Report, name: str) -> tuple[str, str]:
    return shown(report.cpu_at_rest.get(name)), shown(report.memory.get(name))


def _recoveries(report: Report) -> str:
    columns = ("killed", "coordinator", "back, s", "all over, s", "longest stall, s", "accepted", "refused", "improper")
    drawn = [
        Bar(label=f"{_part(each.killed)}, {each.coordinator}", parts=[(each.coordinator, each.stall or 0.0)])
        for each in report.recoveries
    ]
    return (
        "<h2>After kill -9</h2><p>One part is killed while both coordinators are given orders, and its supervisor"
        " starts it again. <em>Back</em>: until it was ready again. <em>All over</em>: from the kill until every saga"
        " accepted before it, or before the part was back, was over, compensations included; where sagas were not held"
        " up it comes right after <em>back</em>. <em>Longest stall</em>: the longest that one saga took, from the kill"
        " or from its POST, whichever came later. <em>Refused</em>: POSTs answered with an error or not at all, and"
        " until when after the kill. <em>Improper</em>: accepted orders that did not end as they must.</p>"
        + table(columns, [_recovery(each) for each in report.recoveries], text=2)
        + plot(bars(drawn, unit="s"), "The longest stall of a saga")
    )


def _recovery(each: Recovery) -> tuple[str, ...]:
    refused = str(each.refused + each.unanswered)
    if each.refused_until is not None:
        refused += f" (until {shown(each.refused_until)} s)"
    numbers = (shown(each.back), shown(each.over), shown(each.stall), str(each.accepted), refused, str(each.improper))
    return (_part(each.killed), each.coordinator, *numbers)


def _part(name: str) -> str:
    return _PART_NAMES.get(name, name)


def _lines(report: Report) -> str:
    rows = [
        (who, shown(sum(modules.values())), ", ".join(f"{name} {lines}" for name, lines in modules.items()))
        for who, modules in report.lines.items()
    ]
    drawn = [Bar(label=who, parts=[(who, float(sum(modules.values())))]) for who, modules in report.lines.items()]
    return (
        "<h2>Lines of code</h2><p>Without blank lines, comments and docstrings, by who needs the module.</p>"
        + plot(bars(drawn, unit="lines"), "Lines of code by who needs them")
        + "<details><summary>By module</summary>"
        + table(("needed by", "lines", "modules"), rows, kind="views")
        + "</details>"
    )


def _figure(figure: Figure) -> tuple[str, ...]:
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    ratio = figure.ratio(OTHER, ONE)
    return name, *(_value(figure, each) for each in (ONE, OTHER)), f"{shown(ratio)}×" if ratio is not None else "-"  # noqa: RUF001 - the sign


def _value(figure: Figure, coordinator: str) -> str:
    median, spread = shown(figure.median(coordinator)), figure.spread(coordinator)
    if spread is None or len(figure.values[coordinator]) == 1:
        return median
    return f"{median}|{shown(spread[0])} to {shown(spread[1])}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "figures", text: int = 1) -> str:
    """A table; the first `text` columns hold words. What follows a bar in a cell is small print."""
    head = "".join(_cell(column, "th", place < text) for place, column in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(_cell(cell, "th" if not place else "td", place < text) for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str, tag: str, words: bool) -> str:
    value, _, small = cell.partition("|")
    kind = ' class="words"' if words else ""
    told = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(value))
    return f"<{tag}{kind}>{told}{f' <small>{escape(small)}</small>' if small else ''}</{tag}>"


def plot(svg: str, caption: str) -> str:
    """A plot with what it shows below it; nothing where there was nothing to draw."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" if svg else ""
