"""The page of a contrast needs no network, is well-formed XML, and says what its report says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.figures import Figure
from bench.lines import lines_needed
from bench.page import page
from bench.plots import Bar, bars, distribution
from bench.report import Recovery, Report
from bench.table import echo

BOTH = ("choreography", "orchestration")


def recovery(coordinator: str, stall: float | None) -> Recovery:
    return Recovery(
        killed="order",
        coordinator=coordinator,
        back=2.0,
        over=stall and stall + 2.0,
        stall=stall,
        accepted=40,
        refused=3,
        unanswered=1,
        refused_until=1.5,
        improper=0,
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return Report(
        kind="contrast",
        began="2026-02-15T01:42:19Z",
        commit="0123456789ab",
        seconds=81.5,
        machine={"cores": 2, "memory_gib": 24.0, "load_average_before": 0.4, "python": "3.11", "system": "Linux"},
        settings={"orders": 400, "repetitions": 3, "in_flight": 200, "half_load_rate": 21.5},
        figures=[
            Figure(
                key="saturation",
                group="Throughput",
                name="sagas at saturation",
                unit="a second",
                values={"choreography": [610.0, 640.0, 625.0], "orchestration": [43.0]},
            ),
            Figure(
                key="latency.at half load.p50",
                group="Latency at half load",
                name="p50",
                unit="ms",
                values={"choreography": [12.0, 14.0, 13.0], "orchestration": [65.0, 70.0]},
            ),
        ],
        latencies={"at half load": {"choreography": [11.0, 12.5, 19.0], "orchestration": [60.0, 70.0, 300.0]}},
        cpu={each: {"order": 1.0, "temporal": 20.0, "load generator": 0.3} for each in BOTH},
        cpu_at_rest={"order": 0.3, "temporal": 2.0},
        memory={"order": 140.0, "temporal": 250.0},
        recoveries=[recovery("choreography", 1.7), recovery("orchestration", None)],
        orders=2345,
        improper=[],
        lines=lines_needed(),
    )


class Collector(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Collector:
    collector = Collector()
    collector.feed(html)
    return collector


def test_the_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    html = page(report)
    found = read(html)
    assert not found.tags & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "video",
        "audio",
        "base",
        "image",
        "use",
    }
    assert not {name for name, _ in found.attributes} & {"src", "href", "srcset", "data", "action", "xlink:href"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not re.search(r"https?:|//[a-z]|url\(|@import|data:", html)


def test_the_page_is_well_formed(report: Report) -> None:
    html = page(report)
    ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def test_the_page_tells_every_figure(report: Report) -> None:
    text = read(page(report)).text
    for expected in ("625", "610 to 640", "43", "13", "67.5", "0.069×", "5.19×", "until 1.50 s", "2345"):  # noqa: RUF001
        assert expected in text, expected
    assert "All 2345 accepted orders have ended as they must" in text


def test_orders_that_ended_other_than_they_must_are_told_of(report: Report) -> None:
    bad = replace(report, improper=["<b>019c</b>: PAID, payment None"])
    text = read(page(bad)).text
    assert "1 of 2345 orders have not ended as they must" in text
    assert "<b>019c</b>: PAID, payment None" in text  # as text, not as a tag


def test_a_run_without_kills_has_no_section_about_them(report: Report) -> None:
    assert "After kill -9" in page(report)
    assert "After kill -9" not in page(replace(report, recoveries=[]))


def test_a_report_written_as_json_is_read_as_it_was(report: Report) -> None:
    again = Report.from_json(report.as_json())
    assert again.as_json() == report.as_json()
    assert page(again) == page(report)


def test_the_terminal_tells_the_same(report: Report) -> None:
    console = Console(width=160, file=StringIO())
    with console.capture() as capture:
        echo(report, console)
    text = capture.get()
    for expected in ("625 (610 to 640)", "0.069×", "4 (until 1.50 s)", "All 2345 accepted orders"):  # noqa: RUF001
        assert expected in text, expected


def test_a_distribution_reaches_from_nobody_to_all() -> None:
    svg = ElementTree.fromstring(distribution({"one": [1.0, 2.0, 5.0, 100.0], "other": []}, unit="ms", height=260))
    lines = [each for each in svg if each.tag == "polyline"]
    assert [each.get("class") for each in lines] == ["curve one"]
    points = [tuple(map(float, point.split(","))) for point in (lines[0].get("points") or "").split()]
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    ticks = {each.text for each in svg if each.tag == "text"}
    assert {"1", "10", "100", "95%", "ms, logarithmic"} <= ticks
    assert points[0][1] == max(y for _, y in points)
    assert points[-1] == (max(x for x, _ in points), min(y for _, y in points))


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    rows = [Bar(label="a & b", parts=[("one", 30.0), ("other", 10.0)]), Bar(label="c", parts=[("one", 20.0)])]
    svg = ElementTree.fromstring(bars(rows, unit="ms"))
    widths = [float(each.get("width") or 0) for each in svg if each.tag == "rect"]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert widths[2] == pytest.approx(2 * widths[1], abs=0.2)
    texts = {each.text for each in svg if each.tag == "text"}
    assert {"a & b", "c", "40", "20", "ms"} <= texts


def test_a_chart_without_values_is_drawn_empty() -> None:
    assert distribution({"one": []}, unit="ms") == ""
    assert bars([], unit="ms") == bars([Bar(label="a", parts=[("one", 0.0)])], unit="ms") == ""
