/** One order through both coordinators at once: two lanes as the events come, then what is equal and what it cost. */

import { failed } from "./dialogs.js";
import { coordinatorTag, h, put, say, statusTag } from "./dom.js";
import { counted, duration, money } from "./format.js";
import { align } from "./layout.js";
import { customer, orderFields } from "./place.js";
import { equalFacts, prices } from "./prices.js";
import { readSaga } from "./saga.js";
import { draw, legend } from "./sequence.js";
import { shorten, tell } from "./story.js";

const COORDINATORS = ["choreography", "orchestration"];
const SIDE_BY_SIDE = 1120; // pixels, from which on there is room for the facts between both lanes
const MIDDLE = 160;
const OFTEN = 250; // milliseconds between readings while a twin is under way
const PRICED = 30_000; // milliseconds for which an ended saga's workflow is asked for until it has closed, too
const LISTENERS =
  "A mirror in Temporal follows the choreographed saga for its timers, so that saga has workflow events, too. The orchestrated saga’s events are published as well, for services that listen; none of its own steps waits for them.";
const ABOUT = {
  choreography: "Nobody is in charge. Services react to each other’s events, over RabbitMQ.",
  orchestration: "The workflow in Temporal is in charge. It has the services run one step after the other.",
};

export function twins(context, one, other) {
  const page = new Twins(context, one && other ? [one, other] : null);
  return { title: "Twins", element: page.element, stop: () => page.stop() };
}

class Twins {
  constructor(context, ids) {
    Object.assign(this, { context, ids, found: [null, null], seen: [0, 0] });
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
    this.changed = (event) => (event.detail === null || this.ids?.some((id) => event.detail.includes(id))) && this.#read();
    context.store.addEventListener("change", this.changed);
    if (ids) this.#follow();
    else put(this.stage, waiting());
  }

  stop() {
    this.stopped = true;
    clearInterval(this.clock);
    this.resized.disconnect();
    this.context.store.removeEventListener("change", this.changed);
  }

