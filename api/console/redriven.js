/** Remember what was redriven from this tab, and look up what became of it. */

import { ago, counted } from "./format.js";

const KEPT = 50;
const NAME = "saga.redriven";
const SOON = 15_000; // milliseconds, until which a message may still be on its way through its retries

function kept() {
  return JSON.parse(sessionStorage.getItem(NAME) ?? "[]");
}

export const History = {
  /** Remember these letters as redriven now. */
  add(letters) {
    const at = new Date().toISOString();
    const slim = letters.map(({ id, eventId, eventType, orderId, queue, routingKey }) => ({ letter: { id, eventId, eventType, orderId, queue, routingKey }, at }));
    sessionStorage.setItem(NAME, JSON.stringify([...slim, ...kept()].slice(0, KEPT)));
  },

  /** Each with its outcome: "again" (it failed again), "under" (it may be under way), "done" (it has left the queue). */
  async look(api) {
    const found = kept();
    if (!found.length) return [];
    const { data } = await api.get("/api/operator/dead-letters?limit=1000");
    return found.map((each) => ({ ...each, ...outcomeOf(each, data) }));
  },
};

function outcomeOf({ letter, at }, letters) {
  const same = (other) => other.queue === letter.queue && (letter.eventId ? other.eventId === letter.eventId : other.id === letter.id);
  const back = letters.find((other) => same(other) && (other.failedAt ?? "") > at);
  if (back) return { outcome: "again", words: `failed again: ${back.reason}` };
  if (Date.now() - Date.parse(at) < SOON) return { outcome: "under", words: "taken up again …" };
  return { outcome: "done", words: "handled" };
}

/** What is known of the redrives that a letter has behind it. */
export function redrivenBefore({ redriven, redrivenBy, redrivenAt }) {
  const by = redrivenBy ? ` by ${redrivenBy}` : "";
  return `redriven ${counted(redriven, "time")}, last${by} ${ago(redrivenAt)} ago`;
}
