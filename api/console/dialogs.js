/** Ask before an action that can't be undone, and tell how an action ended. */

import { h, put } from "./dom.js";

/** Ask in a dialog. Resolves to the form's values if the person goes ahead, else to null. */
export function ask({ title, text, action, dangerous = false, extra = null }) {
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "dialog-title" }, title),
    [text].flat().map((line) => h("p", {}, line)),
    extra,
    h(
      "menu",
      {},
      h("button", { value: "", class: "quiet", autofocus: true }, "Leave it"),
      h("button", { value: "yes", class: dangerous ? "dangerous" : "primary" }, action),
    ),
  );
  const opener = document.activeElement;
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
      dialog.remove();
      focusOn(opener);
    });
  });
}

/** Give the focus back: to the element itself, or to the one that is in its place since the view was drawn anew. */
function focusOn(element) {
  if (element.isConnected) element.focus({ preventScroll: true });
  else if (element.dataset.act) document.querySelector(`[data-act="${CSS.escape(element.dataset.act)}"]`)?.focus({ preventScroll: true });
}

/** Short messages at the foot of the page. They go after a while; one that says what to do about an error stays. */
export class Notices {
  constructor(element) {
    this.element = element;
  }

  clear() {
    this.element.replaceChildren();
  }

  tell(text, { link = null, undo = null } = {}) {
    this.#show("told", text, [link && h("a", { href: link.href }, link.text), undo && this.#undo(undo)], 9000);
  }

  complain(error) {
    this.#show("refused", error.message, [], 30_000);
  }

  #undo({ text, act }) {
    return h("button", { class: "quiet", on: { click: (event) => act(event.target.closest(".notice").remove()) } }, text);
  }

  #show(kind, text, extras, milliseconds) {
    const close = h("button", { class: "close", "aria-label": "Dismiss" }, "×");
    const notice = h("div", { class: `notice ${kind}` }, h("p", {}, text), extras, close);
    close.addEventListener("click", () => notice.remove());
    this.element.append(notice);
    while (this.element.children.length > 3) this.element.firstElementChild.remove();
    setTimeout(() => notice.remove(), milliseconds);
  }
}

/** What a part of the page shows while it is asked for, and when that failed. */
export function loading(what) {
  return h("p", { class: "loading", role: "status" }, `Reading ${what} …`);
}

export function failed(error, again) {
  const button = again && h("button", { class: "quiet", on: { click: again } }, "Try again");
  return h("div", { class: "problem", role: "alert" }, h("p", {}, error.message), button);
}

/** Show the loading state, then what `make` returns, or the error with a way to try again. */
export async function fillFrom(element, what, make) {
  put(element, loading(what));
  try {
    put(element, await make());
  } catch (error) {
    put(element, failed(error, () => fillFrom(element, what, make)));
  }
}
