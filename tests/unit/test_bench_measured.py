"""`make bench` turns measurements into rates, costs, ceilings and verdicts, and keeps a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.compared import Compared
from bench.costs import counted, cpu_of_a_saga, predicted_rate
from bench.facts import End
from bench.footprint import Footprint, Held
from bench.history import append
from bench.load import Placed
from bench.meters import Reading
from bench.page import page
from bench.pgbench import ONE_STATEMENT_EACH, STATEMENT_BY_STATEMENT, PgbenchFailed, told_rate
from bench.raw_broker import PUBLISHED, saga_messages
from bench.report import Notes, Report
from bench.sections import sections
from bench.table import echo
from bench.targets import TARGETS, rows
from bench.trials import PAID, Trial, steady_rate
from bench.watcher import misordered
from bench.workload import sales
from models.lifecycle import OrderStatus, PaymentStatus
from models.messages import decode
from models.saga import Coordinator


def reading(at: float, cpu: Mapping[str, float]) -> Reading:
    counts = dict.fromkeys(("writing_transactions", "wal_bytes", "wal_flushes", "published", "delivered"), 0)
    return Reading(at=at, cpu=cpu, rows={}, wal_flush_ms=0.0, **counts)


@pytest.fixture
def notes() -> Notes:
    found = Notes()
    for rate in (900.0, 1100.0, 1000.0):
        found.note("saturation.on", rate, group="Rates", name="mirrors <working>", unit="a second")
        found.note("saturation.off", 1250.0, group="Rates", name="mirrors off", unit="a second")
    found.note("ceiling.pgbench", 2100.0, group="Ceilings", name="pgbench", unit="a second")
    found.note_latencies("10 a second", "choreography", [8.0, 9.0, 30.0])
    found.note_waits("5 a second", {"charge": [1.5, 3.0, 3.1, 41.0], "first workflow task": [0.5]})
    found.cpu["mirrors off"] = [{"order": 0.4, "gateway": 0.5}, {"order": 0.6, "gateway": 0.5}]
    return found


@pytest.fixture
def report(notes: Notes) -> Report:
    return Report(
        kind="bench",
        began="2026-02-15T01:42:19Z",
        commit="0123456789ab",
        seconds=12.5,
        machine={"cores": 2, "memory_gib": 24.0, "load_average_before": 0.4, "python": "3.11", "system": "Linux"},
        settings={"quick": False, "repetitions": 3, "clients": "8, 16"},
        figures=notes.figures,
        targets=rows({"saturation.on": 1000.0, "saturation.off": 1250.0, "ceiling.pgbench": 2100.0}),
        latencies=notes.latencies,
        waits=notes.waits,
        cpu=notes.cpu_medians(),
        orders=4_000,
        improper=[],
        troubles=["<3.9> messages a saga were published"],
    )


def test_a_rate_is_that_between_the_first_and_the_last_tenth_of_the_ends() -> None:
    even = [number / 100 for number in range(1000)]

    slow_to_start_and_to_finish = [*even, *(10.0 + number for number in range(50)), *(-50.0 + n for n in range(50))]

    assert steady_rate(even) == pytest.approx(100.0)
    assert steady_rate(slow_to_start_and_to_finish) == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize("ends", [[], [1.0], [1.0, 1.0]])
def test_too_few_ends_have_no_rate(ends: list[float]) -> None:
    assert steady_rate(ends) == 0.0


def test_a_saga_costs_what_was_used_beyond_what_is_used_at_rest() -> None:
    used = reading(10.0, {"order": 3.0, "rabbitmq": 1.0, "temporal": 5.0, "gateway": 0.01})
    rest = reading(5.0, {"order": 0.0, "rabbitmq": 0.25, "gateway": 0.5})

    cpu = cpu_of_a_saga(used, rest, 1000)

    assert cpu == {
        "order": pytest.approx(3.0),
        "rabbitmq": pytest.approx(0.5),
        "temporal": pytest.approx(5.0),
        "gateway": 0.0,
    }


def test_temporal_and_the_load_generator_are_not_counted() -> None:
    assert counted({"order": 0.5, "worker": 0.25, "temporal": 9.0, "load generator": 0.3}) == 0.75


def test_two_cores_are_good_for_two_seconds_of_cpu_a_second() -> None:
    assert predicted_rate({"order": 1.0, "gateway": 0.75, "load generator": 0.25}, 2) == pytest.approx(1000.0)


def test_a_footprint_peaks_where_all_together_hold_most() -> None:
    small = {"order": Held(resident=9, proportional=9), "gateway": Held(resident=1, proportional=1)}
    large = {"order": Held(resident=8, proportional=5), "gateway": Held(resident=8, proportional=4)}

    assert Footprint(looks=[small, large]).peak == large
    assert Footprint().peak == {}


def test_pgbench_tells_its_rate() -> None:
    output = "number of failed transactions: 0 (0.000%)\nlatency average = 14.7 ms\ntps = 1086.603314 (without …)\n"

    assert told_rate(output, 0) == pytest.approx(1086.603314)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("tps = 10.0\n", 1),
        ("pgbench: error: connection refused\n", 0),
        ("number of failed transactions: 3 (1.000%)\ntps = 10.0\n", 0),
        ("", 0),
    ],
)
def test_a_ceiling_with_failures_is_none(output: str, code: int) -> None:
    with pytest.raises(PgbenchFailed):
        told_rate(output, code)


def test_the_minimal_sql_of_a_saga_is_four_transactions() -> None:
    lines = STATEMENT_BY_STATEMENT.splitlines()
    inside = False
    alone = 0
    for line in lines:
        inside = line == "BEGIN;" or (inside and line != "COMMIT;")
        alone += not inside and line.startswith(("INSERT", "UPDATE", "WITH"))
    single = [line for line in ONE_STATEMENT_EACH.splitlines() if not line.startswith("\\set")]

    assert lines.count("COMMIT;") + alone == 4
    assert len(single) == 4
    for event_type in ("OrderCreated", "PaymentApproved", "OrderPaid"):
        assert STATEMENT_BY_STATEMENT.count(f"'{event_type}'") == ONE_STATEMENT_EACH.count(f"'{event_type}'") == 1


def test_the_brokers_ceiling_has_the_messages_of_a_saga_in_their_order() -> None:
    messages = saga_messages()
    envelopes = [decode(message.body) for message in messages]

    assert [envelope.event_type for envelope in envelopes] == [
        "CreateOrderRequested",
        "OrderCreated",
        "PaymentApproved",
        "OrderPaid",
    ]
    assert len(messages) == PUBLISHED
    assert len({envelope.order_id for envelope in envelopes}) == 1
    assert not {message.exchange for message in messages} & {"orders.exchange", "payments.exchange"}
    for cause, effect in pairwise(envelopes):
        assert effect.causation_id == cause.event_id


def test_repetitions_are_told_by_their_median_and_groups_stay_together(notes: Notes) -> None:
    notes.note("saturation.slow", 700.0, group="Rates", name="slow", unit="a second")
    notes.note("drain.events", None, group="Mirrors", name="events told", unit="a second")

    assert notes.median("saturation.on") == 1000.0
    assert notes.median("drain.events") is None
    assert [figure.group for figure in notes.figures] == ["Rates", "Rates", "Rates", "Ceilings"]
    assert notes.cpu_medians() == {"mirrors off": {"order": 0.5, "gateway": 0.5}}


def trial(coordinator: Coordinator, *seconds: float, cpu: float) -> Trial:
    """Orders placed at once, each over after so many seconds."""
    (sale,) = islice(sales(coordinator, seed=1, mix=PAID), 1)
    ids = [uuid4() for _ in seconds]
    placed = [Placed(sale=sale, at=0.0, late=0.0, answered=0.5, status=202, order_id=each) for each in ids]
    settled = {"payment": PaymentStatus.APPROVED, "due": None, "total": 1, "captured": 1, "refunded": 0}
    ends = {
        order_id: End(order=OrderStatus.PAID, order_at=at, payment_at=at, **settled)  # type: ignore[arg-type]
        for order_id, at in zip(ids, seconds, strict=True)
    }
    return Trial(
        coordinator=coordinator,
        began=0.0,
        placed=placed,
        ends=ends,
        sagas=len(ids),
        used=reading(10.0, {"order": cpu}),
        own_cpu_ms=0.1,
        footprint=Footprint(),
        caught_up=None,
    )


def test_a_contrast_has_a_column_for_each_coordinator_and_counts_nothing_that_is_used_at_rest() -> None:
    found = Compared(reading(5.0, {"order": 0.5}))
    found.note_saturated(trial(Coordinator.CHOREOGRAPHY, 1.0, 2.0, cpu=1.2))
    found.note_saturated(trial(Coordinator.ORCHESTRATION, 4.0, 10.0, cpu=3.0))
    found.note_latency("at half load", trial(Coordinator.ORCHESTRATION, 4.0, 4.0, 10.0, 10.0, cpu=3.0))

    figures = {figure.key: figure.values for figure in found.notes.figures}
    assert figures["saturation"] == {"choreography": [1.0], "orchestration": [0.2]}
    assert found.half_load == 0.1
    assert figures["cpu"] == {"choreography": [100.0], "orchestration": [1000.0]}
    assert figures["latency.at half load.p50"] == {"orchestration": [4000.0]}
    assert "caught_up" not in figures  # nobody followed
    assert found.notes.cpu_at_rest == {"order": 10.0}


def test_a_target_is_met_at_its_limit_and_missed_beyond_it() -> None:
    medians = {"saturation.on": 1000.0, "ceiling.pgbench": 2000.0, "latency.idle.p99": 25.1, "latency.idle.p50": 11.0}

    verdicts = {row.what: row.met for row in rows(medians)}

    assert verdicts["Sagas a second at saturation ÷ pgbench with the same SQL, statement by statement"] is True
    assert verdicts["POST to terminal status at 10 a second, p50"] is True
    assert verdicts["POST to terminal status at 10 a second, p99"] is False


def test_a_target_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {(row.met, row.measured) for row in rows({})} == {(None, None)}
    assert len(rows({})) == len(TARGETS)


def test_a_get_may_take_half_as_long_again_and_five_milliseconds_at_a_million_orders() -> None:
    at_limit = {"read.one order.beside.1000000.p99": 4.0, "read.one order.1000000.p99": 11.0}
    beyond = at_limit | {"read.one order.1000000.p99": 11.1}

    assert [row.met for row in rows(at_limit) if row.what.startswith("GET")] == [True]
    assert [row.met for row in rows(beyond) if row.what.startswith("GET")] == [False]


def test_events_out_of_order_or_missing_are_noticed_and_repetitions_are_not() -> None:
    good, twice, swapped, short, unheard = (uuid4() for _ in range(5))
    heard = {
        good: ["OrderCreated", "PaymentApproved", "OrderPaid"],
        twice: ["OrderCreated", "OrderCreated", "PaymentApproved", "OrderPaid", "PaymentApproved"],
        swapped: ["OrderCreated", "OrderPaid", "PaymentApproved"],
        short: ["OrderCreated", "PaymentApproved"],
    }

    assert misordered(heard, [good, twice, swapped, short, unheard]) == [swapped, short, unheard]


def test_the_page_is_well_formed_and_tells_every_verdict(report: Report) -> None:
    html = page(report)

    ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    assert "mirrors &lt;working&gt;" in html
    assert "&lt;3.9&gt; messages a saga were published" in html
    for row in report.targets:
        assert row.what.split("`")[0][:12].replace("<", "&lt;") in html
    assert "http://" not in html and "https://" not in html and "<script" not in html


def test_the_terminal_is_told_what_was_asked_and_measured(report: Report) -> None:
    console = Console(record=True, width=200, file=StringIO())

    echo(report, console)

    told = console.export_text()
    assert "900 to 1,100" in told
    assert "≥ 0.8" in told and "0.800" in told
    assert "not measured in this run" in told


def test_tasks_are_counted_by_how_long_they_stood_and_percentiles_are_told_where_there_are_enough(
    report: Report,
) -> None:
    (section,) = [each for each in sections(report) if each.kind == "waits"]

    assert section.columns == (
        "",
        "tasks",
        "p50",
        "p95",
        "≤ 2",
        "≤ 5",
        "≤ 10",
        "≤ 20",
        "≤ 50",
        "≤ 100",
        "≤ 1000",
        "more",
    )
    assert section.rows == [
        ("charge, 5 a second", "4", "3", "-", "1", "2", "", "", "1", "", "", ""),
        ("first workflow task, 5 a second", "1", "-", "-", "1", "", "", "", "", "", "", ""),
    ]


def test_json_gives_back_the_same_report(report: Report) -> None:
    assert Report.from_json(report.as_json()).as_json() == report.as_json()


def test_the_history_has_one_line_a_run(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"

    append(report, file)
    append(replace(report, commit="ba9876543210+"), file)

    first, second = map(json.loads, file.read_text().splitlines())
    assert first["commit"] == "0123456789ab" and second["commit"] == "ba9876543210+"
    assert first["medians"]["saturation.on"] == 1000.0
    ratio = first["targets"]["Sagas a second, mirrors on ÷ off"]
    assert ratio == {"measured": 0.8, "met": True}
    assert "Orchestrated sagas a second ÷ plain workflows of three activities" not in first["targets"]
