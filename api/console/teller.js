/** What both coordinators' stories have in common: the commits, the provider's part, timers and dead letters; pure. */

import { counted, duration, money } from "./format.js";

export const ROUTES = {
  CreateOrderRequested: "order.create.requested",
  OrderCancelRequested: "order.cancel.requested",
  OrderCreated: "order.created",
  OrderPaid: "order.paid",
  OrderCancelled: "order.cancelled",
  OrderFailed: "order.failed",
  PaymentApproved: "payment.approved",
  PaymentDeclined: "payment.declined",
  PaymentFailed: "payment.failed",
  PaymentCancelled: "payment.cancelled",
  PaymentRefunded: "payment.refunded",
};
export const STATUSES = {
  OrderCreated: "PENDING_PAYMENT",
  OrderPaid: "PAID",
  OrderCancelled: "CANCELLED",
  OrderFailed: "FAILED",
  PaymentApproved: "APPROVED",
  PaymentDeclined: "DECLINED",
  PaymentFailed: "FAILED",
  PaymentCancelled: "CANCELLED",
  PaymentRefunded: "REFUNDED",
};
export const UNDOING = new Set(["OrderCancelled", "PaymentCancelled", "PaymentRefunded"]);

export const LANES = {
  client: { label: "client", sub: "" },
  gateway: { label: "gateway", sub: "FastAPI" },
  broker: { label: "RabbitMQ", sub: "exchanges, queues" },
  temporal: { label: "Temporal", sub: "OrderSaga" },
  order: { label: "order service", sub: "its own database" },
  payment: { label: "payment service", sub: "its own database" },
  provider: { label: "provider", sub: "moves the money" },
};

/** The lane of the service that logged an event. */
export function laneOf(entry) {
  return entry.service ?? (entry.actor ?? "").replace("-service", "");
}

/** Compare what was given up: by its time; what has none comes last. */
function earlierFirst(one, other) {
  if (!one.at || !other.at) return Boolean(other.at) - Boolean(one.at);
  return Date.parse(one.at) - Date.parse(other.at);
}

/** Tells a saga's events one after the other. Subclasses say how an event is brought about, and where it goes. */
export class Teller {
  constructor(saga) {
    this.saga = saga;
    this.events = saga.events ?? [];
    this.start = this.events.length ? Date.parse(this.events[0].at) : saga.order ? Date.parse(saga.order.createdAt) : null;
    this.steps = [];
    this.charged = false;
    this.voided = false;
  }

  tellAll(letters) {
    if (!this.events.length) this.arrive({ eventType: "OrderCreated", cause: { name: "CreateOrderRequested" } });
    const given = letters.map((letter) => ({ letter, at: letter.failedAt ?? letter.firstFailedAt ?? "" })).sort(earlierFirst);
    for (const event of this.events) {
      while (given.length && given[0].at && given[0].at < event.at) this.tellLetter(given.shift().letter);
      this.tellEvent(event);
    }
    for (const { letter } of given) this.tellLetter(letter);
    if (this.saga.waitsFor) this.wait(this.saga.waitsFor);
  }

  step(step) {
    this.steps.push({ kind: "arrow", elapsed: null, recorded: false, tone: "plain", key: null, ...step });
  }

  arrow(from, to, label, tone, sentence) {
    this.step({ from, to, label, tone, sentence });
  }

  commit(event) {
    const lane = laneOf(event);
    const status = STATUSES[event.eventType] ?? "";
    this.step({
      kind: "commit",
      from: lane,
      to: lane,
      label: event.eventType,
      status,
      tone: UNDOING.has(event.eventType) ? "undo" : "event",
      elapsed: event.elapsedMs,
      recorded: true,
      key: event.eventType,
      sentence: `The ${LANES[lane]?.label ?? lane} commits ${status}, with ${event.eventType} in its event log. ${event.summary ?? ""}`.trim(),
    });
  }

  /** The commit of PROCESSING, which no event tells and whose time the payment's row has; and the charge. */
  charge(money_) {
    const { payment } = this.saga;
    this.charged = true;
    this.step({
      kind: "commit",
      from: "payment",
      to: "payment",
      label: "charge is due",
      status: "PROCESSING",
      tone: "event",
      elapsed: this.start === null ? null : Math.max(0, Date.parse(payment.createdAt) - this.start),
      recorded: true,
      sentence: "The payment service commits PROCESSING, with the charge due, before it asks the provider.",
    });
    this.arrow("payment", "provider", `charge ${money_}`, "call", `The payment service asks the provider to charge ${money_}.`);
  }

  answer(label, tone, sentence) {
    this.step({ from: "provider", to: "payment", label, tone, sentence, awaited: true });
  }

  /** What the log knows of the attempts that failed before this event's message was handled. */
  again(event) {
    const { attempt } = event;
    if (!(attempt > 1)) return;
    const lane = laneOf(event);
    const timed = event.eventType === "OrderCancelled" && this.timedOut();
    const what = timed ? "cancel_order" : this.bringing(event);
    this.step({
      from: timed ? "temporal" : this.hub,
      to: lane,
      label: `${what} again: attempt ${attempt}`,
      tone: "bad",
      recorded: true,
      awaited: true,
      again: true,
      sentence: `The ${LANES[lane]?.label ?? lane} has handled ${what} at attempt ${attempt}. ${counted(attempt - 1, "attempt")} had failed, and each next one came after a pause.`,
    });
  }

