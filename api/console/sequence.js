/** Draw a laid out story as SVG, tell it as a table, and save the drawing as a file. */

import { h, s } from "./dom.js";
import { elapsed } from "./format.js";
import { layOut } from "./layout.js";

const MONO = 6.7; // pixels a character, at the size of labels
const CLOSEST = 0.78; // of that, below which a label is hard to read
const MARGIN = 10;
const LONGEST = 84; // characters of a note

/** The SVG of a story. `from`: how many steps were seen before, so that only newer ones appear softly. */
export function draw(story, width, { title, commitsAt, columns, from = Infinity } = {}) {
  const plan = layOut(story, width, commitsAt, columns);
  const svg = s(
    "svg",
    {
      class: `seq ${story.orchestrated ? "orchestration" : "choreography"}${plan.narrow ? " narrow" : ""}`,
      viewBox: `0 0 ${plan.width} ${plan.height}`,
      width: plan.width,
      height: plan.height,
      role: "img",
      "aria-label": title,
    },
    s("title", {}, title),
    arrowHead(),
    plan.lanes.map((lane) => lifeline(lane, plan)),
    plan.bars.map((bar) => s("rect", { class: "bar", x: bar.x - 4, y: bar.y, width: 8, height: bar.end - bar.y, rx: 2 })),
    plan.gaps.map((gap) => pause(gap, plan)),
    plan.rows.map((row) => step(row, plan, row.number > from)),
    plan.lanes.map((lane) => head(lane, plan)),
    [...plan.names, plan.bottom + 20].map((y) => plan.lanes.map((lane) => nameAgain(lane, y, plan.narrow))),
  );
  return { svg, plan };
}

