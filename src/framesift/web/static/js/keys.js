// Keys of a single letter. They can be switched off (WCAG 2.1.4), and never act while somebody types.

import { byId } from "./dom.js";

const KEPT = "framesift-letters";

const typing = (target) =>
  target.isContentEditable || /^(?:TEXTAREA|SELECT)$/.test(target.tagName) ||
  (target.tagName === "INPUT" && !/^(?:checkbox|radio|range|button)$/.test(target.type));

function kept() {
  try {
    return localStorage.getItem(KEPT) !== "off";
  } catch {
    return true;
  }
}

/**
 * Calls `actions[key](event)` when a key is pressed outside of fields and dialogs. An action that returns false leaves
 * the key to the browser.
 */
export function listen(actions) {
  const dialog = byId("keys");
  const letters = byId("letters");
  letters.checked = kept();
  letters.addEventListener("change", () => {
    try {
      localStorage.setItem(KEPT, letters.checked ? "on" : "off");
    } catch {
      // no storage: the choice lasts as long as the page
    }
  });
  byId("show-keys").addEventListener("click", () => dialog.showModal());
  const all = {
    "?": () => dialog.showModal(),
    "/": () => {
      const field = byId("query") ?? byId("name-filter");
      field?.focus();
      field?.select();
      return Boolean(field);
    },
    ...actions,
  };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key.length === 1 && event.key !== " " && !letters.checked) return;
    const action = Object.hasOwn(all, event.key) ? all[event.key] : undefined;
    if (action && action(event) !== false) event.preventDefault();
  });
}
