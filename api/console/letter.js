/** One dead letter in full: why it failed, what it says, and what can be done with it. */

import { ask, fillFrom } from "./dialogs.js";
import { h } from "./dom.js";
import { count, moment } from "./format.js";
import { History, redrivenBefore } from "./redriven.js";

export class LetterPage {
  constructor(context, letterId) {
    this.context = context;
    const body = h("div", { class: "stack" });
    this.element = h("article", { class: "view letters" }, h("p", { class: "back" }, h("a", { href: "#/letters" }, "← All dead letters")), h("h1", {}, "A dead letter"), body);
    fillFrom(body, "the letter", async () => this.#show(await context.api.get(`/api/operator/dead-letters/${encodeURIComponent(letterId)}`)));
  }

  stop() {}

  #show(letter) {
    const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    const shown = typeof letter.body === "string" ? letter.body : JSON.stringify(letter.body, null, 2);
    return [
      h("p", { class: "waits bad" }, h("strong", {}, letter.reason), ": ", letter.error),
      h(
        "dl",
        { class: "card" },
        fact("Message", letter.eventType ?? "unknown type"),
        fact("Failed in", h("code", {}, letter.queue)),
        fact("Came by", h("code", {}, `${letter.exchange} · ${letter.routingKey}`)),
        fact("Attempts", count(letter.attempts)),
        fact("First failed", moment(letter.firstFailedAt)),
        fact("Given up", moment(letter.failedAt)),
        letter.orderId && fact("Order", h("a", { href: `#/orders/${letter.orderId}` }, h("code", {}, letter.orderId))),
        letter.redriven > 0 && fact("Failed again", `It was ${redrivenBefore(letter)}`),
      ),
      h("p", { class: "actions" }, h("button", { class: letter.reason === "MALFORMED" ? "quiet" : "primary", on: { click: () => this.#redrive(letter) } }, "Redrive it"), h("button", { class: "quiet dangerous", on: { click: () => this.#discard(letter) } }, "Discard it")),
      h("h2", {}, "Its body"),
      h("pre", { tabindex: "0", role: "region", "aria-label": "The body of the message" }, shown),
    ];
  }

  async #redrive(letter) {
    const text = `It goes back to ${letter.queue}, where it failed, with a fresh count of attempts.`;
    if (!(await ask({ title: "Redrive this message?", text, action: "Redrive" }))) return;
    await this.#act(letter, async (api, path) => {
      await api.post(`${path}/redrive`);
      History.add([letter]);
    });
  }

  async #discard(letter) {
    if (!(await ask({ title: "Discard it for good?", text: "The message would be gone, and nobody would ever handle it.", action: "Discard for good", dangerous: true }))) return;
    await this.#act(letter, (api, path) => api.delete(path));
  }

  async #act(letter, doing) {
    try {
      await doing(this.context.api, `/api/operator/dead-letters/${encodeURIComponent(letter.id)}`);
      this.context.go("#/letters");
    } catch (error) {
      this.context.notices.complain(error);
    }
  }
}
