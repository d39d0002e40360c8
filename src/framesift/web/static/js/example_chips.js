// What a query holds besides words: the picture or clip, moments to be like, and the feedback on earlier results.

import { frameAddress } from "./api.js";
import { writeMoment } from "./address.js";
import { byId, element, fill } from "./dom.js";
import { count, stretch } from "./format.js";

// Another search may cut a moment a little longer or shorter: what overlaps is the same thing to the reader.
const sameAs = (moment) => (other) =>
  other.video_id === moment.video_id && other.start_s < moment.end_s && other.end_s > moment.start_s;

/** Shows them as chips that can be taken away; `change(part of the state)` searches anew. */
export function drawChips(state, { previews, change }) {
  const chip = (picture, text, remove) =>
    element(
      "li",
      { class: "chip" },
      picture && element("img", { src: picture, alt: "" }),
      element("span", {}, text),
      element("button", { type: "button", "aria-label": `Remove ${text}`, on: { click: remove } }, "×"),
    );
  const still = ({ video_id, start_s, end_s }) => frameAddress(video_id, (start_s + end_s) / 2, 160, state.index);
  fill(
    byId("examples"),
    state.upload &&
      chip(
        previews.get(state.upload.id),
        `${state.upload.kind === "clip" ? "Clip" : "Image"}: ${state.upload.name || "yours"}`,
        () => change({ upload: null }),
      ),
    state.like.map((moment) =>
      chip(still(moment), `Like the moment ${stretch(moment.start_s, moment.end_s)}`, () =>
        change({ like: state.like.filter((other) => other !== moment) }),
      ),
    ),
  );
}

/** Which feedback a search already holds, and what was clicked since; both are sent when the reader refines. */
export class Feedback {
  #liked = [];
  #disliked = [];
  #sent = "";

  /** Begins with the feedback of a search as it stands in the address. */
  begin({ liked, disliked }) {
    this.#liked = [...liked];
    this.#disliked = [...disliked];
    this.#sent = this.#written();
  }

  of(result) {
    if (this.#liked.some(sameAs(result))) return "liked";
    return this.#disliked.some(sameAs(result)) ? "disliked" : null;
  }

  /** Likes or dislikes a result, or takes that back; returns what it is then. */
  toggle(result, given) {
    const before = this.of(result);
    const moment = { video_id: result.video_id, start_s: result.start_s, end_s: result.end_s };
    const others = (moments) => moments.filter((other) => !sameAs(moment)(other));
    this.#liked = others(this.#liked);
    this.#disliked = others(this.#disliked);
    if (before === given) return null;
    (given === "liked" ? this.#liked : this.#disliked).push(moment);
    return given;
  }

  /** Shows what there is to refine by. */
  draw(change) {
    const place = byId("refine");
    const any = this.#liked.length + this.#disliked.length > 0;
    const changed = this.#written() !== this.#sent;
    place.hidden = !any && !changed;
    if (place.hidden) return;
    const told = [count(this.#liked.length, "liked", "liked"), count(this.#disliked.length, "disliked", "disliked")];
    fill(
      place,
      element("span", {}, told.join(", ")),
      element(
        "button",
        { type: "button", class: "primary", disabled: !changed, on: { click: () => change({ liked: this.#liked, disliked: this.#disliked }) } },
        changed ? "Refine" : "Refined",
      ),
      any && element("button", { type: "button", class: "quiet", on: { click: () => change({ liked: [], disliked: [] }) } }, "Without feedback"),
    );
  }

  #written() {
    return JSON.stringify([this.#liked.map(writeMoment), this.#disliked.map(writeMoment)]);
  }
}
