/** Lay a story out: pure. Every position follows from the steps and the width, so that it can be tested without a page. */

import { duration, elapsed } from "./format.js";

const HEAD = 64;
const FOOT = 46;
const ROWS = { arrow: 30, commit: 36, timer: 40, letter: 42, wait: 46 };
const PAUSE = 200; // milliseconds, from which on a pause is drawn
const ROOMY = 84; // pixels between lanes, below which everything is drawn closer
const NARROWEST = 54;
const FIGURE = 6.7; // pixels a character of a time

const WIDEST = 230;
const AGAIN = 26; // steps, after which the lanes are named once more
const NAMES = 34; // pixels for that

/**
 * `{width, height, lanes: [{…, x}], rows: [{…step, y, x1, x2, number}], gaps: [{y, height, label}], bars, names: [y]}`.
 *
 * `commitsAt`, if given, are the positions that the commits of some events must not come before: `{key: y}`. `columns`: for how
 * many lanes there must be room.
 */
export function layOut(story, width, commitsAt = {}, columns = story.lanes.length) {
  const narrow = (width - 82) / columns < ROOMY;
  const placed = placeRows(story.steps, commitsAt);
  const gutter = gutterOf(story.steps, placed.gaps, narrow);
  const gap = Math.min(WIDEST, Math.max(NARROWEST, (width - gutter - 8) / columns));
  const lanes = story.lanes.map((lane, index) => ({ ...lane, x: Math.round(gutter + gap * (index + 0.5)) }));
  const at = Object.fromEntries(lanes.map((lane) => [lane.key, lane.x]));
  const rows = placed.rows.map((row) => ({ ...row, x1: at[row.from], x2: at[row.to], xTold: row.told ? at[row.told] : null }));
  return {
    width: Math.round(gutter + gap * lanes.length + 8),
    gutter,
    narrow,
    height: placed.bottom + FOOT,
    bottom: placed.bottom,
    gap,
    lanes,
    rows,
    gaps: placed.gaps,
    names: placed.names,
    bars: bars(rows),
  };
}

/** The room at the left for the longest of all times and pauses. */
function gutterOf(steps, gaps, narrow) {
  const longest = Math.max(0, ...steps.map((step) => elapsed(step.elapsed).length), ...gaps.map(({ label }) => label.length));
  return Math.max(narrow ? 50 : 74, 8 + Math.ceil(FIGURE * longest));
}

function placeRows(steps, commitsAt) {
  const rows = [];
  const gaps = [];
  const names = [];
  let y = HEAD;
  const waits = pauses(steps);
  let sinceNames = 0;
  steps.forEach((step, index) => {
    if (++sinceNames > AGAIN && step.kind !== "commit" && step.from !== "provider") {
      names.push(y + NAMES / 2 + 4);
      y += NAMES;
      sinceNames = 0;
    }
    const paused = waits.get(index);
    if (paused) {
      const height = 18 + Math.min(34, Math.round(8 * Math.log2(1 + paused / PAUSE)));
      gaps.push({ y, height, label: duration(paused) });
      y += height;
    }
    const height = ROWS[step.kind];
    if (step.key && commitsAt[step.key] !== undefined) y = Math.max(y, commitsAt[step.key] - height / 2);
    rows.push({ ...step, y: Math.round(y + height / 2), number: index + 1 });
    y += height;
  });
  return { rows, gaps, names, bottom: Math.round(y) + 8 };
}

/** The pauses between recorded steps, in milliseconds, by the index of the step before which they passed. */
function pauses(steps) {
  const found = new Map();
  let last = null;
  let awaited = null;
  steps.forEach((step, index) => {
    if (step.awaited) awaited = index;
    if (step.elapsed === null) return;
    const paused = last === null ? 0 : step.elapsed - last;
    if (paused >= PAUSE) found.set(awaited ?? index, paused);
    last = step.elapsed;
    awaited = null;
  });
  return found;
}

/** Where the services work: from what reaches them to the last thing that they send. */
function bars(rows) {
  const found = [];
  const open = new Map();
  for (const row of rows) {
    if (row.kind !== "arrow") continue;
    if (["order", "payment"].includes(row.to) && row.from !== "provider" && !(row.again && open.has(row.to))) open.set(row.to, { lane: row.to, x: row.x2, y: row.y, end: row.y + 24 });
    for (const lane of new Set([row.from, row.to])) {
      const bar = open.get(lane);
      if (bar) bar.end = Math.max(bar.end, row.y);
      if (bar && row.from === lane && row.to !== "provider") found.push(open.get(lane)), open.delete(lane);
    }
  }
  return [...found, ...open.values()];
}

/** Where the commits of two stories must stand, so that equal events lie on one line: as far as both tell the same. */
export function align(one, other) {
  const keys = [one, other].map((story) => story.steps.filter((step) => step.key).map((step) => step.key));
  const commitsAt = {};
  for (let index = 0; index < Math.min(keys[0].length, keys[1].length); index += 1) {
    const key = keys[0][index];
    if (key !== keys[1][index]) break;
    const places = [one, other].map((story) => placeRows(story.steps, commitsAt).rows.find((row) => row.key === key).y);
    commitsAt[key] = Math.max(...places);
  }
  return commitsAt;
}
