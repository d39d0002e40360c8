// What stands under an empty search box: recent queries, examples of the syntax, and what there is to search.

import { byId, element, fill } from "./dom.js";
import { count, lasting } from "./format.js";
import { forget, recentSearches } from "./recent.js";
import { withValues } from "./api.js";

const EXAMPLES = ["a red star on grass", "a circle then a star", "a star -night", "\"a red star\"^2 \"a brick wall\""];

export function drawStart(shell) {
  const place = byId("start");
  const recent = recentSearches();
  const index = shell.current;
  const link = (text, address) => element("li", {}, element("a", { href: address }, text));
  const shownIndex = index && index !== shell.indexes[0] ? index.name : undefined;
  fill(
    place,
    index
      ? element(
          "div",
          {},
          element("h2", {}, "This index"),
          element("p", {}, `${count(index.videos, "video")}, ${count(index.moments, "moment")}, ${lasting(index.duration_s ?? 0)}`),
          element("p", { class: "note" }, `Model: ${index.model}`),
          index.videos === 0 && element("p", {}, element("a", { href: withValues("/library", { index: shownIndex }) }, "Add a folder of videos")),
        )
      : element("div", {}, element("p", {}, "This server has no index yet.")),
    recent.length > 0 &&
      element(
        "div",
        {},
        element("h2", {}, "Recent"),
        element("ul", {}, recent.map(({ q, address }) => link(q, address))),
        element("button", { type: "button", class: "quiet", on: { click: () => (forget(), drawStart(shell)) } }, "Forget these"),
      ),
    element(
      "div",
      {},
      element("h2", {}, "Ways to ask"),
      element("ul", {}, EXAMPLES.map((q) => link(q, withValues("/", { q, index: shownIndex })))),
      element("p", { class: "note" }, "Or drop an image or a clip here."),
    ),
  );
  place.hidden = false;
}