function arrowHead() {
  const marker = { id: "seq-tip", viewBox: "0 0 8 8", refX: 7.2, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto-start-reverse" };
  return s("defs", {}, s("marker", marker, s("path", { class: "tip", d: "M0.8 0.8L7.2 4L0.8 7.2" })));
}

function lifeline(lane, plan) {
  return s("line", { class: `life${lane.listens ? " listens" : ""}${lane.hub ? " hub" : ""}`, x1: lane.x, x2: lane.x, y1: 46, y2: plan.bottom + 6 });
}

function head(lane, { gap, narrow }) {
  const width = Math.min(gap - (narrow ? 4 : 8), 150);
  const below = !narrow && lane.sub;
  return s(
    "g",
    { class: `head${lane.hub ? " hub" : ""}${lane.listens ? " listens" : ""}` },
    s("rect", { x: lane.x - width / 2, y: 6, width, height: 40, rx: 6 }),
    s("text", { x: lane.x, y: below ? 23 : 30, class: "name" }, nameOf(lane, narrow)),
    below && s("text", { x: lane.x, y: 38, class: "sub" }, lane.sub),
  );
}

function nameOf(lane, narrow) {
  return narrow ? lane.label.replace(" service", "") : lane.label;
}

function nameAgain(lane, y, narrow) {
  return s("text", { class: "again", x: lane.x, y }, nameOf(lane, narrow));
}

function pause({ y, height, label }, { gutter }) {
  const middle = y + height / 2;
  return s(
    "g",
    { class: "pause" },
    s("path", { d: `M${gutter - 10} ${y + 3}V${y + height - 3}` }),
    s("text", { x: gutter - 14, y: middle + 4 }, label),
  );
}

function step(row, plan, fresh) {
  const group = s("g", { class: `step ${row.kind} ${row.tone}${row.recorded ? " recorded" : ""}${fresh ? " fresh" : ""}` });
  group.append(s("title", {}, `${row.number}. ${row.sentence}`));
  if (row.elapsed !== null) group.append(s("text", { class: "time", x: plan.gutter - 6, y: row.y + 4 }, elapsed(row.elapsed)));
  group.append(...(row.kind === "arrow" ? arrow(row, plan) : note(row, plan)));
  return group;
}

function arrow(row, plan) {
  const right = row.x2 > row.x1;
  const [x1, x2] = right ? [row.x1 + 5, row.x2 - 5] : [row.x1 - 5, row.x2 + 5];
  // On a narrow screen arrows are shorter than any label, so a label may cover more than its arrow.
  const { text, ...fitted } = fit(row.label, plan.narrow ? plan.width - MARGIN - plan.gutter : Math.abs(x2 - x1));
  const room = fitted.textLength ?? text.length * MONO;
  const label = { class: "label", ...anchored((x1 + x2) / 2, room, plan), ...fitted, y: row.y - 7 };
  const told = row.xTold !== null && s("circle", { class: "told", cx: row.xTold, cy: row.y, r: 3 });
  const line = s("line", { class: "line", x1, y1: row.y, x2, y2: row.y, "marker-end": "url(#seq-tip)" });
  return [line, s("text", label, text !== row.label && s("title", {}, row.label), text), told].filter(Boolean);
}

/** A label no wider than its arrow: drawn closer as far as it stays readable, and then cut. */
function fit(label, room) {
  if (label.length * MONO <= room) return { text: label };
  const most = Math.floor(room / (MONO * CLOSEST));
  const text = label.length > most ? `${label.slice(0, most - 1)}…` : label;
  return { text, textLength: Math.min(room, text.length * MONO), lengthAdjust: "spacingAndGlyphs" };
}

/** A text about this point that stays inside the drawing. */
function anchored(x, width, { gutter, width: whole }) {
  if (x - width / 2 < gutter) return { x: gutter, "text-anchor": "start" };
  if (x + width / 2 > whole - MARGIN) return { x: whole - MARGIN, "text-anchor": "end" };
  return { x, "text-anchor": "middle" };
}

function note(row, plan) {
  const beside = (row.status ? row.status.length * MONO + 14 : 0) + 30;
  const most = Math.min(LONGEST, Math.floor((plan.width - MARGIN - plan.gutter - beside) / MONO));
  const text = row.label.length > most ? `${row.label.slice(0, most - 1)}…` : row.label;
  const width = text.length * MONO + beside;
  const x = Math.max(plan.gutter, Math.min(row.x1 - width / 2, plan.width - MARGIN - width));
  const box = s("rect", { class: "box", x, y: row.y - 12, width, height: 24, rx: 12 });
  const mark = s("circle", { class: "mark", cx: x + 13, cy: row.y, r: 4 });
  const words = s("text", { class: "label", x: x + 23, y: row.y + 4 }, s("tspan", {}, text));
  if (row.status) words.append(s("tspan", { class: `becomes ${row.status.toLowerCase()}`, dx: 8 }, row.status));
  return [box, mark, words];
}

/** What the marks of a drawing mean. `listeners`: whether who only listens is drawn. */
export function legend({ listeners = true } = {}) {
  const entry = (kind, text) => h("li", { class: kind }, text);
  return h(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    entry("recorded", "recorded: a commit in an event log, with its time"),
    entry("follows", "follows from it by the rules of the saga"),
    entry("undo", "compensation"),
    entry("down", "time runs down, in seconds"),
    listeners && entry("heard", "heard by who only listens"),
  );
}

/** The same story as a table. */
export function table(story, caption) {
  const names = new Map(story.lanes.map((lane) => [lane.key, lane.label]));
  const rows = story.steps.map((row, index) =>
    h(
      "tr",
      { class: `${row.tone}${row.recorded ? " recorded" : ""}` },
      h("td", { class: "number" }, index + 1),
      h("td", { class: "number" }, elapsed(row.elapsed)),
      h("td", {}, row.kind === "arrow" ? `${names.get(row.from)} → ${names.get(row.to)}` : names.get(row.from)),
      h("td", {}, row.sentence),
      h("td", {}, row.recorded ? "recorded" : "follows"),
    ),
  );
  const heads = ["#", "Seconds", "Between", "What happens", "Known by"];
  return h(
    "table",
    { class: "story" },
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, heads.map((text, index) => h("th", { scope: "col", class: index < 2 && "number" }, text)))),
    h("tbody", {}, rows),
  );
}

/** Save a drawing as a file that needs no other: with the rules and colours in which it is seen now. */
export function save(svg, name) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = s("rect", { class: "ground", width: "100%", height: "100%" });
  copy.insertBefore(ground, copy.firstChild);
  const source = new XMLSerializer().serializeToString(copy).replace(/(<svg[^>]*>)/, (start) => `${start}<style>${rules(svg)}</style>`);
  const link = h("a", { download: `${name}.svg`, href: URL.createObjectURL(new Blob([source], { type: "image/svg+xml" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function rules(svg) {
  const colours = getComputedStyle(svg);
  const resolved = (text) => text.replaceAll(/var\((--[a-z0-9-]+)\)/g, (_, name) => resolved(colours.getPropertyValue(name).trim()));
  const found = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).filter((rule) => rule.selectorText?.includes(".seq"));
  return found.map((rule) => resolved(rule.cssText)).join("\n").replaceAll("<", "");
}
