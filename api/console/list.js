/** All sagas as they move: totals, rates, filters, and the newest of them. */

import { poll } from "./attention.js";
import { failed } from "./dialogs.js";
import { coordinatorTag, h, put, putInPlace, say, segments } from "./dom.js";
import { count } from "./format.js";
import { placeForm } from "./place.js";
import { Rows } from "./rows.js";
import { fromOrder, newerFirst } from "./store.js";
import { totalsStrip } from "./totals.js";

const SHOWN = 100; // rows
const SOON = 300; // milliseconds from a change of the rows to the totals
const REFRESH = 3000; // milliseconds between readings of what the stream does not tell
const BUSY = 40; // sagas started a second, from which on rows would only flicker
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const COORDINATORS = [["", "both"], ["choreography", "choreography"], ["orchestration", "orchestration"]];
const STATUSES = [["", "any"], ["PENDING_PAYMENT", "pending"], ["PAID", "paid"], ["CANCELLED", "cancelled"], ["FAILED", "failed"]];

export function list(context) {
  const page = new ListPage(context);
  return { title: "Sagas", element: page.element, stop: () => page.stop() };
}

class ListPage {
  #rows = new Rows();
  #frame = 0;
  #tallying = null;
  #pace = SOON;
  #busy = null; // what stands in place of the rows while too many sagas move
  #found = { sagas: [], total: null }; // what the gateway finds by the filter, beyond the newest that the page keeps
  #asked = 0;
  #looking = false;
  #empty = null; // what stands in place of the rows while there is no saga
  #refusal = null; // why the newest sagas could not be read

