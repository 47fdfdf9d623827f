/** Tell a choreographed saga: RabbitMQ brings each message, and takes each event; pure. */

import { LANES, ROUTES, STATUSES, Teller, UNDOING, laneOf } from "./teller.js";

export class Choreographed extends Teller {
  hub = "broker";

  /** The message that made this event. */
  bringing(event) {
    return ROUTES[event.cause?.name] ?? event.cause?.name ?? "its message";
  }

  arrive(event) {
    const { name } = event.cause ?? {};
    const lane = laneOf(event) || "order";
    if (name === "OrderCancelRequested" && this.timedOut()) return this.timer(event);
    const tone = UNDOING.has(event.eventType) ? "undo" : name in STATUSES ? "event" : "plain";
    if (name === "CreateOrderRequested" || name === "OrderCancelRequested") {
      this.request(name);
      this.arrow("gateway", "broker", ROUTES[name], "command", `The gateway publishes the command ${ROUTES[name]}.`);
      return this.#deliver(ROUTES[name], lane, "command");
    }
    const charging = /Payment(Approved|Declined|Failed)/.test(event.eventType);
    const afterVoid = event.eventType === "PaymentRefunded" && this.voided;
    if (name && !afterVoid && !(charging && this.charged)) this.#deliver(ROUTES[name] ?? name, lane, tone);
    return undefined;
  }

  bringCharge() {
    this.#deliver("order.created", "payment", "event");
  }

  publish(event) {
    const route = ROUTES[event.eventType] ?? event.eventType;
    const tone = UNDOING.has(event.eventType) ? "undo" : "event";
    this.step({
      from: laneOf(event),
      to: "broker",
      label: `${route}${this.unheard(event)}`,
      tone,
      told: "temporal",
      sentence: `The ${LANES[laneOf(event)]?.label ?? "service"} publishes ${route}${this.unheard(event)}. The mirror in Temporal hears it.`,
    });
  }

  #deliver(route, lane, tone) {
    this.arrow("broker", lane, route, tone, `RabbitMQ delivers ${route} to the ${LANES[lane].label}.`);
  }
}
