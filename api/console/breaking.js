/** Break it: kill, freeze or cut off a part while sagas are under way. It comes back by itself. */

import { isAway } from "./attention.js";
import { ask } from "./dialogs.js";
import { h, put, say } from "./dom.js";
import { count, counted } from "./format.js";
import { place } from "./place.js";

const WAVE = 10; // orders through each coordinator
const METHODS = ["pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_timeout_then_approve"];

const ACTS = {
  kill: {
    title: "Kill",
    action: "Kill it",
    text: "It gets SIGKILL, in the middle of whatever it does, and is started again. No order and no money is lost.",
    told: (name) => `${name} was killed. Watch it come back.`,
  },
  freeze: {
    title: "Freeze",
    action: "Freeze it",
    text: "It keeps its connections and answers nothing, as a machine does that hangs. It goes on by itself.",
    told: (name, seconds) => `${name} is frozen for ${seconds} s. Watch the sagas and the audit.`,
  },
  cut: {
    title: "Cut off",
    action: "Cut it off",
    text: "It goes on working, and nothing gets through to it or from it, as if its cable were pulled. What was sent meanwhile arrives afterwards.",
    told: (name, seconds) => `${name} is cut off for ${seconds} s. Watch the sagas and the audit.`,
  },
};

/** Ask, then kill, freeze or cut off. Resolves to whether it was done. */
export async function breakPart({ api, notices }, name, kind) {
  const { title, action, text, told } = ACTS[kind];
  const lasts = kind !== "kill";
  const seconds = h("input", { type: "number", name: "seconds", id: "seconds", min: 1, max: 60, value: "5", required: true });
  const answer = await ask({
    title: `${title} ${name}?`,
    text,
    action,
    dangerous: true,
    extra: lasts && h("div", { class: "field" }, h("label", { for: "seconds" }, "Seconds"), seconds),
  });
  if (!answer) return false;
  try {
    await api.post(`/api/console/parts/${name}/${kind}`, lasts ? { seconds: Number(answer.seconds) } : {});
    notices.tell(told(name, answer.seconds));
  } catch (error) {
    if (error.status !== 0 || name !== "gateway") {
      notices.complain(error);
      return false;
    }
    notices.tell("The gateway could not even answer. Watch it come back.");
  }
  return true;
}

/** Say why nothing can be cut off here, and what to do. */
export function tellUncuttable({ notices }) {
  notices.tell("The parts of this stack reach each other directly, so nothing can cut them off. Start it with saga up --cuttable, or make run.");
}

/** The controls beside the parts: something to break. */
export function breaking({ api, notices, store }) {
  const open = h("strong", {}, "–");
  const button = h("button", { class: "primary" }, `Send ${2 * WAVE} orders`);
  const show = () => say(open, count(store.totals?.byStatus?.PENDING_PAYMENT ?? 0));
  const reading = setInterval(() => {
    if (!open.isConnected) return clearInterval(reading);
    return isAway() || store.readTotals().then(show, () => {});
  }, 1500);
  show();
  button.addEventListener("click", async () => {
    button.disabled = true;
    const { sent, refused } = await wave(api);
    button.disabled = false;
    const more = refused.length ? ` ${counted(refused.length, "order")} refused: ${refused[0].message}` : "";
    notices.tell(`${counted(sent, "order")} accepted. Now break something.${more}`);
  });
  return h(
    "section",
    { class: "breaking", "aria-labelledby": "break-it" },
    h("h2", { id: "break-it" }, "Break it"),
    h("p", {}, "Send a wave of orders through both coordinators, then kill, freeze or cut off any part above. Every order that was accepted ends PAID, CANCELLED or FAILED, and the audit holds."),
    h("p", { class: "actions" }, button, h("span", {}, open, " under way")),
    h("p", { class: "hint" }, h("a", { href: "#/" }, "Watch all sagas")),
  );
}

/** What stands there where nothing may be broken. */
export function unbreakable() {
  return put(h("p", { class: "hint" }), "Parts can be killed, frozen and cut off from here on an embedded stack (", h("code", {}, "saga up"), ") only.");
}

async function wave(api) {
  const orders = Array.from({ length: 2 * WAVE }, (_, index) => ({
    coordinator: index % 2 ? "orchestration" : "choreography",
    order: { total: 100 * (1 + index), currency: "USD", paymentMethod: METHODS[Math.floor(index / 2) % METHODS.length] },
  }));
  const ended = await Promise.allSettled(orders.map(({ order, coordinator }) => place(api, order, coordinator)));
  const refused = ended.filter((each) => each.status === "rejected").map((each) => each.reason);
  return { sent: ended.length - refused.length, refused };
}
