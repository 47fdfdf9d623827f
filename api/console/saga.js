/** One saga: how it stands, what it waits for, its sequence diagram, and the same story as a table. */

import { poll } from "./attention.js";
import { ask, failed, loading } from "./dialogs.js";
import { coordinatorTag, h, put, putInPlace, say, statusTag } from "./dom.js";
import { counted, duration, moment, money } from "./format.js";
import { Reading } from "./reading.js";
import { draw, legend, save, table } from "./sequence.js";
import { coordinatorOf, shorten, tell } from "./story.js";

const NARROW = 480; // pixels, below which the client and the gateway share a lane
const AGAIN = 150; // milliseconds to gather changes in
const SLOW = 3000; // milliseconds between readings while the stream may leave this saga out
const CANCELLABLE = new Set(["PENDING_PAYMENT", "PAID"]);

export function saga(context, orderId) {
  const page = new SagaPage(context, orderId);
  return { title: `Order ${orderId.slice(0, 8)}`, element: page.element, stop: () => page.stop() };
}

class SagaPage {
  constructor(context, orderId) {
    Object.assign(this, { context, orderId, seen: Infinity, found: null, letters: [], reading: new Reading(() => this.#read()) });
    this.head = h("div", { class: "head" });
    this.drawing = h("div", { class: "drawing", tabindex: "0", role: "region", "aria-label": "Sequence diagram" }, loading("the event logs"));
    this.table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The story as a table" });
    this.spoken = h("p", { class: "unseen", role: "status" });
    this.element = h(
      "article",
      { class: "view one" },
      h("p", { class: "back" }, h("a", { href: "#/" }, "← All sagas")),
      h("h1", {}, "Order ", h("code", {}, orderId)),
      this.head,
      this.spoken,
      this.drawing,
    );
    this.told = [legend(), h("section", { "aria-labelledby": "told" }, h("h2", { id: "told" }, "The same story as a table"), this.table)];
    this.changed = (event) => {
      if (event.detail === null || event.detail.includes(orderId)) this.#later();
    };
    context.store.addEventListener("change", this.changed);
    this.resized = new ResizeObserver(() => this.#draw());
    this.resized.observe(this.drawing);
    this.clocks = [poll(() => this.#age(), 1000), poll(() => this.found?.over || this.reading.underWay || this.reading.ask(), SLOW)];
    this.reading.ask();
  }

  stop() {
    this.context.store.removeEventListener("change", this.changed);
    this.resized.disconnect();
    this.clocks.forEach((end) => end());
    clearTimeout(this.timer);
    this.reading.stop();
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reading.ask(), AGAIN);
  }

  async #read() {
    const { api } = this.context;
    try {
      const found = await readSaga(api, this.orderId);
      const letters = api.operator ? await lettersOf(api, this.orderId) : [];
      if (this.reading.stopped) return;
      const print = JSON.stringify([found, letters]);
      if (print === this.print) return;
      Object.assign(this, { print, found, letters, story: tell(found, letters) });
      this.#show();
    } catch (error) {
      if (this.reading.stopped || this.found) return;
      putInPlace(this.drawing, error.status === 404 ? unknown(this.orderId) : failed(error, () => this.reading.ask()));
    }
  }

  #show() {
    const { found, story } = this;
    if (!this.table.isConnected) this.element.append(...this.told);
    putInPlace(this.head, facts(found, this.letters), this.#actions());
    const status = (part, otherwise) => found[part]?.status ?? (isSilent(found, part) ? "unknown" : otherwise);
    say(this.spoken, `The order is ${status("order", "accepted")}, its payment ${status("payment", "not begun")}.`);
    this.#draw();
    put(this.table, table(story, `Order ${this.orderId}, driven by ${coordinatorOf(found)}`));
  }

  #age() {
    const since = !document.hidden && this.found && !this.found.over && this.head.querySelector("[data-since]");
    if (since) say(since, duration(Math.max(0, Date.now() - Date.parse(since.dataset.since))));
  }

  #draw() {
    if (!this.story || this.reading.stopped) return;
    const width = this.drawing.clientWidth - 2;
    const print = `${width} ${this.print}`;
    if (width <= 0 || print === this.drawn) return;
    this.drawn = print;
    const title = `Sequence diagram of order ${this.orderId}: ${counted(this.story.steps.length, "step")}. The table below tells the same story.`;
    const { svg } = draw(width < NARROW ? shorten(this.story) : this.story, width, { title, from: this.seen });
    this.seen = this.story.steps.length;
    this.svg = svg;
    put(this.drawing, svg);
  }

  #actions() {
    const { order, workflow } = this.found;
    const cancellable = order && CANCELLABLE.has(order.status);
    return h(
      "p",
      { class: "actions" },
      cancellable && h("button", { class: "dangerous quiet", "data-act": "cancel", on: { click: () => this.#cancel() } }, "Cancel the order"),
      workflow?.url && h("a", { class: "button quiet", "data-act": "workflow", href: workflow.url, target: "_blank", rel: "noopener" }, "Its page in the Temporal UI ↗"),
      h("button", { class: "quiet", "data-act": "save", on: { click: () => save(this.svg, `saga-${this.orderId}`) } }, "Save the drawing (SVG)"),
    );
  }

  async #cancel() {
    const { order } = this.found;
    const paid = order.status === "PAID";
    const amount = money(order.total, order.currency);
    const text = paid ? `${amount} were captured, and go back to the customer.` : "If the charge is under way, it is voided or given back.";
    if (!(await ask({ title: "Cancel this order?", text, action: paid ? "Cancel and refund" : "Cancel the order", dangerous: true }))) return;
    try {
      await this.context.api.patch(`/api/orders/${this.orderId}/cancel`);
      this.#later();
    } catch (error) {
      this.context.notices.complain(error);
    }
  }
}

function unknown(orderId) {
  return h("div", { class: "problem", role: "alert" }, h("p", {}, `There is no order ${orderId}, or it is another customer’s.`), h("a", { class: "button quiet", href: "#/" }, "All sagas"));
}

function isSilent({ away }, part) {
  return Boolean(away?.includes(part));
}

/** The status of the order or of the payment; while its service does not answer, that nobody knows. */
export function standingOf(found, part) {
  if (found[part]) return statusTag(found[part].status);
  if (isSilent(found, part)) return h("small", { class: "nobody" }, `unknown: the ${part} service does not answer`);
  return statusTag(part === "order" ? "PENDING_PAYMENT" : null);
}

/** A saga, and whether it is over. */
export async function readSaga(api, orderId) {
  const found = await api.get(`/api/console/sagas/${orderId}`);
  return { ...found, waitsFor: atLocalTime(found.waitsFor), over: Boolean(found.order) && !open(found) };
}

function atLocalTime(text) {
  return text?.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (iso) => moment(iso).slice(11)) ?? null;
}

function open({ order, payment, waitsFor }) {
  if (waitsFor || order.status === "PENDING_PAYMENT") return true;
  return !payment || payment.status === "PROCESSING" || (order.status !== "PAID" && payment.status === "APPROVED");
}

async function lettersOf(api, orderId) {
  const found = await api.get(`/api/operator/dead-letters?orderId=${orderId}&limit=20`).catch(() => ({ data: [] }));
  return found.data;
}

function facts(found, letters) {
  const { order, payment, events, cost, waitsFor } = found;
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const began = events[0]?.at ?? order?.createdAt;
  const unknownNow = (isSilent(found, "order") && !order) || (isSilent(found, "payment") && !payment); // whether it still runs
  return [
    h(
      "dl",
      { class: "card" },
      fact("Coordinator", coordinatorTag(coordinatorOf(found))),
      fact("Order", standingOf(found, "order"), order?.cancelReason && h("small", {}, order.cancelReason)),
      fact("Payment", standingOf(found, "payment"), payment?.reason && h("small", {}, payment.reason)),
      order && fact("Amount", money(order.total, order.currency)),
      began && fact("Begun", moment(began)),
      found.over && cost && fact("Took", duration(cost.durationMs)),
      !found.over && !unknownNow && began && fact("So far", h("span", { "data-since": began }, duration(Math.max(0, Date.now() - Date.parse(began))))),
      order && fact("Customer", h("code", { title: order.userId }, order.userId.slice(0, 8), "…")),
    ),
    waitsFor && h("p", { class: "waits", role: "status" }, h("strong", {}, "It waits for "), waitsFor, "."),
    letters.length > 0 &&
      h("p", { class: "waits bad", role: "alert" }, `${counted(letters.length, "message")} of this saga could not be handled. `, h("a", { href: `#/letters/${letters[0].id}` }, "See why, and redrive")),
  ];
}
