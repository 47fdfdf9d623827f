/** The rows of the list, each made once and changed in place, so that a thousand changes a second cost little. */

import { coordinatorTag, h, put, say, statusTag } from "./dom.js";
import { ago, duration, money, shortId } from "./format.js";
import { underWay } from "./store.js";

const GLOW = 700; // milliseconds for which a row that changed is marked
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const COLUMNS = [
  ["saga", "Saga"],
  ["order", "Order"],
  ["payment", "Payment"],
  ["amount number", "Amount"],
  ["event", "Last event"],
  ["took number", "Took"],
  ["begun number", "Begun"],
];

/** The table. `show(sagas)` puts these in this order; `age()` lets the times go on. */
export class Rows {
  #rows = new Map();

  constructor() {
    const heads = COLUMNS.map(([name, text]) => h("th", { scope: "col", role: "columnheader", class: name }, text));
    // On a narrow screen the rows are laid out as cards, so each element says what it is in the table.
    this.body = h("tbody", { role: "rowgroup" });
    const top = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads));
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
    if (document.hidden) return;
    for (const row of this.#rows.values()) row.age();
  }

  #make(saga) {
    const row = makeRow(saga);
    this.#rows.set(saga.orderId, row);
    return row;
  }
}

function makeRow(saga) {
  const cells = COLUMNS.map(([name]) => h("td", { class: name, role: "cell" }));
  const [name, order, payment, amount, event, tookCell, begunCell] = cells;
  // Each in a box whose size does not depend on its text: what ages each second lays out nothing else.
  const [took, begun] = [tookCell, begunCell].map((cell) => cell.appendChild(h("span", { class: "age" })));
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

const glowing = new Map(); // rows, and until when
let fading = null;

/** Mark a row for a moment. One timer ends it for all: an animation would paint each frame. */
function glow(element) {
  if (document.hidden || STILL.matches) return;
  glowing.delete(element);
  glowing.set(element, performance.now() + GLOW);
  element.classList.add("glow");
  fading ??= setTimeout(fade, GLOW);
}

function fade() {
  const now = performance.now();
  for (const [element, until] of glowing) {
    if (until > now + 1) break;
    element.classList.remove("glow");
    glowing.delete(element);
  }
  const [next] = glowing.values();
  fading = next === undefined ? null : setTimeout(fade, next - now);
}
