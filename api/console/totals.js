/** The strip of figures: how sagas stand, by outcome and coordinator, and how many move. */

import { h, s, say } from "./dom.js";
import { count, rate } from "./format.js";

const TILES = [
  ["PENDING_PAYMENT", "under way"],
  ["PAID", "paid"],
  ["CANCELLED", "cancelled"],
  ["FAILED", "failed"],
];
const WIDTH = 240;
const HEIGHT = 34;
const POINTS = 60; // seconds

export function totalsStrip(store, choose) {
  const tiles = TILES.map(([status, text]) => tile(status, text, choose));
  const started = h("strong", {}, "0.0");
  const ended = h("strong", {}, "0.0");
  const line = s("path", { class: "events" });
  const chart = s("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, line);
  const rates = h("div", { class: "tile rates" }, h("p", {}, started, " begin, ", ended, " end a second"), chart);
  const element = h("section", { class: "totals", "aria-label": "Totals" }, tiles.map((each) => each.element), rates);
  function draw() {
    for (const each of tiles) each.draw(store.totals);
    say(started, rate(store.rate("started")));
    say(ended, rate(store.rate("ended")));
    const drawn = path(store.rates);
    if (line.getAttribute("d") !== drawn) line.setAttribute("d", drawn);
  }
  return { element, draw, mark: (status) => tiles.forEach((each) => each.mark(status)) };
}

function tile(status, text, choose) {
  const number = h("strong", {}, "–");
  const parts = ["choreography", "orchestration"].map((coordinator) => ({ coordinator, bar: h("span", { class: coordinator }), words: h("small", { class: coordinator }) }));
  let marked = false;
  const button = h(
    "button",
    { class: `tile ${status.toLowerCase()}`, "aria-pressed": "false", on: { click: () => choose(marked ? "" : status) } },
    number,
    h("span", { class: "name" }, text),
    h("span", { class: "split", "aria-hidden": "true" }, parts.map(({ bar }) => bar)),
    h("span", { class: "parts" }, parts.map(({ words }) => words)),
  );
  function draw(totals) {
    if (!totals) return;
    say(number, count(totals.byStatus[status] ?? 0));
    for (const { coordinator, bar, words } of parts) {
      const found = totals.byCoordinator?.[coordinator]?.[status] ?? 0;
      if (bar.style.flexGrow !== String(found)) bar.style.setProperty("flex-grow", String(found));
      say(words, `${count(found)} ${coordinator}`);
    }
  }
  function mark(chosen) {
    marked = chosen === status;
    button.setAttribute("aria-pressed", String(marked));
  }
  return { element: button, draw, mark };
}

/** Events a second over the last minute, as one line. */
function path(rates) {
  const now = Date.now();
  const seconds = new Array(POINTS).fill(0);
  for (const each of rates) {
    const age = Math.floor((now - each.at) / 1000);
    if (age < POINTS) seconds[POINTS - 1 - age] += each.events;
  }
  const most = Math.max(4, ...seconds);
  const point = (value, index) => `${((index / (POINTS - 1)) * WIDTH).toFixed(1)} ${(HEIGHT - 2 - (value / most) * (HEIGHT - 6)).toFixed(1)}`;
  return `M${seconds.map(point).join("L")}`;
}
