/** Dead letters: grouped by cause, redriven or discarded, and what became of them. */

import { poll } from "./attention.js";
import { failed, fillFrom, loading } from "./dialogs.js";
import { h, put, putInPlace, say } from "./dom.js";
import { count, counted, moment, shortId, since } from "./format.js";
import { LetterPage } from "./letter.js";
import { discardGroup, lettersOf, redriveGroup } from "./letter-groups.js";
import { Reading } from "./reading.js";
import { History, redrivenBefore } from "./redriven.js";

const LISTED = 100; // letters of a group

export function letters(context, letterId) {
  const page = letterId ? new LetterPage(context, letterId) : new LettersPage(context);
  return { title: letterId ? "A dead letter" : "Dead letters", element: page.element, stop: () => page.stop() };
}

const CAUSES = {
  MALFORMED: "It could not be read. Discard it, once its sender is mended.",
  ILLEGAL: "It contradicts what is committed. Somebody must look before anything is redriven.",
  TOO_EARLY: "Its order was not known, also not after all retries. Redrive it once the order is there.",
  FAILED: "Handling it failed, also after all retries. Mend the cause, then redrive it.",
  REDELIVERED: "The process that handled it ended each time. Read its log before you redrive it.",
};

class LettersPage {
  constructor(context) {
    this.context = context;
    this.groups = h("div", {}, loading("the dead letters"));
    this.became = h("div", {});
    this.opened = new Set(); // groups whose letters are shown
    this.reading = new Reading(() => this.#read());
    this.element = h(
      "article",
      { class: "view letters" },
      h("h1", {}, "Dead letters"),
      h("p", { class: "lead" }, "Messages that a service could not handle, also not after all retries. None is dropped: mend the cause, then redrive them."),
      this.groups,
      this.became,
    );
    this.end = poll(() => this.reading.underWay || this.reading.ask(), 3000);
    this.reading.ask();
  }

  stop() {
    this.reading.stop();
    this.end();
  }

  async #read() {
    for (const words of this.groups.querySelectorAll("[data-since]")) say(words, since(words.dataset.since));
    try {
      const { data } = await this.context.api.get("/api/operator/dead-letters?group=cause");
      const became = await History.look(this.context.api);
      const print = JSON.stringify([data, became]);
      if (this.reading.stopped || print === this.print) return;
      this.print = print;
      putInPlace(this.groups, data.length ? data.map((group) => this.#group(group)) : none());
      putInPlace(this.became, became.length > 0 && becameTable(became));
    } catch (error) {
      if (!this.print && !this.reading.stopped) putInPlace(this.groups, failed(error, () => this.reading.ask()));
    }
  }

  #group(group) {
    const key = `${group.queue} ${group.eventType} ${group.cause}`;
    const open = h("details", {}, h("summary", { "data-act": `show ${key}` }, `Show ${group.count > LISTED ? `${LISTED} of ` : ""}${counted(group.count, "letter")}`));
    open.addEventListener("toggle", () => {
      this.opened[open.open ? "add" : "delete"](key);
      if (!open.open || open.children.length > 1) return;
      const inside = h("div", {});
      open.append(inside);
      fillFrom(inside, "its letters", async () => letterTable(await lettersOf(this.context.api, group, LISTED)));
    });
    open.open = this.opened.has(key);
    const act = (doing) => async () => {
      await doing(this.context, group);
      this.print = null;
      this.reading.ask();
    };
    return h(
      "section",
      { class: "group", "aria-label": `${group.cause}, ${group.eventType ?? "unknown type"}` },
      h("p", { class: "much" }, count(group.count)),
      h(
        "div",
        {},
        h("h2", {}, group.cause, " ", h("small", {}, group.eventType ?? "unknown type", " in ", h("code", {}, group.queue))),
        h("p", { class: "error" }, group.error),
        h("p", { class: "hint" }, CAUSES[group.cause], ` The latest was given up `, h("span", { "data-since": group.latest }, since(group.latest)), ".", group.redriven > 0 && ` ${count(group.redriven)} of them failed again after a redrive.`),
        open,
      ),
      h("p", { class: "actions" }, h("button", { class: group.cause === "MALFORMED" ? "quiet" : "primary", "data-act": `redrive ${key}`, on: { click: act(redriveGroup) } }, "Redrive all"), h("button", { class: "quiet dangerous", "data-act": `discard ${key}`, on: { click: act(discardGroup) } }, "Discard all")),
    );
  }
}

function none() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "There are no dead letters"),
    h("p", {}, "Every message was handled. A message that fails is retried with growing pauses; if all retries fail, it comes here with its reason, its error and its history."),
    h("p", { class: "hint" }, "From a shell: ", h("code", {}, "saga dead-letters list"), "."),
  );
}

function orderCell({ orderId }) {
  return h("td", {}, orderId ? h("a", { href: `#/orders/${orderId}` }, h("code", {}, shortId(orderId))) : "–");
}

function letterTable(letters) {
  const rows = letters.map((letter) =>
    h(
      "tr",
      {},
      h("td", {}, h("a", { href: `#/letters/${encodeURIComponent(letter.id)}` }, letter.eventType ?? letter.routingKey)),
      orderCell(letter),
      h("td", { class: "why" }, letter.error),
      h("td", { class: "number" }, count(letter.attempts)),
      h("td", {}, letter.redriven ? h("span", { class: "flag again" }, redrivenBefore(letter)) : ""),
      h("td", { class: "number" }, moment(letter.failedAt)),
    ),
  );
  const heads = ["Message", "Order", "Why", "Attempts", "", "Given up"];
  return h("table", {}, h("thead", {}, h("tr", {}, heads.map((text) => (text ? h("th", { scope: "col", class: ["Attempts", "Given up"].includes(text) && "number" }, text) : h("td", {}))))), h("tbody", {}, rows));
}

function becameTable(became) {
  const rows = became.map(({ letter, at, outcome, words }) =>
    h(
      "tr",
      {},
      h("td", {}, letter.eventType ?? letter.routingKey),
      orderCell(letter),
      h("td", { class: "number" }, moment(at)),
      h("td", {}, h("span", { class: `flag ${outcome}` }, words)),
    ),
  );
  const heads = ["Message", "Order", "Redriven", "What became of it"];
  return h(
    "section",
    { class: "became", "aria-labelledby": "became" },
    h("h2", { id: "became" }, "Redriven from here"),
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col", class: text === "Redriven" && "number" }, text)))), h("tbody", {}, rows)),
  );
}