  constructor(context) {
    this.context = context;
    this.filter = { coordinator: "", status: "", user: "", ...JSON.parse(sessionStorage.getItem("saga.filter") ?? "{}") };
    this.note = h("p", { class: "note" });
    this.spoken = h("p", { class: "unseen", role: "status" }); // what a filter finds; not each order that comes
    this.body = h("div", { class: "rows" });
    this.totals = totalsStrip(context.store, (status) => this.#choose({ status }));
    this.filters = this.#filters();
    const aside = h("aside", { class: "side", "aria-label": "Place an order" }, placeForm(context));
    const section = h("section", { class: "list", "aria-labelledby": "sagas" }, this.filters, this.body, this.note, this.spoken);
    this.element = h("div", { class: "view" }, h("h1", { id: "sagas", class: "unseen" }, "Sagas"), this.totals.element, h("div", { class: "columns" }, section, aside));
    this.#listen();
    this.#choose({});
  }

  #listen() {
    const { store, live } = this.context;
    const ended = new AbortController();
    const later = () => (this.#frame ||= requestAnimationFrame(() => this.#draw()));
    for (const event of ["change", "totals"]) store.addEventListener(event, later, ended);
    store.addEventListener("change", () => this.#tally(), ended);
    store.addEventListener("refused", (event) => this.#tellRefused(event.detail), ended);
    const clocks = [poll(() => this.#rows.age(), 1000), poll(() => this.#refresh(live), REFRESH)];
    this.stop = () => {
      ended.abort();
      clocks.forEach((end) => end());
      clearTimeout(this.#tallying);
      cancelAnimationFrame(this.#frame);
    };
  }

  #refresh(live) {
    const { store } = this.context;
    store.catchUp();
    if (live.state === "live") store.readTotals().catch(() => {});
    if (!this.#looking) this.#look();
  }

  #tellRefused(error) {
    this.#refusal = error;
    const { store } = this.context;
    if (store.loaded || store.sagas.size) this.#draw();
    else putInPlace(this.body, failed(error, () => store.read()));
  }

  /** Read the totals soon after the rows have changed, but so that the reading takes a tenth of the time at most. */
  #tally() {
    const { store } = this.context;
    if (this.#tallying || store.busy(BUSY)) return;
    this.#tallying = setTimeout(async () => {
      const began = performance.now();
      await store.readTotals().catch(() => {});
      this.#pace = Math.max(SOON, 10 * (performance.now() - began));
      this.#tallying = null;
    }, this.#pace);
  }

  #filters() {
    const { coordinator, status, user } = this.filter;
    const customer = h("input", { type: "search", placeholder: "customer’s id", value: user, "aria-label": "Customer" });
    customer.addEventListener("input", () => this.#choose({ user: customer.value.trim().toLowerCase() }));
    return h(
      "div",
      { class: "filters" },
      segments("by", "Coordinator", COORDINATORS, coordinator, (chosen) => this.#choose({ coordinator: chosen })),
      segments("status", "Status of the order", STATUSES, status, (chosen) => this.#choose({ status: chosen })),
      customer,
    );
  }

  #choose(change) {
    Object.assign(this.filter, change);
    sessionStorage.setItem("saga.filter", JSON.stringify(this.filter));
    this.totals.mark(this.filter.status);
    for (const radio of this.filters.querySelectorAll("[name=status]")) radio.checked = radio.value === this.filter.status;
    this.#found = { sagas: [], total: null };
    this.#draw();
    this.#look(Object.keys(change).length > 0);
  }

  /** Ask the gateway for orders that match, which may be older than those that the page keeps. */
  async #look(chosen = false) {
    const { status, user } = this.filter;
    const asked = (this.#asked += 1);
    this.#looking = Boolean(status) || UUID.test(user);
    if (!this.#looking) {
      if (chosen) say(this.spoken, this.note.textContent);
      return;
    }
    const query = new URLSearchParams({ limit: SHOWN, ...(status && { status }), ...(UUID.test(user) && { userId: user }) });
    const found = await this.context.api.get(`/api/orders?${query}`).catch(() => null);
    if (asked !== this.#asked) return;
    this.#looking = false;
    if (!found) return;
    this.#found = { sagas: found.data.map((order) => fromOrder(order)), total: found.meta.total };
    this.#draw();
    if (chosen) say(this.spoken, this.note.textContent);
  }

  #matches(saga) {
    const { coordinator, status, user } = this.filter;
    if (coordinator && saga.coordinator !== coordinator) return false;
    if (status && saga.status !== status) return false;
    return !user || (saga.userId ?? "").startsWith(user);
  }

  #draw() {
    const { store } = this.context;
    this.#frame = 0;
    this.totals.draw();
    if (store.busy(BUSY)) return this.#drawBusy(store);
    if (this.#busy) store.read(); // what was left out of the frames meanwhile
    this.#busy = null;
    const known = newestOf(store.sagas, this.#found.sagas);
    if (!known.length) {
      if (store.loaded) this.#put((this.#empty ??= emptyState(this.context)));
      return say(this.note, store.loaded ? "" : "Reading the newest sagas …");
    }
    const shown = known.filter((saga) => this.#matches(saga)).slice(0, SHOWN);
    this.#rows.show(shown);
    this.#put(this.#rows.element);
    const late = store.behind && this.#refusal ? ` The latest may be missing: ${this.#refusal.message}` : "";
    return say(this.note, this.#foundNote(shown.length, known.length) + late);
  }

  #put(element) {
    if (this.body.firstChild !== element) put(this.body, element);
  }

  #drawBusy(store) {
    if (!this.#busy) {
      this.#busy = { rate: h("strong"), ended: h("strong") };
      const text = `Rows would only flicker. They come back when fewer than ${BUSY} begin a second; the figures above go on.`;
      put(this.body, h("div", { class: "busy" }, h("p", {}, this.#busy.rate, " sagas begin a second, and ", this.#busy.ended, " end"), h("p", { class: "hint" }, text)));
      say(this.note, "");
    }
    say(this.#busy.rate, count(Math.round(store.rate("started", 3))));
    say(this.#busy.ended, count(Math.round(store.rate("ended", 3))));
  }

  #foundNote(shown, known) {
    const { coordinator, status, user } = this.filter;
    if (!shown) return "None of the newest sagas matches. Change the filter.";
    const plain = !coordinator && !user;
    const every = plain && !status ? Math.max(this.context.store.totals?.total ?? 0, known) : plain ? this.#found.total : null;
    return every === null ? `The newest ${count(shown)} that match.` : `The newest ${count(shown)} of ${count(Math.max(every, shown))} sagas.`;
  }
}

/** All of both, the newest first. */
function newestOf(sagas, more) {
  const all = [...sagas.values(), ...more.filter((saga) => !sagas.has(saga.orderId))];
  return all.sort(newerFirst);
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
