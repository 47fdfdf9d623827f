/** Keep the newest sagas, the totals and the rates: never more than a screen needs, however long the page is open. */

const KEPT = 300; // sagas
const SECONDS = 60; // of rates

// The place of each status in its lifecycle: of two that are told, the later one stands.
const PLACES = {
  order: { PENDING_PAYMENT: 0, PAID: 1, FAILED: 1, CANCELLED: 2 },
  payment: { PROCESSING: 0, APPROVED: 1, DECLINED: 1, FAILED: 1, CANCELLED: 1, REFUNDED: 2 },
};

export class Store extends EventTarget {
  #api;
  #reading = null;
  #again = false; // whether the reading under way may be older than what was asked for since
  #session = 0; // an answer to a session of before is dropped

  constructor(api, live) {
    super();
    this.#api = api;
    this.sagas = new Map(); // by order id
    this.totals = null;
    this.loaded = false; // whether the newest orders have been read
    this.behind = false; // whether they must be read again
    this.rates = []; // of the last minute: {at, started, ended, events}, as counted between two frames
    this.droppedAt = 0; // when a frame last left sagas out
    live.addEventListener("sagas", (event) => this.#take(event.detail));
    live.addEventListener("gap", () => this.read());
    live.addEventListener("hello", () => this.read());
  }

  /** Read the newest orders, their payments and the totals: one reading at a time, and once more if asked meanwhile. */
  read() {
    this.behind = true;
    if (this.#reading) this.#again = true;
    else {
      const reading = this.#readOn(this.#session).finally(() => {
        if (this.#reading === reading) this.#reading = null;
      });
      this.#reading = reading;
    }
    return this.#reading;
  }

  /** Read again if the last reading failed. */
  catchUp() {
    if (this.behind && !this.#reading) this.read();
  }

  async #readOn(session) {
    do {
      this.#again = false;
      try {
        await this.#readAll(session);
      } catch (error) {
        if (session === this.#session) this.dispatchEvent(new CustomEvent("refused", { detail: error }));
      }
    } while (this.#again && session === this.#session);
  }

  async #readAll(session) {
    const [orders, payments] = await Promise.all([
      this.#api.get("/api/orders?limit=100"),
      this.#api.get("/api/payments?limit=100").catch(() => ({ data: [] })),
    ]);
    if (session !== this.#session) return;
    const statuses = new Map(payments.data.map((payment) => [payment.orderId, payment.status]));
    for (const order of orders.data) this.merge(fromOrder(order, statuses.get(order.id)));
    this.#forget();
    this.loaded = true;
    this.behind = this.#again;
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    await this.readTotals().catch(() => {}); // the list stands without them, and they are read again
  }

  async readTotals() {
    const session = this.#session;
    const totals = await this.#api.get("/api/console/totals");
    if (session !== this.#session) return;
    this.totals = totals;
    this.dispatchEvent(new CustomEvent("totals"));
  }

  /** Take in what is known of a saga. What the stream does not know is not forgotten. */
  merge(saga) {
    const known = this.sagas.get(saga.orderId);
    if (!known) this.sagas.set(saga.orderId, saga);
    else Object.assign(known, newsOf(known, present(saga)));
  }

  /** Forget what was told to the session that ends: the next one may see less. */
  forgetAll() {
    this.#session += 1;
    this.#reading = null;
    this.behind = false;
    this.droppedAt = 0;
    this.sagas.clear();
    this.totals = null;
    this.loaded = false;
    this.rates = [];
  }

  /** The newest first. */
  newest() {
    return [...this.sagas.values()].sort(newerFirst);
  }

  /** Per second, over the last `seconds`. */
  rate(name, seconds = 5) {
    const since = Date.now() - seconds * 1000;
    return this.rates.reduce((sum, each) => sum + (each.at >= since ? each[name] : 0), 0) / seconds;
  }

  /** Whether more sagas begin than this a second, or than a frame can tell of. */
  busy(limit, seconds = 3) {
    return this.rate("started", seconds) > limit || this.droppedAt > Date.now() - seconds * 1000;
  }

  #take({ sagas, rates, dropped }) {
    for (const saga of sagas) this.merge(saga);
    this.#forget();
    const now = Date.now();
    if (dropped) this.droppedAt = now;
    if (rates) this.rates.push({ ...rates, at: now });
    while (this.rates.length && this.rates[0].at < now - SECONDS * 1000) this.rates.shift();
    this.dispatchEvent(new CustomEvent("change", { detail: sagas.map((saga) => saga.orderId) }));
  }

  #forget() {
    if (this.sagas.size <= KEPT) return;
    for (const saga of this.newest().slice(KEPT)) this.sagas.delete(saga.orderId);
  }
}

/** Compare two sagas: the one that began later comes first, and one whose beginning nobody has told comes last. */
export function newerFirst(one, other) {
  const [a, b] = [one.startedAt ?? "", other.startedAt ?? ""];
  return a < b ? 1 : a > b ? -1 : 0;
}

/** What is new in what is told of a saga: a status by its place in the lifecycle, its last event by that or by time. */
function newsOf(known, told) {
  const steps = [step(PLACES.order, known.status, told.status), step(PLACES.payment, known.paymentStatus, told.paymentStatus)];
  const older = Boolean(known.at && told.at && told.at < known.at);
  const advanced = steps.some((each) => each > 0);
  const news = { ...told };
  if (steps[0] < 0 || (steps[0] === 0 && older)) delete news.status;
  if (steps[1] < 0 || (steps[1] === 0 && older)) delete news.paymentStatus;
  if (older) delete news.at;
  if (!advanced && (older || steps.some((each) => each < 0))) delete news.lastEvent;
  return news;
}

/** How far the told status is after the known one; 0 if it is not told. */
function step(places, known, told) {
  if (!told) return 0;
  return known ? places[told] - places[known] : 1;
}

function present(saga) {
  return Object.fromEntries(Object.entries(saga).filter(([, value]) => value !== null && value !== undefined));
}

/** An order as the list of orders has it, in the form of the stream. */
export function fromOrder(order, paymentStatus) {
  return {
    orderId: order.id,
    coordinator: order.coordinator,
    status: order.status,
    paymentStatus: paymentStatus ?? null,
    amount: order.total,
    currency: order.currency,
    userId: order.userId,
    lastEvent: lastEventOf(order.status, paymentStatus),
    at: order.updatedAt,
    startedAt: order.createdAt,
    events: null,
  };
}

/** The event that a saga with these statuses has told last, by the lifecycles; null if they leave it open. */
function lastEventOf(status, paymentStatus) {
  if (status === "PAID") return "OrderPaid";
  if (status === "FAILED") return "OrderFailed";
  if (status === "PENDING_PAYMENT") return paymentStatus === "PROCESSING" ? "OrderCreated" : null;
  return { REFUNDED: "PaymentRefunded", CANCELLED: "PaymentCancelled", DECLINED: "OrderCancelled" }[paymentStatus] ?? null;
}

/** Whether anything is outstanding, as far as both statuses tell. */
export function underWay({ status, paymentStatus }) {
  if (status === "PENDING_PAYMENT" || paymentStatus === "PROCESSING") return true;
  return status !== "PAID" && paymentStatus === "APPROVED";
}
