/** The rows of the list, each made once and changed in place, so that a thousand changes a second cost little. */

import { coordinatorTag, h, put, say, statusTag } from "./dom.js";
import { ago, duration, money, shortId } from "./format.js";
import { underWay } from "./store.js";

/** The table. `show(sagas)` puts these in this order; `age()` lets the times go on. */
export class Rows {
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
