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

/** The customer of this browser: an id that stays, unless the key has a customer of its own. */
export function customer(api) {
  const own = api.session?.key?.userId;
  if (own) return own;
  const kept = localStorage.getItem(USER) ?? crypto.randomUUID();
  localStorage.setItem(USER, kept);
  return kept;
}

/** Amount, currency and method, and how to read them: `read()` is `{total, currency, paymentMethod}`, or null. */
export function orderFields(prefix) {
  const amount = h("input", { id: `${prefix}-amount`, inputmode: "decimal", value: "9.99", required: true, autocomplete: "off" });
  const currency = h("select", { id: `${prefix}-currency`, "aria-label": "Currency" }, CURRENCIES.map((code) => h("option", {}, code)));
  const method = h("select", { id: `${prefix}-method` }, METHODS.map(([value, text]) => h("option", { value }, `The payment ${text}`)));
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
export async function place(api, order, coordinator) {
  const body = { userId: customer(api), coordinator, ...order };
  return (await api.post("/api/orders", body, { "Idempotency-Key": crypto.randomUUID() })).orderId;
}

/** The form. `placed(orderId)` is called when the gateway has accepted the order. */
export function placeForm({ api, notices, store }) {
  let coordinator = "choreography";
  const fields = orderFields("place");
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
      tellPlaced({ api, notices, store }, await place(api, order, coordinator), order, coordinator);
    } catch (error) {
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
  store.merge({ ...placed, userId: customer(api), lastEvent: null, at: null, startedAt: now, events: null });
  store.dispatchEvent(new CustomEvent("change", { detail: [orderId] }));
  const cancel = () => api.patch(`/api/orders/${orderId}/cancel`).catch((error) => notices.complain(error));
  notices.tell(`An order of ${money(order.total, order.currency)} is accepted.`, {
    link: { href: `#/orders/${orderId}`, text: "Watch its saga" },
    undo: { text: "Cancel it", act: cancel },
  });
}
