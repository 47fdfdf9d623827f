/** Tell an orchestrated saga: a workflow has each step run, and is told its event; pure. */

import { LANES, ROUTES, Teller, UNDOING, laneOf } from "./teller.js";

// The activity by which an orchestrated saga has each event made.
const ACTIVITIES = {
  OrderCreated: "create_order",
  OrderPaid: "pay_order",
  OrderFailed: "fail_order",
  PaymentApproved: "charge_payment",
  PaymentDeclined: "charge_payment",
  PaymentFailed: "charge_payment",
  PaymentCancelled: "cancel_payment",
  PaymentRefunded: "cancel_payment",
};

export class Orchestrated extends Teller {
  hub = "temporal";
  #called = null; // the activity that is under way

  /** The step that made this event. */
  bringing(event) {
    return this.#activity(event);
  }

  arrive(event) {
    const { name } = event.cause ?? {};
    const lane = laneOf(event) || "order";
    const activity = this.#activity(event);
    if (name === "OrderCancelRequested" && this.timedOut()) return this.timer(event);
    if (name === "CreateOrderRequested" || name === "OrderCancelRequested") {
      this.request(name);
      const signal = name === "OrderCancelRequested";
      this.arrow(
        "gateway",
        "temporal",
        signal ? "signal cancel" : "start OrderSaga",
        "command",
        signal ? "The gateway signals the workflow to cancel." : "The gateway has the workflow OrderSaga started.",
      );
    }
    if (this.#called === activity) return undefined;
    return this.#call(activity, lane, UNDOING.has(event.eventType) ? "undo" : "command");
  }

  bringCharge() {
    this.#call("charge_payment", "payment", "command");
  }

  publish(event) {
    this.#called = event.eventType === "PaymentCancelled" ? "cancel_payment" : null;
    const route = ROUTES[event.eventType] ?? event.eventType;
    this.step({
      from: laneOf(event),
      to: "temporal",
      label: `${event.eventType}${this.unheard(event)}`,
      tone: "reply",
      told: "broker",
      sentence: `The step returns ${event.eventType} to the workflow. RabbitMQ carries ${route} to whoever listens.`,
    });
  }

  #activity(event) {
    if (event.eventType !== "OrderCancelled") return ACTIVITIES[event.eventType] ?? event.eventType;
    return event.cause?.name === "PaymentDeclined" ? "decline_order" : "cancel_order";
  }

  #call(activity, lane, tone) {
    this.#called = activity;
    this.arrow("temporal", lane, activity, tone, `The workflow has the ${LANES[lane].label} run its step ${activity}.`);
  }
}
