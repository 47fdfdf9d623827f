/** What the page of twins shows: a lane for each, what is between both, and what stands there instead. */

import { COORDINATORS, coordinatorTag, h } from "./dom.js";
import { money } from "./format.js";
import { standingOf } from "./saga.js";

const ABOUT = {
  choreography: "Nobody is in charge. Services react to each other’s events, over RabbitMQ.",
  orchestration: "The workflow in Temporal is in charge. It has the services run one step after the other.",
};

export function lane(coordinator, found, orderId, svg, took) {
  return h(
    "section",
    { class: `lane ${coordinator}`, "aria-label": coordinator },
    h("h2", {}, coordinatorTag(coordinator), h("span", { class: "clock" }, took)),
    h("p", {}, ABOUT[coordinator]),
    h("p", { class: "line" }, "order ", standingOf(found, "order"), (found.payment || found.away?.includes("payment")) && [" payment ", standingOf(found, "payment")], " ", found.waitsFor && h("span", {}, `waits for ${found.waitsFor}`), " ", h("a", { href: `#/orders/${orderId}`, "data-act": `page ${coordinator}` }, "its own page")),
    h("div", { class: "drawing", "data-act": `drawing ${coordinator}`, tabindex: "0", role: "region", "aria-label": `Sequence diagram of ${coordinator}` }, svg),
  );
}

/** The events that both have logged, each on the line where both commit it. */
export function middle(plans) {
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

export function waiting() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "Two ways to the same facts"),
    COORDINATORS.map((coordinator) => h("p", {}, coordinatorTag(coordinator), " ", ABOUT[coordinator])),
    h("p", { class: "hint" }, `Press “Run both”. Two orders of ${money(999)} begin at the same moment, and each step is drawn as it is committed.`),
  );
}

/** What the page says of an address with orders that nobody knows. */
export function unknown() {
  const text = "There are no two such orders, or one of them is another customer’s.";
  return h("div", { class: "problem", role: "alert" }, h("p", {}, text), h("a", { class: "button quiet", href: "#/twins" }, "New twins"));
}