  tellEvent(event) {
    this.arrive(event);
    this.again(event);
    this.before(event);
    this.commit(event);
    this.publish(event);
    this.after(event);
  }

  /** What the provider answered before this event was committed. */
  before(event) {
    const reason = this.saga.payment?.reason;
    if (event.eventType === "PaymentApproved") this.answer("captured", "reply", "The provider has captured the money.");
    if (event.eventType === "PaymentDeclined") this.answer(`declined${reason ? `: ${reason}` : ""}`, "bad", "The provider says no.");
    if (event.eventType === "PaymentFailed") this.#failedCharge(reason ?? "");
    if (event.eventType === "PaymentRefunded") this.#refund();
  }

  #failedCharge(reason) {
    if (!/answer|time/i.test(reason)) return this.answer("refused for good", "bad", `The provider refuses: ${reason}`);
    this.answer("no answer", "bad", "The provider gives no answer, after all retries.");
    this.arrow("payment", "provider", "void", "undo", "The payment service voids the charge.");
    return this.answer("void confirmed", "reply", "The provider confirms that nothing is captured.");
  }

  #refund() {
    const amount = money(this.saga.payment?.amount, this.saga.payment?.currency);
    if (this.voided) this.answer("was captured already", "bad", "The charge was under way: the money was captured.");
    this.voided = false;
    this.arrow("payment", "provider", `refund ${amount}`, "undo", `The payment service has the provider refund ${amount}.`);
    this.answer("refunded", "reply", "The provider has given the money back.");
  }

  /** What follows an event's commit at once. */
  after(event) {
    const { payment } = this.saga;
    if (event.eventType === "PaymentCancelled" && this.charged) {
      this.voided = true;
      this.arrow("payment", "provider", "void", "undo", "The payment service voids the charge, which may be under way.");
      const late = this.events.some((each) => each.eventType === "PaymentRefunded");
      if (!late && !this.saga.waitsFor) this.answer("nothing captured", "reply", "The provider confirms that it keeps no money.");
    }
    if (event.eventType === "OrderCreated" && payment && !this.#overtaken(payment)) {
      this.bringCharge();
      this.charge(money(payment.amount, payment.currency));
    }
  }

  /** Whether the cancellation reached the payment service first, so that nothing was ever charged. */
  #overtaken(payment) {
    const off = this.events.find((each) => each.eventType === "PaymentCancelled");
    const settled = this.events.some((each) => /Payment(Approved|Declined|Failed|Refunded)/.test(each.eventType));
    return payment.status === "CANCELLED" && !settled && Boolean(off) && Date.parse(payment.createdAt) >= Date.parse(off.at);
  }

  request(name) {
    const cancel = name === "OrderCancelRequested";
    const label = cancel ? "PATCH …/cancel" : "POST /api/orders";
    this.step({ from: "client", to: "gateway", label, tone: "command", awaited: true, sentence: `The client asks to ${cancel ? "cancel the order" : "place an order"}.` });
  }

  timedOut() {
    return this.saga.order?.cancelReason === "PAYMENT_TIMEOUT";
  }

  timer(event) {
    this.step({
      kind: "timer",
      from: "temporal",
      to: "temporal",
      label: `timer: not settled after ${duration(event.elapsedMs)}`,
      awaited: true,
      tone: "undo",
      sentence: "The timer that Temporal keeps for this saga fires: the payment was not settled in time.",
    });
    this.arrow("temporal", "order", "cancel_order", "undo", "Temporal has the order service cancel the order.");
  }

  /** What a publication's label adds: the broker has not confirmed the event, so the relay will publish it. */
  unheard(event) {
    return event.published === false ? ": not confirmed yet" : "";
  }

  tellLetter(letter) {
    const lane = /payment/.test(letter.queue) ? "payment" : /mirror/.test(letter.queue) ? "temporal" : "order";
    this.step({
      kind: "letter",
      from: lane,
      to: lane,
      label: `dead letter: ${letter.eventType ?? letter.routingKey}, after ${counted(letter.attempts, "attempt")}`,
      tone: "bad",
      recorded: true,
      elapsed: letter.failedAt && this.start !== null ? Math.max(0, Date.parse(letter.failedAt) - this.start) : null,
      sentence: `${letter.eventType ?? "A message"} is set aside after ${counted(letter.attempts, "attempt")} (${letter.reason}): ${letter.error}`,
      letterId: letter.id,
    });
  }

  wait(text) {
    const lane = /provider|payment service/.test(text) ? "payment" : /order service/.test(text) ? "order" : "temporal";
    this.step({ kind: "wait", from: lane, to: lane, label: `waits for ${text}`, tone: "wait", sentence: `The saga waits for ${text}.` });
  }
}
