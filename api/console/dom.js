/** Make elements. Text is always set as text, so nothing that comes from a message can become markup. */

export const COORDINATORS = ["choreography", "orchestration"];
const SVG = "http://www.w3.org/2000/svg";

/** An element. `properties`: `on` (listeners by event), `class`, attributes; null, undefined and false leave one out. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for an element of an SVG. */
export function s(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Put these children in place of the ones that are there. */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/**
 * The same, and what had the focus has it again: the one among the new children with the same `data-act`. Children that
 * equal those that are there change nothing.
 */
export function putInPlace(element, ...children) {
  const made = add(new DocumentFragment(), children);
  const there = [...element.childNodes];
  if (there.length === made.childNodes.length && there.every((node, index) => node.isEqualNode(made.childNodes[index]))) return element;
  const act = element.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  element.replaceChildren(made);
  if (act) element.querySelector(`[data-act="${CSS.escape(act)}"]`)?.focus({ preventScroll: true });
  return element;
}

/** Set the text only if it differs, so that a live region speaks no more than it must. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The sign of a coordinator: a ring of peers, or a hub with spokes. */
export function sign(coordinator) {
  const hub = coordinator === "orchestration";
  const lines = hub ? ["M8 8V2.6", "M8 8l-4.7 2.7", "M8 8l4.7 2.7"] : ["M8 2.6l4.7 8.1H3.3z"];
  return s(
    "svg",
    { class: `sign ${coordinator}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    lines.map((d) => s("path", { d })),
    [[8, 2.6], [3.3, 10.7], [12.7, 10.7]].map(([cx, cy]) => s("circle", { cx, cy, r: 1.9 })),
    hub && s("circle", { cx: 8, cy: 8, r: 2.6 }),
  );
}

/** A coordinator by sign and name. */
export function coordinatorTag(coordinator) {
  return h("span", { class: `coordinator ${coordinator}` }, sign(coordinator), coordinator);
}

/** A status by colour, mark and word. */
export function statusTag(status) {
  return status ? h("span", { class: `status ${status.toLowerCase()}` }, status) : h("span", { class: "status none" }, "–");
}

/** A label with its field, and a line that helps. */
export function field(label, control, help) {
  const id = control.id || (control.id = `field-${label.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`);
  const hint = help && h("small", { id: `${id}-help` }, help);
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, hint);
}

/** A choice of few, all of which are seen: radio buttons that look like one switch. */
export function segments(name, legend, choices, chosen, onChange) {
  const group = h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, legend));
  for (const [value, label] of choices) {
    const input = h("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => onChange(value) } });
    group.append(h("label", {}, input, h("span", {}, label)));
  }
  return group;
}
