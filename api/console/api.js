/** Ask the gateway, and say in words what went wrong. */

/** What the gateway answered that is no success, or that it did not answer. `status` 0: no answer. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const NO_ANSWER = "The gateway does not answer. If you stopped it, start it again; this page goes on by itself.";

export class Api {
  constructor() {
    this.session = null;
    this.onSignedOut = () => {};
  }

  get(path) {
    return this.#ask("GET", path);
  }

  post(path, body, headers) {
    return this.#ask("POST", path, body, headers);
  }

  patch(path, body) {
    return this.#ask("PATCH", path, body);
  }

  delete(path) {
    return this.#ask("DELETE", path);
  }

  /** Read who is signed in, if anybody must be. */
  async readSession() {
    this.session = await this.#ask("GET", "/api/console/session");
    return this.session;
  }

  async signIn(key) {
    this.session = await this.#ask("POST", "/api/console/session", { key });
    return this.session;
  }

  async signOut() {
    await this.#ask("DELETE", "/api/console/session");
    return this.readSession();
  }

  /** Whether the paths of operators are open: to an operator's key, and to all where no keys are configured. */
  get operator() {
    return Boolean(this.session) && (!this.session.keysRequired || this.session.key?.role === "operator");
  }

  /** Whether orders may be orchestrated too. */
  get both() {
    return (this.session?.coordinators ?? []).includes("orchestration");
  }

  get signedIn() {
    return Boolean(this.session) && (!this.session.keysRequired || this.session.key !== null);
  }

  headers(more = {}) {
    return { Accept: "application/json", ...(this.session?.proof ? { "X-Saga-Proof": this.session.proof } : {}), ...more };
  }

  async #ask(method, path, body, headers = {}) {
    const content = body === undefined ? {} : { "Content-Type": "application/json" };
    const { session } = this;
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers: this.headers({ ...content, ...headers }),
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      });
    } catch {
      throw new Refused(0, NO_ANSWER);
    }
    const text = await answer.text();
    const found = text ? read(text) : null;
    if (answer.ok) return found;
    if (answer.status === 401 && session === this.session && this.signedIn && path !== "/api/console/session") this.onSignedOut();
    throw new Refused(answer.status, explain(answer, found));
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function explain(answer, problem) {
  const fields = (problem?.errors ?? []).map((error) => `${error.field} ${error.message}`).join("; ");
  const detail = problem?.detail ?? `${answer.status} ${answer.statusText}`;
  return fields && !detail.includes(fields) ? `${detail} (${fields})` : detail;
}
