// Subtitles as a list that leads to their times, and follows the player.

import { element, fill } from "./dom.js";
import { clock } from "./format.js";

/** @returns {{ at(seconds): void }} marks the line that is spoken then */
export function subtitlesList(place, lines, seek) {
  const items = lines.map((line) =>
    element(
      "li",
      {},
      element("button", { type: "button", on: { click: () => seek(line.start_s) } }, element("time", {}, clock(line.start_s, { tenths: false })), element("span", {}, line.text)),
    ),
  );
  const list = element("ol", { class: "lines" }, items);
  fill(place, list);
  let marked = null;
  return {
    at(seconds) {
      const place = lines.findIndex(({ start_s, end_s }) => seconds >= start_s && seconds < end_s);
      const item = place < 0 ? null : items[place].firstChild;
      if (item === marked) return;
      marked?.removeAttribute("aria-current");
      item?.setAttribute("aria-current", "true");
      if (item) list.scrollTop += item.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 2;
      marked = item;
    },
  };
}
