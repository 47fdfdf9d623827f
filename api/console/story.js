/** Tell a saga step by step from its event logs: pure. A step is recorded, or follows from a recorded one by the rules. */

import { Choreographed } from "./choreographed.js";
import { Orchestrated } from "./orchestrated.js";
import { LANES } from "./teller.js";

const SHORT = {
  order: { label: "order", sub: "service" },
  payment: { label: "payment", sub: "service" },
  broker: { sub: "" },
  temporal: { sub: "" },
  provider: { sub: "" },
};

/**
 * The story of a saga as `GET /api/console/sagas/{id}` answers it.
 *
 * `lanes`: the participants, from left to right. `steps`: `{kind, from, to, label, elapsed, recorded, tone, sentence,
 * key}`; `kind` is arrow, commit, timer, letter or wait; `key` names the event of a commit; `told` is the lane of who
 * only listens; `again`: what was repeated; `awaited`: if time passed before the next commit, it passed before this step. `letters` are dead
 * letters about this order.
 */
export function tell(saga, letters = []) {
  const orchestrated = coordinatorOf(saga) === "orchestration";
  const teller = orchestrated ? new Orchestrated(saga) : new Choreographed(saga);
  teller.tellAll(letters);
  const hub = orchestrated ? "temporal" : "broker";
  const listener = orchestrated ? "broker" : "temporal";
  const keys = ["client", "gateway", hub, "order", "payment", "provider", listener];
  const lanes = keys.map((key) => ({ key, ...LANES[key], hub: key === hub, listens: key === listener }));
  lanes.at(-1).sub = orchestrated ? "tells who listens" : "mirror, timers";
  return { orchestrated, lanes, steps: teller.steps };
}

/** Which coordinator drives a saga: as its order says; while nobody answers for the order, as its workflow's type says. */
export function coordinatorOf({ order, coordinator, workflow }) {
  return order?.coordinator ?? coordinator ?? (workflow?.type === "OrderSaga" ? "orchestration" : "choreography");
}

/** The story with client and gateway as one lane, and who only listens left out: for two stories side by side. */
export function shorten({ lanes, steps, orchestrated }) {
  const merged = (key) => (key === "gateway" ? "client" : key);
  const shown = [];
  let awaited = false;
  for (const step of steps) {
    const short = { ...step, from: merged(step.from), to: merged(step.to), told: null };
    awaited ||= Boolean(step.awaited);
    if (short.kind === "wait" || (short.kind === "arrow" && short.from === short.to)) continue;
    shown.push({ ...short, awaited });
    awaited = false;
  }
  // The mirror's timer acts, so a saga that it cancels keeps its lane.
  const acting = new Set(shown.flatMap((step) => [step.from, step.to]));
  const kept = lanes.filter((lane) => lane.key !== "gateway" && (!lane.listens || acting.has(lane.key)));
  return { orchestrated, lanes: kept.map((lane) => ({ ...lane, ...SHORT[lane.key] })), steps: shown };
}
