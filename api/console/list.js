/** All sagas as they move: totals, rates, filters, and the newest of them. */

import { failed } from "./dialogs.js";
import { coordinatorTag, h, put, say, segments, statusTag } from "./dom.js";
import { ago, count, duration, money, shortId } from "./format.js";
import { placeForm } from "./place.js";
import { totalsStrip } from "./totals.js";
import { underWay } from "./store.js";

const SHOWN = 100; // rows
const BUSY = 40; // sagas started a second, from which on rows would only flicker
const COORDINATORS = [["", "both"], ["choreography", "choreography"], ["orchestration", "orchestration"]];
const STATUSES = [["", "any"], ["PENDING_PAYMENT", "pending"], ["PAID", "paid"], ["CANCELLED", "cancelled"], ["FAILED", "failed"]];

export function list(context) {
  const { store, live } = context;
  const filter = { coordinator: "", status: "", user: "", ...JSON.parse(sessionStorage.getItem("saga.filter") ?? "{}") };
  const rows = new Rows();
  const note = h("p", { class: "note", role: "status" });
  const body = h("div", { class: "rows" });
  const totals = totalsStrip(store, (status) => choose({ status }));
  const controls = h("div", { class: "filters" });
  let frame = 0;
  let held = false;

  function choose(change) {
    Object.assign(filter, change);
    sessionStorage.setItem("saga.filter", JSON.stringify(filter));
    filters();
    draw();
  }

  function filters() {
    const user = h("input", { type: "search", id: "user", placeholder: "customer’s id", value: filter.user, "aria-label": "Customer", on: { input: () => choose1(user.value) } });
    const choose1 = (value) => {
      Object.assign(filter, { user: value.trim() });
      draw();
    };
    put(
      controls,
      segments("by", "Coordinator", COORDINATORS, filter.coordinator, (coordinator) => choose({ coordinator })),
      segments("status", "Status of the order", STATUSES, filter.status, (status) => choose({ status })),
      user,
    );
    totals.mark(filter.status);
  }

  function matches(saga) {
    if (filter.coordinator && saga.coordinator !== filter.coordinator) return false;
    if (filter.status && saga.status !== filter.status) return false;
    return !filter.user || (saga.userId ?? "").startsWith(filter.user);
  }

  function draw() {
    frame = 0;
    totals.draw();
    const busy = store.rate("started", 3) > BUSY || store.dropped > 0;
    if (busy && held) return say(note, busyNote(store));
    held = busy;
    const all = store.newest();
    const found = all.filter(matches);
    if (!all.length && store.totals) return put(body, emptyState(context));
    rows.show(found.slice(0, SHOWN));
    if (body.firstChild !== rows.element) put(body, rows.element);
    const every = Math.max(store.totals?.total ?? 0, all.length);
    return say(note, busy ? busyNote(store) : found.length || !store.totals ? `The newest ${count(Math.min(found.length, SHOWN))} of ${count(every)} sagas.` : "None of the newest sagas matches. Change the filter.");
  }

  const later = () => (frame ||= requestAnimationFrame(draw));
  const refused = (event) => put(body, failed(event.detail, () => store.read()));
  const clock = setInterval(() => rows.age(), 1000);
  const totalsClock = setInterval(() => live.state === "live" && store.readTotals().catch(() => {}), 3000);
  store.addEventListener("change", later);
  store.addEventListener("totals", later);
  store.addEventListener("refused", refused);
  filters();
  draw();
  const aside = h("aside", { class: "side", "aria-label": "Place an order" }, placeForm(context));
  const section = h("section", { class: "list", "aria-labelledby": "sagas" }, controls, body, note);
  return {
    title: "Sagas",
    element: h("div", { class: "view" }, h("h1", { id: "sagas", class: "unseen" }, "Sagas"), totals.element, h("div", { class: "columns" }, section, aside)),
    stop() {
      clearInterval(clock);
      clearInterval(totalsClock);
      cancelAnimationFrame(frame);
      store.removeEventListener("change", later);
      store.removeEventListener("totals", later);
      store.removeEventListener("refused", refused);
    },
  };
}

