// What the page tells: quietly to screen readers, and visibly where something failed.

import { byId, element } from "./dom.js";

const SHOWN_MS = 8000;

/** Said by screen readers, seen by nobody. */
export function announce(text) {
  const place = byId("status");
  place.textContent = "";
  requestAnimationFrame(() => {
    place.textContent = text;
  });
}

function show(text, kind) {
  const message = element("div", { class: `message ${kind}`, role: kind === "good" ? "status" : "alert" }, element("span", {}, text));
  message.append(
    element("button", { type: "button", class: "quiet", "aria-label": "Dismiss", on: { click: () => message.remove() } }, "×"),
  );
  byId("messages").append(message);
  if (kind === "good") setTimeout(() => message.remove(), SHOWN_MS);
}

/** Something did not work; stays until it is dismissed. */
export const complain = (problem) => {
  const text = problem instanceof Error ? problem.message : String(problem);
  for (const earlier of byId("messages").children) {
    if (earlier.firstChild.textContent === text) return;
  }
  show(text, "bad");
};

/** Something worked that could not be seen otherwise. */
export const confirmDone = (text) => show(text, "good");
