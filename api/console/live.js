/** Follow the stream of all sagas: read it, take it up again where it was cut, and say which of the two it is. */

import { attend, isAway } from "./attention.js";

const SILENT = 35_000; // milliseconds: the gateway sends a heartbeat every 15 s, so it is frozen or gone
const LIVED = 5000; // milliseconds, after which a stream that ends in order is one that was long enough, and not a fault
const PAUSES = [500, 1000, 2000, 4000, 8000];

export class Live extends EventTarget {
  #api;
  #lastId = null;
  #stop = null;
  #failures = 0;
  #woken = null;
  #cut = null;

  /** `state`: "connecting", "live", "cut" or "off". */
  constructor(api) {
    super();
    this.#api = api;
    this.state = "off";
    this.why = "";
    // A lost network need not be waited for in silence, nor one that is back, or a machine that wakes, until a pause is over.
    addEventListener("offline", () => this.#cut?.abort());
    addEventListener("online", () => this.#woken?.());
    document.addEventListener("visibilitychange", () => document.hidden || this.#woken?.());
    // A browser has few connections to one host: a tab that nobody sees leaves its own to the others.
    attend({ leave: () => this.#cut?.abort(), back: () => this.#woken?.() });
  }

  start() {
    if (this.#stop) return;
    this.#stop = new AbortController();
    this.#run(this.#stop.signal);
  }

  stop() {
    this.#stop?.abort();
    this.#stop = null;
    this.#woken?.();
    this.#lastId = null;
    this.#tell("off");
  }

  async #run(stopped) {
    while (!stopped.aborted) {
      if (isAway()) {
        await this.#pause(null);
        continue;
      }
      if (this.state !== "live") this.#tell(this.#failures ? "cut" : "connecting", this.why);
      const began = performance.now();
      let ended = false;
      try {
        await this.#read(stopped);
        ended = true;
        this.why = "the gateway ended the stream";
      } catch (error) {
        this.why = error.why ?? "no connection";
      }
      if (stopped.aborted) return;
      // The gateway ends each stream after an hour, to be asked again who it is for.
      if (isAway() || (ended && performance.now() - began > LIVED)) continue;
      this.#tell("cut", this.why);
      await this.#pause(PAUSES[Math.min(this.#failures++, PAUSES.length - 1)]);
    }
  }

  /** Wait so long, or until there is reason to try again; for null, only for that. */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds === null ? null : setTimeout(resolve, milliseconds);
      this.#woken = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #read(stopped) {
    const silence = (this.#cut = new AbortController());
    let alarm = setTimeout(() => silence.abort(), SILENT);
    const heard = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => silence.abort(), SILENT);
    };
    try {
      const headers = this.#api.headers({ Accept: "text/event-stream", ...(this.#lastId ? { "Last-Event-ID": this.#lastId } : {}) });
      const answer = await fetch("/api/console/stream", {
        headers,
        cache: "no-store",
        signal: AbortSignal.any([stopped, silence.signal]),
      });
      if (!answer.ok) throw Object.assign(new Error(), { why: await reason(answer, this.#api) });
      this.#failures = 0;
      this.#tell("live");
      for await (const frame of frames(answer.body, heard)) if (!stopped.aborted) this.#hear(frame);
    } finally {
      clearTimeout(alarm);
    }
  }

  #hear({ id, event, data }) {
    if (id) this.#lastId = id;
    if (data) this.dispatchEvent(new CustomEvent(event, { detail: JSON.parse(data) }));
  }

  #tell(state, why = "") {
    this.state = state;
    this.why = why;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, why } }));
  }
}

async function reason(answer, api) {
  if (answer.status === 401) api.onSignedOut();
  const problem = await answer.json().catch(() => null);
  return problem?.detail ?? `the gateway answered ${answer.status}`;
}

/** The events of a stream, as the HTML standard describes its form. `heard` is called for whatever comes. */
async function* frames(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield parse(block);
  }
}

function parse(block) {
  const frame = { id: null, event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue; // a comment: a heartbeat
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") frame.data += value;
    else if (name in frame) frame[name] = value;
  }
  return frame;
}
