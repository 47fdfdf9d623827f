/** Remember what was redriven from this tab, and look up what became of it. */

import { counted, since } from "./format.js";

const KEPT = 50;
const NAME = "saga.redriven";
const SOON = 5000; // milliseconds, for which nothing can be said yet
const LOOKED = 10; // sagas that are asked at once

function kept() {
  return JSON.parse(sessionStorage.getItem(NAME) ?? "[]");
}

function keep(found) {
  sessionStorage.setItem(NAME, JSON.stringify(found.slice(0, KEPT)));
}

export const History = {
  /** Remember these letters as redriven now. */
  add(letters) {
    const at = new Date().toISOString();
    const slim = letters.map(({ id, eventId, eventType, orderId, queue, routingKey }) => ({ letter: { id, eventId, eventType, orderId, queue, routingKey }, at }));
    keep([...slim, ...kept()]);
  },

  /**
   * Each with its outcome: "again" (it failed again), "done" (an event answers it), "under" (neither is known: it may wait
   * for a retry, or it was a message that changes nothing).
   */
  async look(api) {
    const found = kept();
    if (!found.length) return [];
    const [{ data }] = await Promise.all([api.get("/api/operator/dead-letters?limit=1000"), findAnswers(api, found)]);
    const now = withAnswers(kept(), found); // letters may have been redriven meanwhile
    keep(now);
    return now.map((each) => ({ ...each, ...outcomeOf(each, data) }));
  },
};

/** Find in the timelines of their sagas the events that answer these messages. */
async function findAnswers(api, found) {
  const open = found.filter(({ letter, answer }) => !answer && letter.eventId && letter.orderId).slice(0, LOOKED);
  await Promise.all(
    open.map(async (each) => {
      const { entries } = await api.get(`/api/orders/${each.letter.orderId}/timeline`).catch(() => ({ entries: [] }));
      each.answer = entries.find((entry) => entry.cause.causationId === each.letter.eventId)?.eventType;
    }),
  );
}

/** What is kept now, with the answers that were found. */
function withAnswers(now, found) {
  const name = ({ letter, at }) => `${letter.id} ${at}`;
  const answers = new Map(found.map((each) => [name(each), each.answer]));
  return now.map((each) => ({ ...each, answer: each.answer ?? answers.get(name(each)) }));
}

function outcomeOf({ letter, at, answer }, letters) {
  if (answer) return { outcome: "done", words: `handled: ${answer}` };
  const same = (other) => other.queue === letter.queue && (letter.eventId ? other.eventId === letter.eventId : other.id === letter.id);
  const back = letters.find((other) => same(other) && (other.failedAt ?? "") > at);
  if (back) return { outcome: "again", words: `failed again: ${back.reason}` };
  return { outcome: "under", words: Date.now() - Date.parse(at) < SOON ? "taken up again …" : "taken up again; not given up so far" };
}

/** What is known of the redrives that a letter has behind it. */
export function redrivenBefore({ redriven, redrivenBy, redrivenAt }) {
  const by = redrivenBy ? ` by ${redrivenBy}` : "";
  return `redriven ${counted(redriven, "time")}, last${by} ${since(redrivenAt)}`;
}
