/** Keep the newest sagas, the totals and the rates: never more than a screen needs, however long the page is open. */

const KEPT = 300; // sagas
const SECONDS = 60; // of rates

export class Store extends EventTarget {
  #api;
  #reading = null;

  constructor(api, live) {
    super();
    this.#api = api;
    this.sagas = new Map(); // by order id
    this.totals = null;
    this.loaded = false; // whether the newest orders have been read
    this.rates = []; // of the last minute: {at, started, ended, events}, as counted between two frames
    this.droppedAt = 0; // when a frame last left sagas out
    live.addEventListener("sagas", (event) => this.#take(event.detail));
    live.addEventListener("gap", () => this.read());
    live.addEventListener("hello", () => this.read());
  }

  /** Read the newest orders, their payments and the totals. One reading at a time. Raises Refused. */
  read() {
    this.#reading ??= this.#readAll().finally(() => (this.#reading = null));
    return this.#reading.catch((error) => this.dispatchEvent(new CustomEvent("refused", { detail: error })));
  }

  async #readAll() {
    const [orders, payments] = await Promise.all([
      this.#api.get("/api/orders?limit=100"),
      this.#api.get("/api/payments?limit=100").catch(() => ({ data: [] })),
    ]);
    const statuses = new Map(payments.data.map((payment) => [payment.orderId, payment.status]));
    for (const order of orders.data) this.merge(fromOrder(order, statuses.get(order.id)));
    this.#forget();
    this.loaded = true;
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    await this.readTotals().catch(() => {}); // the list stands without them, and they are read again
  }

  async readTotals() {
    this.totals = await this.#api.get("/api/console/totals");
    this.dispatchEvent(new CustomEvent("totals"));
  }

  /** Take in what is known of a saga. What the stream does not know is not forgotten. */
  merge(saga) {
    const known = this.sagas.get(saga.orderId);
    if (!known) this.sagas.set(saga.orderId, saga);
    else if (!known.at || !saga.at || saga.at >= known.at) Object.assign(known, present(saga));
  }

  forgetAll() {
    this.sagas.clear();
    this.totals = null;
    this.loaded = false;
    this.rates = [];
  }

  /** The newest first. */
  newest() {
    return [...this.sagas.values()].sort((a, b) => (a.startedAt < b.startedAt ? 1 : a.startedAt > b.startedAt ? -1 : 0));
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
