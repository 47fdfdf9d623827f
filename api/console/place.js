/** The form that places an order, through one coordinator or through both. */

import { field, h, put, segments, sign } from "./dom.js";
import { minorUnits, money } from "./format.js";

export const METHODS = [
  ["pm_card_visa", "is approved"],
  ["pm_card_chargeDeclinedInsufficientFunds", "is declined: insufficient funds"],
  ["pm_error", "is refused for good"],
  ["pm_timeout_then_approve", "is charged, but the answer is lost"],
  ["pm_slow", "is approved after 10 s"],
  ["pm_unavailable", "is never answered"],
  ["", "is decided by a coin"],
];
const CURRENCIES = ["USD", "EUR", "GBP", "JPY"];
const USER = "saga.console.user";

/** A random id. `crypto.randomUUID` is missing where the page came over plain HTTP from another machine. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4 …
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // … of RFC 9562
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The Idempotency-Key of a form: the same for the same order until an answer came, so that no order is placed twice. */
export class Attempt {
  #order = null;
  #key = null;

  keyOf(order) {
    const print = JSON.stringify(order);
    if (print !== this.#order) [this.#order, this.#key] = [print, randomId()];
    return this.#key;
  }

  /** The attempt is over: by an order, or by an `error` that says no. */
  end(error = null) {
    if (!error || (error.status >= 400 && error.status < 500)) this.#order = null;
  }
}

/** The customer of this browser: an id that stays, unless the key has a customer of its own. */
export function customer(api) {
  const own = api.session?.key?.userId;
  if (own) return own;
  const kept = localStorage.getItem(USER) ?? randomId();
  localStorage.setItem(USER, kept);
  return kept;
}

/** Amount, currency and method, and how to read them: `read()` is `{total, currency, paymentMethod}`, or null. */
export function orderFields(prefix, methods = METHODS) {
  const amount = h("input", { id: `${prefix}-amount`, inputmode: "decimal", value: "9.99", required: true, autocomplete: "off" });
  const currency = h("select", { id: `${prefix}-currency`, "aria-label": "Currency" }, CURRENCIES.map((code) => h("option", {}, code)));
  const method = h("select", { id: `${prefix}-method` }, methods.map(([value, text]) => h("option", { value }, `The payment ${text}`)));
  const error = h("p", { class: "refusal", role: "alert" });
  const element = [
    h("div", { class: "field" }, h("label", { for: amount.id }, "Amount"), h("div", { class: "joined" }, amount, currency), error),
    field("Payment", method),
  ];
  const read = () => {
    const total = minorUnits(amount.value, currency.value);
    put(error, total === null ? `Type an amount such as ${currency.value === "JPY" ? "999" : "9.99"}.` : "");
    amount.toggleAttribute("aria-invalid", total === null);
    if (total === null) amount.focus();
    return total === null ? null : { total, currency: currency.value, ...(method.value ? { paymentMethod: method.value } : {}) };
  };
  return { element, read };
}

/** Place an order. Resolves to its id. Raises Refused. A key makes it safe to send again. */
export async function place(api, order, coordinator, key = randomId()) {
  const body = { userId: customer(api), coordinator, ...order };
  return (await api.post("/api/orders", body, { "Idempotency-Key": key })).orderId;
}

/** The form. `placed(orderId)` is called when the gateway has accepted the order. */
export function placeForm({ api, notices, store }) {
  let coordinator = "choreography";
  const fields = orderFields("place");
  const attempt = new Attempt();
  const choices = [
    ["choreography", [sign("choreography"), "choreography"]],
    ["orchestration", [sign("orchestration"), "orchestration"]],
  ].slice(0, api.both ? 2 : 1);
  const button = h("button", { class: "primary" }, "Place the order");
  const form = h(
    "form",
    { class: "place", novalidate: true },
    h("h2", {}, "Place an order"),
    fields.element,
    h("div", { class: "field" }, h("span", { class: "label" }, "Coordinator"), segments("coordinator", "Coordinator", choices, coordinator, (value) => (coordinator = value))),
    button,
    api.both && h("p", { class: "hint" }, "Or watch ", h("a", { href: "#/twins" }, "the same order both ways"), "."),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const order = fields.read();
    if (!order) return;
    button.disabled = true;
    try {
      const orderId = await place(api, order, coordinator, attempt.keyOf({ ...order, coordinator }));
      attempt.end();
      tellPlaced({ api, notices, store }, orderId, order, coordinator);
    } catch (error) {
      attempt.end(error);
      notices.complain(error);
    } finally {
      button.disabled = false;
    }
  });
  return form;
}

function tellPlaced({ api, notices, store }, orderId, order, coordinator) {
  const now = new Date().toISOString();
  const placed = { orderId, coordinator, status: "PENDING_PAYMENT", paymentStatus: null, amount: order.total, currency: order.currency };
  if (!store.sagas.has(orderId)) store.merge({ ...placed, userId: customer(api), lastEvent: null, at: null, startedAt: now, events: null });
  store.dispatchEvent(new CustomEvent("change", { detail: [orderId] }));
  const cancel = () => api.patch(`/api/orders/${orderId}/cancel`).catch((error) => notices.complain(error));
  notices.tell(`An order of ${money(order.total, order.currency)} is accepted.`, {
    link: { href: `#/orders/${orderId}`, text: "Watch its saga" },
    undo: { text: "Cancel it", act: cancel },
  });
}
