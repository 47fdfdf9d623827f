/** Compare two sagas: the facts, which must be equal, and the prices, which differ. */

import { COORDINATORS, coordinatorTag, h } from "./dom.js";
import { count, duration, money } from "./format.js";

const FACTS = [
  ["Order", ({ order }) => order?.status],
  ["Reason", ({ order }) => order?.cancelReason ?? "–"],
  ["Payment", ({ payment }) => payment?.status ?? "–"],
  ["Amount", ({ order }) => money(order?.total, order?.currency)],
  ["Events of the order", (saga) => eventsOf(saga, "order")],
  ["Events of the payment", (saga) => eventsOf(saga, "payment")],
];
// Each price with whether a ratio tells something of the coordinators: not where the provider's time is part of it.
const PRICES = [
  ["Time until the order is settled", settled, duration, false],
  ["Time that the provider took of it", provider, duration, false],
  ["Time until settled, without the provider’s", (saga) => less(settled(saga), provider(saga)), duration, true],
  ["Time from cancellation to refund, with the provider’s", refunded, duration, false],
  ["Messages published", ({ cost }) => cost?.messages, count, true],
  ["Transactions that changed a row", ({ cost }) => cost?.transactions, count, true],
  ["Rows in the order’s database", ({ cost }) => cost?.rows?.orders, count, true],
  ["Rows in the payment’s database", ({ cost }) => cost?.rows?.payments, count, true],
  ["Events in the histories of its workflow’s runs", ({ cost }) => cost?.historyEvents, count, true],
];

function eventsOf({ events }, service) {
  const found = events.filter((event) => (event.service ?? event.actor ?? "").startsWith(service));
  return found.map((event) => event.eventType).join(", ") || "–";
}

function when({ events }, ...types) {
  const found = events.find((event) => types.includes(event.eventType));
  return found ? Date.parse(found.at) : null;
}

function less(one, other) {
  return one === null || other === null ? null : one - other;
}

function settled(saga) {
  return less(when(saga, "OrderPaid", "OrderFailed", "OrderCancelled"), when(saga, "OrderCreated"));
}

/** From the commit that makes the charge due to the commit of its answer. */
function provider(saga) {
  const asked = saga.payment ? Date.parse(saga.payment.createdAt) : null;
  return less(when(saga, "PaymentApproved", "PaymentDeclined", "PaymentFailed"), asked);
}

function refunded(saga) {
  return less(when(saga, "PaymentRefunded"), when(saga, "OrderCancelled"));
}

/** A table of facts, each with its verdict. */
export function equalFacts(pair) {
  const rows = FACTS.map(([name, read]) => {
    const [one, other] = pair.map(read);
    const equal = one === other;
    return row([h("th", { scope: "row", role: "rowheader" }, name), cell({}, one), cell({ class: "verdict" }, equal ? "=" : "≠"), cell({}, other)], equal ? "same" : "other");
  });
  const heads = ["", coordinatorTag(COORDINATORS[0]), h("span", { class: "unseen" }, "equal"), coordinatorTag(COORDINATORS[1])];
  return section("facts", "What they leave is equal", "compared", heads, rows);
}

const ONE_RUN = "This is one run, no measurement: times differ from run to run. docs/contrast.md has measured figures.";
const CPU = "not known: both sagas ran in the same processes at the same time. docs/contrast.md has it, measured one coordinator after the other.";

/** A table of prices, with a bar for each. */
export function prices(pair) {
  const priced = PRICES.map(([name, read, write, compared]) => ({ name, write, compared, values: pair.map((saga) => read(saga) ?? null) }));
  const rows = priced.filter(({ values }) => values.some((value) => value !== null)).map(({ name, write, compared, values }) => {
    const most = Math.max(...values.map((value) => value ?? 0), 1);
    return row([
      h("th", { scope: "row", role: "rowheader" }, name),
      values.map((value, index) => cell({ class: "price" }, h("span", { class: "figure" }, write(value)), bar(value, most, COORDINATORS[index]))),
      cell({ class: "number" }, compared ? ratio(values) : ""),
    ]);
  });
  rows.push(row([h("th", { scope: "row", role: "rowheader" }, "CPU"), cell({ class: "unknown", colspan: 3 }, CPU)]));
  return section("prices", "What each cost", "priced", ["", ...COORDINATORS.map(coordinatorTag), "Ratio"], rows, ONE_RUN);
}

function bar(value, most, coordinator) {
  const inner = h("span", { class: coordinator });
  inner.style.setProperty("width", `${value === null ? 0 : Math.max(1, (100 * value) / most)}%`);
  return h("span", { class: "meter", "aria-hidden": "true" }, inner);
}

function ratio([one, other]) {
  if (!one || !other) return "–";
  return one === other ? "equal" : `1 : ${(other / one).toFixed(1)}`;
}

// On a narrow screen the rows are laid out as cards, so each element says what it is in the table.
function row(cells, kind = null) {
  return h("tr", { role: "row", class: kind }, cells);
}

function cell(properties, ...content) {
  return h("td", { role: "cell", ...properties }, content);
}

function section(kind, title, id, heads, rows, hint = null) {
  const head = heads.map((text) => (text === "" ? cell({}) : h("th", { scope: "col", role: "columnheader", class: text === "Ratio" && "number" }, text)));
  const table = h("table", { role: "table" }, h("thead", { role: "rowgroup" }, row(head)), h("tbody", { role: "rowgroup" }, rows));
  return h(
    "section",
    { class: `comparison ${kind}`, "aria-labelledby": id },
    h("h2", { id }, title),
    hint && h("p", { class: "hint" }, hint),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: the table` }, table),
  );
}
