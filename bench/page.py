"""Make one HTML page of a measurement: tables and plots, without script, and nothing to load from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from bench.costs import LOAD_GENERATOR
from bench.figures import shown
from bench.plots import Bar, bars, distribution, legend
from bench.report import Report
from bench.sections import ONE, OTHER, Section, sections, verdict

_TITLES: Final = {
    "bench": "As fast as the machine allows",
    "scale": "Fuller tables, more instances, slower providers",
    "contrast": "Choreography and orchestration, side by side",
}
# What a table needs to be understood; the others speak for themselves.
_INTRODUCTIONS: Final[Mapping[str, str]] = {
    "waits": "How many tasks of Temporal stood how long between scheduled and started: nobody worked on them.",
    "cpu": "Less what each process uses at rest; the load generator's is not part of the sum.",
    "recoveries": "One part is killed while both coordinators are given orders, and its supervisor starts it again."
    " <em>Back</em>: until it was ready again. <em>All over</em>: from the kill until every saga accepted before it, or"
    " before the part was back, was over, compensations included; where sagas were not held up it comes right after"
    " <em>back</em>. <em>Longest stall</em>: the longest that one saga took, from the kill or from its POST, whichever"
    " came later. <em>Refused</em>: POSTs answered with an error or not at all, and until when after the kill."
    " <em>Improper</em>: accepted orders that did not end as they must.",
    "lines": "Without blank lines, comments and docstrings, by who needs the module.",
}
_GUIDE: Final = (
    "Servers, services, load generator and whatever else the machine had to do shared {cores} cores; its load average"
    " was {busy} before the run: trust ratios more than absolute figures. Each figure is the median of up to"
    " {repetitions}, with the least and the greatest below it. A latency runs from the moment an order was due to be"
    " sent until its last status was committed in the order service's database. "
)
_GUIDE_TO: Final = {
    "contrast": "The same orders were sent through both coordinators of one running system, in alternating blocks, and"
    " the provider answered at once: what is left is the cost of coordination. The ratio is orchestration's figure"
    " divided by choreography's. Orders that were cancelled have no latency here; the flush of a commit comes after"
    " the time that was taken of it, and is told apart. Choreography is measured with its mirror in Temporal, whose"
    " work goes on while and after the sagas end.",
    "bench": "Sagas a second are counted from the first tenth of the ends to the last. Every order is one that ends"
    " PAID.",
}
_LABEL: Final = 28  # characters before a bar
# The figures that most decisions between the coordinators hang on.
_TILES: Final = {
    "saturation": "sagas a second at saturation",
    "latency.at 10 a second.p50": "ms from POST to end, p50 at 10 a second",
    "cpu": "ms of CPU a saga",
}


def page(report: Report) -> str:
    """The whole page."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    body = "\n".join(_parts(report))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{_TITLES[report.kind]}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<style>{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _parts(report: Report) -> Iterator[str]:
    yield f"<h1>{_TITLES[report.kind]}</h1>"
    yield _guide(report)
    if report.kind == "contrast":
        yield _tiles(report) + legend((ONE, OTHER))
    good = f'<p class="good">{verdict(report)}</p>'
    yield _bad(f"{verdict(report)}:", report.improper) if report.improper else good
    yield _bad("Not as it should be:", report.troubles) if report.troubles else ""
    drawn: set[str] = set()
    for section in sections(report):
        if section.kind == "cpu":  # all figures have been told
            yield from (_distribution(report, profile) for profile in report.latencies if profile not in drawn)
        introduction = _INTRODUCTIONS.get(section.kind)
        yield f"<h2>{escape(section.title)}</h2>" + (f"<p>{introduction}</p>" if introduction else "")
        yield _table(section)
        yield _plot(report, section)
        for profile in report.latencies if section.kind == "figures" else ():
            if section.title.endswith(profile):
                drawn.add(profile)
                yield _distribution(report, profile)


