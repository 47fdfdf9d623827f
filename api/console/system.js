/** The system: how its parts are, what the audit says, and, where it is allowed, break it. */

import { poll } from "./attention.js";
import { AuditMeter } from "./audit.js";
import { breakPart, breaking, tellUncuttable, unbreakable } from "./breaking.js";
import { failed, loading } from "./dialogs.js";
import { h, putInPlace } from "./dom.js";
import { counted } from "./format.js";

const EVERY = 2000; // milliseconds
const NOTICED = 1500; // milliseconds that the gateway may take to see that a part is broken
const ABOUT = {
  gateway: "takes orders, answers queries; owns nothing",
  order: "owns the orders, and their database",
  payment: "owns the payments, asks the provider",
  worker: "runs the mirrors and the reconciler",
  postgres: "both databases",
  rabbitmq: "queues and exchanges",
  temporal: "workflows and timers",
};
const WORDS = { ok: "up", unknown: "unknown", degraded: "degraded", down: "down", frozen: "frozen", "cut off": "cut off", restarting: "starting again" };
const BROKEN = { kill: "down", freeze: "frozen", cut: "cut off" };

export function system(context) {
  const page = new SystemPage(context);
  return { title: "System", element: page.element, stop: () => page.stop() };
}

class SystemPage {
  constructor(context) {
    Object.assign(this, { context, shown: [], broken: {} }); // `broken`: the part that was broken last
    this.meter = new AuditMeter(context);
    this.parts = h("div", { class: "each" }, loading("the parts"));
    this.breakIt = Boolean(context.api.session?.breakIt);
    this.element = h(
      "article",
      { class: "view system" },
      h("h1", {}, "System"),
      h("div", { class: "columns" }, h("section", { "aria-labelledby": "parts" }, h("h2", { id: "parts" }, "Parts"), h("div", { class: "parts-grid" }, this.parts, this.breakIt ? breaking(context) : unbreakable())), h("aside", { class: "side", "aria-label": "Audit" }, this.meter.element)),
    );
    this.end = poll(() => this.#read(), EVERY);
    this.#read();
  }

  stop() {
    this.stopped = true;
    this.end();
    this.meter.stop();
  }

  async #read() {
    if (this.reading) return;
    this.reading = true;
    try {
      const { parts } = await this.context.api.get("/api/console/parts");
      if (!this.stopped) this.#show(parts);
    } catch (error) {
      if (this.stopped) return;
      this.print = null;
      putInPlace(this.parts, failed(error, () => this.#read()));
    } finally {
      this.reading = false;
    }
  }

  #show(parts) {
    const { name, state, until } = this.broken;
    this.shown = parts.map((part) => (part.name === name && part.state === "ok" && Date.now() < until ? { ...part, state } : part));
    const print = JSON.stringify(this.shown);
    if (print === this.print) return;
    this.print = print;
    putInPlace(this.parts, this.shown.map((part) => this.#part(part)));
  }

  #part({ name, state, detail, restarts, cuttable }) {
    const acts = this.breakIt && this.#acts(name, cuttable);
    return h(
      "section",
      { class: `part ${state.replace(" ", "-")}`, "aria-label": name },
      h("h3", {}, name, " ", h("span", { class: "state" }, WORDS[state] ?? state)),
      h("p", {}, detail && detail !== "ok" ? detail : (ABOUT[name] ?? "")),
      restarts > 0 && h("p", { class: "hint" }, `started again ${counted(restarts, "time")}`),
      acts,
    );
  }

  #acts(name, cuttable) {
    const act = (kind, text, does) => h("button", { class: "quiet dangerous", "data-act": `${kind}-${name}`, on: { click: does ?? (() => this.#break(name, kind)) } }, text, h("span", { class: "unseen" }, ` ${name}`));
    return h("p", { class: "actions" }, act("kill", "Kill"), act("freeze", "Freeze"), act("cut", "Cut off", cuttable ? null : () => tellUncuttable(this.context)));
  }

  async #break(name, kind) {
    if (!(await breakPart(this.context, name, kind))) return;
    this.broken = { name, state: BROKEN[kind], until: Date.now() + NOTICED };
    this.#show(this.shown);
    this.meter.watch();
  }
}
