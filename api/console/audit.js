/** The meter of the audit: it asks both services again and again, and stays green, or says what is not. */

import { attend, isAway } from "./attention.js";
import { h, put, putInPlace, say } from "./dom.js";
import { count, counted, moment } from "./format.js";

const CALM = 15_000; // milliseconds between audits
const ALERT = 2000; // the same, after something was broken
const WATCHED = 60_000; // milliseconds after that
const SLOW = 2000; // milliseconds, after which an audit is taken for one that waits
const BARS = 40;

export class AuditMeter {
  #timer = null;
  #alertUntil = 0;
  #verdicts = [];

  constructor(context) {
    this.context = context;
    this.verdict = h("p", { class: "verdict", role: "status" }, "Asking both services …");
    this.bars = h("div", { class: "verdicts", "aria-hidden": "true" });
    this.checks = h("div", {});
    this.when = h("p", { class: "hint" });
    const reconcile = h("button", { class: "quiet", on: { click: () => this.#reconcile() } }, "Reconcile now");
    const again = h("button", { class: "quiet", on: { click: () => this.#look() } }, "Audit now");
    this.element = h("section", { class: "audit", "aria-labelledby": "audit" }, h("h2", { id: "audit" }, "Audit"), this.verdict, this.bars, this.when, h("p", { class: "actions" }, again, reconcile), this.checks);
    this.end = attend({ back: () => this.#look() });
    this.#look();
  }

  stop() {
    this.stopped = true;
    this.end();
    clearTimeout(this.#timer);
  }

  /** Look more often for a while: something was broken. */
  watch() {
    this.#alertUntil = Date.now() + WATCHED;
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    if (this.looking || isAway()) return;
    this.looking = true;
    const slow = setTimeout(() => this.#wait(), SLOW);
    try {
      this.#show(await this.context.api.get("/api/operator/audit"));
    } catch (error) {
      this.#away(error);
    } finally {
      clearTimeout(slow);
      this.looking = false;
      if (!this.stopped) this.#timer = setTimeout(() => this.#look(), Date.now() < this.#alertUntil ? ALERT : CALM);
    }
  }

  #show({ holds, checks, waiting, leftOut }) {
    const broken = checks.filter((check) => check.violations > 0);
    this.element.className = `audit ${holds ? "holds" : "broken"}`;
    say(this.verdict, holds ? `${counted(checks.length, "check")} hold` : `${counted(broken.length, "invariant")} violated`);
    this.#mark(holds ? "holds" : "broken");
    putInPlace(this.when, `Last at ${moment(new Date().toISOString()).slice(11)}. ${counted(waiting, "event")} on the way to the broker.`, leftOut?.length > 0 && [" ", h("code", {}, "saga audit"), ` makes the others: ${leftOut.join(", ")}.`]);
    const details = h("details", { open: !holds }, h("summary", { "data-act": "checked" }, "What was checked"), h("ul", { class: "checks" }, checks.map(check)));
    if (holds && this.checks.querySelector("details")?.open) details.open = true;
    putInPlace(this.checks, details);
  }

  /** A verdict of before must not stand while a service is frozen. */
  #wait() {
    this.element.className = "audit away";
    say(this.verdict, "Waiting for a service’s answer …");
  }

  #away(error) {
    this.element.className = "audit away";
    say(this.verdict, "No verdict: a service is away");
    this.#mark("away");
    say(this.when, error.message);
  }

  #mark(verdict) {
    this.#verdicts.push(verdict);
    if (this.#verdicts.length > BARS) this.#verdicts.shift();
    put(this.bars, this.#verdicts.map((each) => h("span", { class: each })));
  }

  async #reconcile() {
    try {
      await this.context.api.post("/api/operator/reconcile");
      this.context.notices.tell("The reconciler looks for what fell through everything else.");
    } catch (error) {
      this.context.notices.complain(error);
    }
  }
}

function check({ check: name, invariant, violations, examples }) {
  return h("li", { class: violations ? "broken" : "holds" }, name, h("small", {}, ` invariant ${invariant}`), violations > 0 && h("strong", {}, ` ${count(violations)}`), violations > 0 && h("pre", {}, JSON.stringify(examples, null, 2)));
}
