/** Exchange a key for a session. The key is sent once and kept nowhere in the page. */

import { h, put } from "./dom.js";

export function signIn(api, why, then) {
  const error = h("p", { class: "refusal", role: "alert" }, why);
  const key = h("input", { type: "password", id: "key", name: "key", autocomplete: "current-password", required: true, spellcheck: "false" });
  const button = h("button", { class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "sign-in" },
    h("h1", {}, "Sign in"),
    h("p", {}, "This gateway asks for an API key. The key becomes a session of twelve hours in this browser; the page keeps no copy."),
    h("div", { class: "field" }, h("label", { for: "key" }, "API key"), key, error),
    button,
    h("p", { class: "hint" }, "No key yet? An operator makes one: ", h("code", {}, "saga keys new --name you --role operator")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await api.signIn(key.value.trim());
      key.value = "";
      then();
    } catch (refused) {
      put(error, refused.status === 401 ? "No such key is configured here. Check that you have pasted all of it." : refused.message);
      key.setAttribute("aria-invalid", "true");
      key.focus();
    } finally {
      button.disabled = false;
    }
  });
  return form;
}
