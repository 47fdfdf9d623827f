"""Keep the console open for hours beside a trickle of orders: `python -m tests.soak.console --minutes 120`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Final
from uuid import UUID

import psutil
from playwright.sync_api import Browser, Page, expect

from bench.workload import Kind, Sale
from models.saga import Coordinator
from tests.soak.measures import MIB
from tests.soak.report import table
from tests.soak.verdict import Judgement, Rule, Sample, judge
from tests.support.browser import chromium, load, opened
from tests.support.load import Load
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET

RATE: Final = 0.5  # orders a second
CANCELLED: Final = 5  # one order in so many is cancelled
METHODS: Final = ("pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_error")
WARM: Final = 900.0  # seconds until caches and heaps are as full as they get
_PATIENCE: Final = 300_000  # milliseconds: a machine with much else to do is no fault of the page
_COUNTED: Final = {"JSHeapUsedSize": "heap", "Nodes": "nodes", "JSEventListeners": "listeners"}
_WALK: Final = ("#/", "#/twins", "#/letters", "#/system", "first saga")


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, too, stops what was started here
    with _stack(arguments.data, arguments.port_offset) as stack, chromium() as browser:
        samples, findings = watch(browser, stack, minutes=arguments.minutes, every=arguments.every)
    judgements = judge(samples, rule_of)
    print(table(judgements), flush=True)
    if arguments.json:
        _write(arguments.json, samples, judgements)
    findings += [f"{each.measure} {each.fault}" for each in judgements if each.fault]
    for finding in findings:
        print(f"FOUND {finding}")
    print(f"{len(findings)} findings, {len(samples)} samples")
    sys.exit(1 if findings else 0)


def rule_of(measure: str) -> Rule | None:
    """How much more each measure may be in the last third of the time than in the middle one."""
    kind, _, subject = measure.partition(" of ")
    match kind:
        case "memory":  # of a renderer it is only told: Chromium keeps freed pages as it likes
            # The gateway keeps how the newest 5,000 sagas stand while somebody views, so it grows until then.
            return Rule(share=0.05, slack=8 * MIB, after=WARM) if subject == "gateway" else None
        case "heap":
            return Rule(share=0.05, slack=MIB, after=WARM)
        case "nodes":
            return Rule(share=0.05, slack=300, after=WARM)
        case "listeners":
            return Rule(share=0.05, slack=20, after=WARM)
        case _:
            return None


def watch(browser: Browser, stack: OwnStack, *, minutes: float, every: float) -> tuple[list[Sample], list[str]]:
    """Let one page stay on the list and another one walk through all views, and measure both `every` so many seconds.

    Returns the samples and what was wrong besides.
    """
    load = Load([stack.urls["gateway"]], patient=False, timeout=30)
    with ThreadPoolExecutor(1) as pool, opened(browser) as staying, opened(browser) as walking:
        placing = pool.submit(load.run, islice(sales(), round(60 * minutes * RATE)), rate=RATE)
        try:
            samples = _measure(stack, staying, walking, placing, every=every)
        finally:
            load.give_up()  # else the pool waits for the rest of it
    print(f"accepted {len(load.accepted)} orders; answers {dict(load.answers)}", flush=True)
    placing.result()
    return samples, [f"{times} times: {what}" for what, times in load.wrong.items()]


def sales() -> Iterator[Sale]:
    """Endless orders for both coordinators in turn."""
    for number in count():
        yield Sale.of(
            Kind(
                payment_method=METHODS[number // 2 % len(METHODS)],
                cancel_after=3.0 if number % CANCELLED == 0 else None,
            ),
            list(Coordinator)[number % 2],
            user_id=UUID(USER),
            total=499 + number,
            key=None,
        )


def _measure(stack: OwnStack, staying: Page, walking: Page, placing: Future[None], *, every: float) -> list[Sample]:
    pages = {"the list": Meter(staying), "all views": Meter(walking)}
    for page in (staying, walking):
        page.set_default_timeout(_PATIENCE)
        load(page, f"{stack.urls['gateway']}/#/")
    gateway = stack.living()["gateway"]
    samples: list[Sample] = []
    began = time.monotonic()
    while not placing.done():
        newest = _newest(staying)
        _scroll(staying)
        _walk(walking)
        while time.monotonic() < began + len(samples) * every and not placing.done():
            staying.wait_for_timeout(500)
        assert placing.done() or _newest(staying) != newest, "the list stands still"
        values = {"memory of gateway": float(psutil.Process(gateway).memory_info().rss), **_renderers()}
        for name, meter in pages.items():
            values.update({f"{kind} of {name}": value for kind, value in meter.read().items()})
        samples.append(Sample(at=time.monotonic() - began, values=values))
        print(json.dumps({"at": round(samples[-1].at), **values}), flush=True)
    return samples


class Meter:
    """What the scripts of a page hold, after what nobody holds any more has been swept."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def read(self) -> dict[str, float]:
        """`heap` in bytes, `nodes` of the document, and `listeners`."""
        self._session.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in self._session.send("Performance.getMetrics")["metrics"]}
        return {ours: float(metrics[theirs]) for theirs, ours in _COUNTED.items()}


def _newest(page: Page) -> str | None:
    """The order in the first row of the list, which must be live."""
    expect(page.locator("#stream")).to_have_text("live", timeout=_PATIENCE)
    return page.locator("tr[data-order]").first.get_attribute("data-order")


def _scroll(page: Page) -> None:
    for distance in (1200, 1200, -2400):
        page.mouse.wheel(0, distance)
        page.wait_for_timeout(200)


def _walk(page: Page) -> None:
    """Visit each view once, and end on the list."""
    for view in (*_WALK, _WALK[0]):
        if view.startswith("#"):
            page.evaluate("(view) => { location.hash = view; }", view)
        else:
            page.evaluate("() => { location.hash = '#/'; }")
            page.locator("tr[data-order] a").first.click()
            page.locator(".seq").first.wait_for()
        page.locator("main h1").first.wait_for(state="attached")
        page.wait_for_timeout(1000)


def _renderers() -> dict[str, float]:
    """The memory of the browser's pages, the smallest first."""
    found = [each for each in psutil.Process().children(recursive=True) if "--type=renderer" in each.cmdline()]
    sizes = sorted(float(each.memory_info().rss) for each in found)
    return {f"memory of renderer {number}": size for number, size in enumerate(sizes, 1)}


def _write(path: Path, samples: Sequence[Sample], judgements: Sequence[Judgement]) -> None:
    content = {"samples": [asdict(each) for each in samples], "judgements": [asdict(each) for each in judgements]}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


@contextmanager
def _stack(data: Path | None, offset: int) -> Iterator[OwnStack]:
    """The stack that runs on this folder of data, or one of its own that ends with the context."""
    if data is not None:
        yield OwnStack(data, offset)
        return
    with tempfile.TemporaryDirectory(prefix="console-soak-") as folder:
        stack = OwnStack(Path(folder) / "data", offset)
        try:
            stack.up()
            yield stack
        finally:
            stack.down()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.console", description="An open page that must not grow."
    )
    parser.add_argument("--minutes", type=float, default=120.0, help="how long the page is open")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two readings")
    parser.add_argument("--data", type=Path, help="of a stack that runs already; default: one of its own")
    parser.add_argument("--port-offset", type=int, default=OFFSET + 700, help="of the stack's ports")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
