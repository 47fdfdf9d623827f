/** One order through both coordinators at once: two lanes as the events come, then what is equal and what it cost. */

import { poll } from "./attention.js";
import { failed, loading } from "./dialogs.js";
import { COORDINATORS, h, put, putInPlace, say } from "./dom.js";
import { counted, duration } from "./format.js";
import { align } from "./layout.js";
import { Attempt, METHODS, orderFields, place } from "./place.js";
import { equalFacts, prices } from "./prices.js";
import { Reading } from "./reading.js";
import { readSaga } from "./saga.js";
import { draw, legend } from "./sequence.js";
import { shorten, tell } from "./story.js";
import { lane, middle, unknown, waiting } from "./twin-lanes.js";

const SIDE_BY_SIDE = 1120; // pixels, from which on there is room for the facts between both lanes
const MIDDLE = 160;
const OFTEN = 250; // milliseconds between readings while a twin moves …
const SLOW = 3000; // … and at most, while neither does
const GROWTH = 1.3; // from one pause to the next
const FRESH = 10_000; // milliseconds for which an order that this page has placed need not be known yet
const PRICED = 30_000; // milliseconds for which an ended saga's workflow is asked for until it has closed, too
const LISTENERS =
  "A mirror in Temporal follows the choreographed saga for its timers, so that saga has workflow events, too. The orchestrated saga’s events are published as well, for services that listen; none of its own steps waits for them.";

export function twins(context, one, other) {
  const page = new Twins(context, one && other ? [one, other] : null);
  return { title: "Twins", element: page.element, stop: () => page.stop() };
}

class Twins {
  constructor(context, ids) {
    Object.assign(this, { context, ids, found: [null, null], seen: [0, 0], reading: new Reading(() => this.#read()) });
    this.stage = h("div", { class: "stage" });
    this.spoken = h("p", { class: "unseen", role: "status" });
    this.notes = h("div", { class: "stack" });
    this.outcome = h("div", { class: "outcome" });
    this.element = h(
      "article",
      { class: "view twins" },
      h("header", { class: "intro" }, h("h1", {}, "One order, both ways"), h("p", {}, "The same order is placed through both coordinators at once. They work differently, and leave the same facts.")),
      this.#form(),
      this.spoken,
      this.stage,
      this.notes,
      this.outcome,
    );
    this.resized = new ResizeObserver(() => this.#draw());
    this.resized.observe(this.stage);
    this.attempts = COORDINATORS.map(() => new Attempt());
    this.changed = (event) => (event.detail === null || this.ids?.some((id) => event.detail.includes(id))) && this.#readAnew();
    context.store.addEventListener("change", this.changed);
    if (ids) this.#follow();
    else put(this.stage, waiting());
  }

  stop() {
    this.reading.stop();
    this.#rest();
    this.resized.disconnect();
    this.context.store.removeEventListener("change", this.changed);
  }

  #form() {
    // No coin: it would be tossed for each, and the twins would differ by it.
    const fields = orderFields("twin", METHODS.filter(([method]) => method));
    const cancel = h("input", { type: "checkbox", id: "twin-cancel" });
    const button = h("button", { class: "primary" }, "Run both");
    const form = h(
      "form",
      { class: "controls", novalidate: true },
      fields.element,
      h("div", { class: "field check" }, h("label", { for: cancel.id }, cancel, " Cancel it once it is paid")),
      button,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const order = fields.read();
      if (!order) return;
      button.disabled = true;
      await this.#place(order, cancel.checked);
      button.disabled = false;
    });
    return form;
  }

  async #place(order, cancel) {
    const { api, notices } = this.context;
    // Each key is made before either order is sent, so that neither has a start.
    const keys = this.attempts.map((attempt, index) => attempt.keyOf({ ...order, coordinator: COORDINATORS[index] }));
    const placed = await Promise.allSettled(COORDINATORS.map((coordinator, index) => place(api, order, coordinator, keys[index])));
    const alone = placed.some((each) => each.status === "fulfilled");
    this.attempts.forEach((attempt, index) => attempt.end(alone ? null : placed[index].reason));
    if (this.reading.stopped) return undefined;
    const refused = placed.find((each) => each.status === "rejected");
    if (refused) return tellAlone(notices, placed, refused.reason);
    Object.assign(this, { ids: placed.map((each) => each.value), cancel, cancelled: false, placedAt: Date.now() });
    history.replaceState(null, "", `#/twins/${this.ids.join("/")}`);
    return this.#follow();
  }

  #follow() {
    Object.assign(this, { found: [null, null], seen: [0, 0], print: null, compared: null, endedAt: null, began: Date.now() });
    put(this.outcome);
    this.stage.classList.remove("beside");
    put(this.stage, loading("both sagas"));
    put(this.notes, legend({ listeners: false }), h("p", { class: "hint" }, LISTENERS));
    this.#readAnew();
  }