  #form() {
    const fields = orderFields("twin");
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
    // Each body is made before either is sent, so that neither has a start.
    const bodies = COORDINATORS.map((coordinator) => ({ userId: customer(api), ...order, coordinator }));
    const posts = bodies.map((body) => api.post("/api/orders", body, { "Idempotency-Key": crypto.randomUUID() }));
    const placed = await Promise.allSettled(posts);
    const refused = placed.find((each) => each.status === "rejected");
    if (refused) return tellAlone(notices, placed, refused.reason);
    Object.assign(this, { ids: placed.map((each) => each.value.orderId), cancel, cancelled: false });
    history.replaceState(null, "", `#/twins/${this.ids.join("/")}`);
    return this.#follow();
  }

  #follow() {
    Object.assign(this, { found: [null, null], seen: [0, 0], print: null, compared: null, endedAt: null, began: Date.now() });
    put(this.outcome);
    put(this.notes, legend({ listeners: false }), h("p", { class: "hint" }, LISTENERS));
    clearInterval(this.clock);
    this.clock = setInterval(() => this.#tick(), OFTEN);
    this.#read();
  }

  #tick() {
    this.stage.querySelectorAll(".clock").forEach((clock, index) => say(clock, this.#took(this.found[index])));
    this.#read();
  }

  /** How long a saga took; while it is under way, how long it has run by this page's clock. */
  #took({ over, cost, events }) {
    if (over && cost) return duration(cost.durationMs);
    return duration(Math.max(0, Date.now() - (events[0] ? Date.parse(events[0].at) : this.began)));
  }

  async #read() {
    if (this.reading || !this.ids || this.#complete()) return;
    this.reading = true;
    const { ids } = this;
    try {
      const found = await Promise.all(ids.map((id) => readSaga(this.context.api, id).catch(notYet)));
      if (this.stopped || ids !== this.ids) return;
      this.found = found;
      await this.#cancelPaid();
      this.#show();
    } catch (error) {
      if (!this.found[0]) put(this.stage, failed(error, () => this.#follow()));
    } finally {
      this.reading = false;
    }
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
    if (!this.found.every((each) => each?.over)) return false;
    // A cancellation that was accepted is not yet a cancelled order.
    return !this.cancel || this.found.every((each) => each.order.status !== "PAID");
  }

  /** Whether nothing more is to be read: workflows close, and are counted, a moment after their sagas are over. */
  #complete() {
    if (!this.#over()) return false;
    this.endedAt ??= Date.now();
    const told = this.found.every(({ cost }) => cost?.historyEvents !== null);
    return told || Date.now() > this.endedAt + PRICED;
  }

  #show() {
    this.#draw();
    if (!this.#over()) return say(this.spoken, "Both sagas are under way.");
    if (this.#complete()) clearInterval(this.clock);
    say(this.spoken, "Both sagas are over. Below is what is equal, and what each cost.");
    const print = JSON.stringify(this.found);
    if (print === this.compared) return undefined;
    this.compared = print;
    return put(this.outcome, equalFacts(this.found), prices(this.found));
  }

  #draw() {
    const width = this.stage.clientWidth;
    const print = `${width} ${JSON.stringify(this.found)}`;
    if (this.stopped || !this.found[0] || !this.found[1] || width <= 0 || print === this.print) return;
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
    put(this.stage, lanes[0], beside && middle(drawn.map(({ plan }) => plan)), lanes[1]);
  }
}

/** One of the two was refused. The other, if it was accepted, goes on alone. */
function tellAlone(notices, placed, error) {
  notices.complain(error);
  const index = placed.findIndex((each) => each.status === "fulfilled");
  if (index < 0) return;
  const link = { href: `#/orders/${placed[index].value.orderId}`, text: "Watch it" };
  notices.tell(`The order by ${COORDINATORS[index]} was accepted all the same, and goes on alone.`, { link });
}

function notYet(error) {
  if (error.status === 404) return { order: null, payment: null, events: [], waitsFor: null, workflow: null, cost: null, over: false };
  throw error;
}

function titleOf(story) {
  return `${story.orchestrated ? "Orchestration" : "Choreography"}: ${counted(story.steps.length, "step")}. The order's own page has them as a table.`;
}

function lane(coordinator, found, orderId, svg, took) {
  return h(
    "section",
    { class: `lane ${coordinator}`, "aria-label": coordinator },
    h("h2", {}, coordinatorTag(coordinator), h("span", { class: "clock" }, took)),
    h("p", {}, ABOUT[coordinator]),
    h("p", { class: "line" }, "order ", statusTag(found.order?.status ?? "PENDING_PAYMENT"), found.payment && [" payment ", statusTag(found.payment.status)], " ", found.waitsFor && h("span", {}, `waits for ${found.waitsFor}`), " ", h("a", { href: `#/orders/${orderId}` }, "its own page")),
    h("div", { class: "drawing", tabindex: "0", role: "region", "aria-label": `Sequence diagram of ${coordinator}` }, svg),
  );
}

/** The events that both have logged, each on the line where both commit it. */
function middle(plans) {
  const commits = plans.map((plan) => new Map(plan.rows.filter((row) => row.key).map((row) => [row.key, row])));
  const list = h("ol", { class: "equal", "aria-label": "Events that both have logged" });
  for (const [key, row] of commits[0]) {
    const twin = commits[1].get(key);
    if (!twin || Math.abs(twin.y - row.y) > 1) continue;
    const item = h("li", {}, h("span", { class: "is" }, "="), " ", key);
    item.style.setProperty("top", `${row.y - 12}px`);
    list.append(item);
  }
  return h("div", { class: "middle" }, h("h2", {}, "the same facts"), list);
}

function waiting() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "Two ways to the same facts"),
    COORDINATORS.map((coordinator) => h("p", {}, coordinatorTag(coordinator), " ", ABOUT[coordinator])),
    h("p", { class: "hint" }, `Press “Run both”. Two orders of ${money(999)} begin at the same moment, and each step is drawn as it is committed.`),
  );
}