function busyNote(store) {
  return `${count(Math.round(store.rate("started", 3)))} sagas a second begin. The rows stand still meanwhile; the figures above go on.`;
}

/** The rows of the table, each made once and changed in place. */
class Rows {
  #rows = new Map();

  constructor() {
    const heads = ["Saga", "Order", "Payment", "Amount", "Last event", "Took", "Begun"];
    const head = (text) => h("th", { scope: "col", role: "columnheader", class: ["Amount", "Took", "Begun"].includes(text) && "number" }, text);
    // On a narrow screen the rows are laid out as cards, so each element says what it is in the table.
    this.body = h("tbody", { role: "rowgroup" });
    const top = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map(head)));
    this.element = h("table", { class: "sagas", role: "table" }, h("caption", { class: "unseen" }, "The newest sagas"), top, this.body);
  }

  show(sagas) {
    const wanted = new Set(sagas.map((saga) => saga.orderId));
    for (const [orderId, row] of this.#rows) {
      if (wanted.has(orderId)) continue;
      row.element.remove();
      this.#rows.delete(orderId);
    }
    let place = this.body.firstElementChild;
    for (const saga of sagas) {
      const row = this.#rows.get(saga.orderId) ?? this.#make(saga);
      row.update(saga);
      if (row.element === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.element, place);
    }
  }

  age() {
    for (const row of this.#rows.values()) row.age();
  }

  #make(saga) {
    const row = makeRow(saga);
    this.#rows.set(saga.orderId, row);
    return row;
  }
}

function makeRow(saga) {
  const cells = ["saga", "order", "payment", "amount number", "event", "took number", "begun number"].map((name) => h("td", { class: name, role: "cell" }));
  const [name, order, payment, amount, event, took, begun] = cells;
  const element = h("tr", { role: "row", "data-order": saga.orderId }, cells);
  const link = h("a", { href: `#/orders/${saga.orderId}` }, h("code", {}, shortId(saga.orderId)));
  put(name, h("div", {}, coordinatorTag(saga.coordinator ?? "choreography"), link));
  let known = {};
  let seen = "";
  const age = () => {
    say(begun, ago(known.startedAt));
    if (underWay(known)) say(took, known.startedAt ? duration(Math.max(0, Date.now() - Date.parse(known.startedAt))) : "–");
  };
  function update(now) {
    const print = `${now.status} ${now.paymentStatus} ${now.lastEvent} ${now.amount} ${now.at}`;
    known = now;
    if (print === seen) return;
    if (seen) glow(element);
    seen = print;
    put(order, statusTag(now.status));
    put(payment, statusTag(now.paymentStatus));
    say(amount, money(now.amount, now.currency));
    say(event, now.lastEvent ?? "");
    if (!underWay(now)) say(took, now.at && now.startedAt ? duration(Math.max(0, Date.parse(now.at) - Date.parse(now.startedAt))) : "–");
    element.classList.toggle("open", underWay(now));
    age();
  }
  return { element, update, age };
}

function glow(element) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  element.getAnimations().forEach((animation) => animation.cancel());
  element.animate([{ backgroundColor: "var(--glow)" }, { backgroundColor: "transparent" }], { duration: 900, easing: "ease-out" });
}

function emptyState(context) {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "No saga has run yet"),
    h("p", {}, "An order and its payment live in two services with a database each. A saga keeps them consistent, and two coordinators can drive it:"),
    h(
      "dl",
      {},
      h("dt", {}, coordinatorTag("choreography")),
      h("dd", {}, "Nobody is in charge. Each service reacts to the other’s events, which RabbitMQ carries. A workflow in Temporal mirrors the saga and keeps its timers."),
      h("dt", {}, coordinatorTag("orchestration")),
      h("dd", {}, "One workflow in Temporal is in charge. It has the services run one step after the other, and compensates in reverse."),
    ),
    h("p", {}, "Both leave the same facts. See for yourself:"),
    h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/twins" }, "Run one order both ways"), h("button", { class: "quiet", on: { click: () => document.getElementById("place-amount")?.focus() } }, "Place a single order")),
    context.api.session?.version && h("p", { class: "hint" }, "Or from a shell: ", h("code", {}, "saga order create --total 999")),
  );
}