def _guide(report: Report) -> str:
    machine = report.machine
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    shared = _GUIDE.format(
        cores=machine["cores"], busy=machine["load_average_before"], repetitions=report.settings["repetitions"]
    )
    return (
        f"<p>{shared}{_GUIDE_TO.get(report.kind, _GUIDE_TO['bench'])}</p>"
        f'<p class="small">{escape(report.began)}, commit {escape(report.commit)}, {report.seconds:.0f} s,'
        f" {report.orders} orders; Python {escape(str(machine['python']))}, {escape(str(machine['system']))},"
        f" {machine['memory_gib']} GiB of memory; {escape(settings)}.</p>"
    )


def _tiles(report: Report) -> str:
    tiles = [
        (_TILES[figure.key], figure.median(ONE), figure.median(OTHER))
        for figure in report.figures
        if figure.key in _TILES
    ]
    if report.recoveries:
        stalls = _longest_stall(report, ONE), _longest_stall(report, OTHER)
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


def _bad(what: str, items: Sequence[str]) -> str:
    return f'<div class="bad">{escape(what)}<ul>{"".join(f"<li>{escape(each)}</li>" for each in items)}</ul></div>'


def _plot(report: Report, section: Section) -> str:
    match section.kind:
        case "figures":
            rates = [each for each in report.figures if each.group == section.title and each.unit == "a second"]
            if report.kind == "contrast":
                rows = [
                    Bar(label=name, parts=[(name, each.median(name) or 0.0)]) for each in rates for name in (ONE, OTHER)
                ]
            else:  # what a bar stands for is told above it in full; before it there is room for a few words
                rows = [Bar(label=_short(each.name), parts=[(ONE, each.median() or 0.0)]) for each in rates]
            return _figure(bars(rows if len(rows) > 1 else [], unit="a second"), f"{section.title}, a second")
        case "cpu":
            served = [name for name in (row[0] for row in section.rows) if name != LOAD_GENERATOR]
            rows = [
                Bar(label=_short(each), parts=[(name, used.get(name, 0.0)) for name in served])
                for each, used in report.cpu.items()
            ]
            drawn = bars(rows, unit="ms of CPU a saga")
            return legend(served) + _figure(drawn, "CPU of a saga by process, without the load generator")
        case "recoveries":
            rows = [
                Bar(label=f"{each.killed}, {each.coordinator}", parts=[(each.coordinator, each.stall or 0.0)])
                for each in report.recoveries
            ]
            return _figure(bars(rows, unit="s"), "The longest stall of a saga")
        case "lines":
            rows = [Bar(label=who, parts=[(who, float(sum(lines.values())))]) for who, lines in report.lines.items()]
            told = [
                f"{who}: " + ", ".join(f"{name} {lines}" for name, lines in modules.items())
                for who, modules in report.lines.items()
            ]
            items = "".join(f"<li>{escape(each)}</li>" for each in told)
            return _figure(bars(rows, unit="lines"), "Lines of code by who needs them") + (
                f"<details><summary>By module</summary><ul>{items}</ul></details>"
            )
        case "targets" | "waits":
            return ""


def _distribution(report: Report, profile: str) -> str:
    values = report.latencies[profile]
    sagas = " and ".join(str(len(each)) for each in values.values())
    return _figure(distribution(values, unit="ms"), f"Share of sagas that were over by then, {profile}, of {sagas}")


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"


def _table(section: Section) -> str:
    head = "".join(_cell(column, "th", place < section.words) for place, column in enumerate(section.columns))
    body = "".join(
        "<tr>"
        + "".join(_cell(cell, "td" if place else "th", place < section.words) for place, cell in enumerate(row))
        + "</tr>"
        for row in section.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str, tag: str, words: bool) -> str:
    value, _, small = cell.partition("|")
    kind = ' class="words"' if words else ""
    told = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(value))
    return f"<{tag}{kind}>{told}{f' <small>{escape(small)}</small>' if small else ''}</{tag}>"


def _figure(svg: str, caption: str) -> str:
    """A plot with what it shows below it; nothing where there was nothing to draw."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" if svg else ""
