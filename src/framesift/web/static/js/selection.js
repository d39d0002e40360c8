// Taking results away: files for other programs, clips cut out, contact sheets.

import { download, ofVideo } from "./api.js";
import { writeMoment } from "./address.js";
import { byId, element } from "./dom.js";
import { count } from "./format.js";
import { announce, complain } from "./say.js";

const FORMATS = [
  ["csv", "CSV", "a table"],
  ["json", "JSON", "everything that is known"],
  ["edl", "EDL", "CMX 3600, for editing programs"],
  ["fcpxml", "FCPXML", "for Final Cut Pro and DaVinci Resolve"],
  ["otio", "OTIO", "OpenTimelineIO"],
];
const BETWEEN_MS = 400; // browsers take downloads that start together for one

/** The selected results of a search, by moment; shows what can be done with them. */
export class Selection {
  #chosen = new Map();
  #state;
  #shown;

  /** `state()` gives the search, `shown()` its results. */
  constructor({ state, shown }) {
    this.#state = state;
    this.#shown = shown;
  }

  has(result) {
    return this.#chosen.has(writeMoment(result));
  }

  set(result, selected) {
    if (selected) this.#chosen.set(writeMoment(result), result);
    else this.#chosen.delete(writeMoment(result));
    this.#draw();
    announce(`${this.#chosen.size} selected`);
  }

  clear() {
    this.#chosen.clear();
    this.#draw();
    for (const box of document.querySelectorAll(".result .actions input")) box.checked = false;
  }

  #draw() {
    const place = byId("selection");
    place.hidden = this.#chosen.size === 0;
    if (place.hidden) return;
    const button = (text, title, click) => element("button", { type: "button", title, on: { click } }, text);
    place.replaceChildren(
      element("p", {}, `${count(this.#chosen.size, "moment")} selected`),
      element("span", { class: "note" }, "Export"),
      ...FORMATS.map(([format, name, title]) => button(name, `Export as ${name}: ${title}`, () => this.#export(format))),
      element("span", { class: "note" }, "Make"),
      button("Clips", "One video file for each moment", () => this.#each("cut")),
      button("Contact sheets", "One picture of frames for each moment", () => this.#each("sheet")),
      button("Select all shown", "", () => this.#all()),
      button("Clear", "", () => this.clear()),
    );
  }

  #all() {
    for (const result of this.#shown()) this.#chosen.set(writeMoment(result), result);
    for (const box of document.querySelectorAll(".result .actions input")) box.checked = true;
    this.#draw();
  }

  async #export(format) {
    const { q, index } = this.#state();
    const results = [...this.#chosen.values()].map(({ video_id, start_s, end_s, score, sources }) => ({
      video_id,
      start_s,
      end_s,
      score,
      text: sources?.find(({ text }) => text)?.text,
    }));
    try {
      await download("/api/export", { format, results, query: q || undefined, index: index || undefined });
    } catch (error) {
      complain(error);
    }
  }

  async #each(part) {
    const { index } = this.#state();
    for (const { video_id, start_s, end_s } of this.#chosen.values()) {
      const link = element("a", { href: ofVideo(video_id, part, { start: start_s, end: end_s, index }), download: "" });
      link.click();
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    }
  }
}