  #readAnew() {
    if (!this.ids) return;
    this.pace = OFTEN;
    this.#run();
    this.reading.ask();
  }

  #run() {
    if (!this.reading.stopped) this.end ??= poll(() => this.#tick(), OFTEN);
  }

  #rest() {
    this.end?.();
    this.end = null;
  }

  #tick() {
    if (!document.hidden) this.stage.querySelectorAll(".clock").forEach((clock, index) => say(clock, this.#took(this.found[index])));
    if (!this.reading.underWay && Date.now() >= this.due) this.reading.ask();
  }

  /** How long a saga took; while it is under way, how long it has run by this page's clock. */
  #took({ over, cost, events }) {
    if (over && cost) return duration(cost.durationMs);
    return duration(Math.max(0, Date.now() - (events[0] ? Date.parse(events[0].at) : this.began)));
  }

  async #read() {
    const { ids } = this;
    const read = (id) => readSaga(this.context.api, id).catch((error) => this.#notYet(error));
    try {
      const found = await Promise.all(ids.map(async (id, index) => ({ coordinator: COORDINATORS[index], ...(await read(id)) })));
      if (this.reading.stopped || ids !== this.ids) return;
      const moved = JSON.stringify(found) !== JSON.stringify(this.found);
      this.pace = moved ? OFTEN : Math.min(SLOW, this.pace * GROWTH);
      this.found = found;
      await this.#cancelPaid();
      if (!this.reading.stopped && ids === this.ids) this.#show();
    } catch (error) {
      if (this.reading.stopped || ids !== this.ids) return;
      this.pace = Math.min(SLOW, this.pace * GROWTH);
      if (error.status === 404) this.#tellUnknown();
      else if (!this.found[0]) putInPlace(this.stage, failed(error, () => this.#follow()));
    } finally {
      this.due = Date.now() + this.pace;
    }
  }

  /** What stands for an order that was placed a moment ago, and that no service has stored yet. */
  #notYet(error) {
    if (error.status !== 404 || !(Date.now() < this.placedAt + FRESH)) throw error;
    return { order: null, payment: null, events: [], waitsFor: null, workflow: null, cost: null, over: false };
  }

  #tellUnknown() {
    this.#rest();
    Object.assign(this, { found: [null, null], print: null });
    this.stage.classList.remove("beside");
    putInPlace(this.stage, unknown());
  }

  async #cancelPaid() {
    if (!this.cancel) return;
    // Both at one moment, so that neither waits for this page longer than the other.
    if (this.cancelled || !this.found.every((found) => found?.order?.status === "PAID")) return;
    this.cancelled = true;
    for (const found of this.found) found.over = false;
    const asked = this.ids.map((id) => this.context.api.patch(`/api/orders/${id}/cancel`));
    await Promise.all(asked).catch((error) => {
      this.cancel = false;
      this.context.notices.complain(error);
    });
  }

  #over() {
    // Without the order, whose service may not answer just now, there is nothing to compare.
    if (!this.found.every((each) => each?.over && each.order)) return false;
    if (!this.cancel) return true;
    const paid = this.found.filter((each) => each.order.status === "PAID").length;
    // A cancellation that was accepted is not yet a cancelled order. A pair that did not end PAID is not cancelled.
    return paid === 0 || (!this.cancelled && paid < this.found.length);
  }

  /** Whether nothing more is to be read: workflows close, and are counted, a moment after their sagas are over. */
  #complete() {
    if (!this.#over()) {
      this.endedAt = null;
      return false;
    }
    this.endedAt ??= Date.now();
    const told = this.found.every(({ cost }) => cost?.historyEvents !== null);
    return told || Date.now() > this.endedAt + PRICED;
  }

  #show() {
    this.#draw();
    if (this.#complete()) this.#rest();
    else this.#run();
    if (!this.#over()) {
      this.compared = null;
      put(this.outcome);
      return say(this.spoken, "Both sagas are under way.");
    }
    say(this.spoken, "Both sagas are over. Below is what is equal, and what each cost.");
    const print = JSON.stringify(this.found);
    if (print === this.compared) return undefined;
    this.compared = print;
    return putInPlace(this.outcome, equalFacts(this.found), prices(this.found));
  }

  #draw() {
    const width = this.stage.clientWidth;
    const print = `${width} ${JSON.stringify(this.found)}`;
    if (this.reading.stopped || !this.found[0] || !this.found[1] || width <= 0 || print === this.print) return;
    this.print = print;
    const beside = width >= SIDE_BY_SIDE;
    const room = beside ? (width - MIDDLE) / 2 - 2 : width - 2;
    const stories = this.found.map((found) => shorten(tell(found)));
    const commitsAt = beside ? align(...stories) : {};
    const columns = Math.max(...stories.map((story) => story.lanes.length)); // one scale for both
    const drawn = stories.map((story, index) => draw(story, room, { title: titleOf(story), commitsAt, columns, from: this.seen[index] || Infinity }));
    this.seen = stories.map((story) => story.steps.length);
    const lanes = drawn.map(({ svg }, index) => lane(COORDINATORS[index], this.found[index], this.ids[index], svg, this.#took(this.found[index])));
    this.stage.classList.toggle("beside", beside);
    putInPlace(this.stage, lanes[0], beside && middle(drawn.map(({ plan }) => plan)), lanes[1]);
  }
}

/** One of the two was refused. The other, if it was accepted, goes on alone. */
function tellAlone(notices, placed, error) {
  notices.complain(error);
  const index = placed.findIndex((each) => each.status === "fulfilled");
  if (index < 0) return;
  const link = { href: `#/orders/${placed[index].value}`, text: "Watch it" };
  notices.tell(`The order by ${COORDINATORS[index]} was accepted all the same, and goes on alone.`, { link });
}

function titleOf(story) {
  return `${story.orchestrated ? "Orchestration" : "Choreography"}: ${counted(story.steps.length, "step")}. The order's own page has them as a table.`;
}
