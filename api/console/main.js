/** Start the console: who is signed in, which view the address names, and how the stream stands. */

import { Api } from "./api.js";
import { Notices } from "./dialogs.js";
import { h, put, say } from "./dom.js";
import { letters } from "./letters.js";
import { list } from "./list.js";
import { Live } from "./live.js";
import { saga } from "./saga.js";
import { signIn } from "./sign-in.js";
import { Store } from "./store.js";
import { system } from "./system.js";
import { twins } from "./twins.js";

const VIEWS = [
  { pattern: /^#?\/?$/, make: list, name: "Sagas", href: "#/", at: /^#?(\/?$|\/orders\/)/ },
  { pattern: /^#\/orders\/([0-9a-f-]{36})$/i, make: saga },
  { pattern: /^#\/twins(?:\/([0-9a-f-]{36})\/([0-9a-f-]{36}))?$/i, make: twins, name: "Twins", href: "#/twins", at: /^#\/twins/, both: true },
  { pattern: /^#\/letters(?:\/([^/]+))?$/, make: letters, name: "Dead letters", href: "#/letters", at: /^#\/letters/, operators: true },
  { pattern: /^#\/system$/, make: system, name: "System", href: "#/system", at: /^#\/system/, operators: true },
];
const STREAM = {
  off: ["off", "not connected"],
  connecting: ["cut", "connecting …"],
  live: ["live", "live"],
  cut: ["cut", "cut off; trying again …"],
};

const element = (id) => document.getElementById(id);
const api = new Api();
const live = new Live(api);
const store = new Store(api, live);
const context = { api, live, store, notices: new Notices(element("notices")), go: (hash) => (location.hash = hash) };
let shown = null;

function show({ focus = true } = {}) {
  if (!api.signedIn) return;
  context.notices.clear();
  shown?.stop?.();
  const found = VIEWS.map((view) => ({ view, parts: partsOf(view) })).find(({ parts }) => parts);
  const [make, parts] = found ? [found.view.make, found.parts] : [nowhere, []];
  shown = found?.view.operators && !api.operator ? refused() : found?.view.both && !api.both ? single() : make(context, ...parts);
  document.title = `${shown.title} · payment-saga`;
  put(element("main"), shown.element);
  navigation();
  if (!focus) return;
  scrollTo(0, 0);
  const heading = element("main").querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

/** What the address says beside the view's name; null if it names another view, or none. */
function partsOf({ pattern }) {
  try {
    return pattern.exec(location.hash)?.slice(1).map((part) => part && decodeURIComponent(part)) ?? null;
  } catch {
    return null; // a % that encodes nothing
  }
}

function nowhere() {
  const back = h("a", { href: "#/" }, "All sagas");
  return { title: "Not found", element: h("section", { class: "words" }, h("h1", {}, "There is no such page"), h("p", {}, back)) };
}

function refused() {
  const text = "This page is for operators, and your key is a client's. Sign in with an operator's key to use it.";
  return { title: "For operators", element: h("section", { class: "words" }, h("h1", {}, "For operators"), h("p", {}, text)) };
}

function single() {
  const text = "Orders are choreographed here, and nothing else: an original service takes part, and it knows no orchestration.";
  return { title: "Twins", element: h("section", { class: "words" }, h("h1", {}, "One coordinator"), h("p", {}, text)) };
}

function navigation() {
  const open = VIEWS.filter((view) => view.name && (!view.operators || api.operator) && (!view.both || api.both));
  const link = ({ href, name, at }) => h("a", { href, "aria-current": at.test(location.hash) && "page" }, name);
  put(element("nav"), api.signedIn ? open.map(link) : []);
}

function standing() {
  const [kind, words] = STREAM[live.state];
  const { key } = api.session ?? {};
  const who = key && h("span", { class: "who" }, key.name, h("small", {}, key.role));
  const out = key && h("button", { class: "quiet", on: { click: leave } }, "Sign out");
  put(element("standing"), streamMark(kind, words), who, out);
}

function streamMark(kind, words) {
  return h("span", { class: `stream ${kind}`, id: "stream", role: "status", title: live.why }, words);
}

live.addEventListener("state", () => {
  const mark = element("stream");
  const [kind, words] = STREAM[live.state];
  if (!mark) return standing();
  mark.className = `stream ${kind}`;
  mark.title = live.why;
  say(mark, words);
  document.body.classList.toggle("is-cut", kind === "cut");
  return undefined;
});

async function leave() {
  live.stop();
  await api.signOut().catch((error) => context.notices.complain(error));
  enter();
}

/** Show the sign-in if a key is needed, else the view that the address names. */
function enter(why = "") {
  shown?.stop?.();
  shown = null;
  if (api.signedIn) {
    live.start();
    store.read();
    standing();
    return show({ focus: false });
  }
  live.stop();
  store.forgetAll();
  navigation();
  standing();
  document.title = "Sign in · payment-saga";
  put(element("main"), signIn(api, why, () => enter()));
  return element("main").querySelector("input")?.focus();
}

api.onSignedOut = () => {
  if (!api.signedIn) return;
  const why = api.session.key ? "Your session has ended. Sign in again." : "This gateway asks for a key now.";
  api.session = { ...api.session, keysRequired: true, key: null };
  enter(why);
};

async function begin() {
  try {
    await api.readSession();
    enter();
  } catch (error) {
    put(element("main"), h("section", { class: "words" }, h("h1", {}, "The gateway does not answer"), h("p", {}, error.message)));
    setTimeout(begin, 2000);
  }
}

addEventListener("hashchange", () => location.hash.startsWith("#main") || show());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  element("main").focus();
});
begin();
