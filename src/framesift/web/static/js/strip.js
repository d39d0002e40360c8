// A strip of frames in which every frame shows the attention that the text pays to it.
//
// The frames are buttons of one group with a single tab stop: arrow keys or the pointer move along them ("scrubbing"),
// a click or Enter plays from there. What a bar shows is also the button's name.

import { frameAddress } from "./api.js";
import { element } from "./dom.js";
import { clock, percent } from "./format.js";

/**
 * @param {object} shown `video_id`, `frame_times_s`, `attention` (as long, or empty), `focus_s` [from, to] or null
 * @param {object} options `label` of the group; `index`; `dense` leaves the times out;
 *   `choose(time_s)` when a frame is pointed at; `play(time_s)` when it is taken; `shape` called with width / height
 * @returns {{ node: HTMLElement, move(step): void, time(): number }}
 */
export function frameStrip(shown, { label, index, dense = false, choose, play, shape }) {
  const times = shown.frame_times_s;
  const weights = shown.attention ?? [];
  const largest = Math.max(...weights, 1e-9);
  let at = weights.length ? weights.indexOf(Math.max(...weights)) : 0;

  const inFocus = (time_s) => shown.focus_s && time_s >= shown.focus_s[0] && time_s < shown.focus_s[1];
  const marked = !times.every(inFocus); // where all of it is in focus, there is nothing to point out

  const frames = times.map((time_s, place) => {
    const weight = weights[place];
    const name = weight === undefined ? `Frame at ${clock(time_s)}` : `Frame at ${clock(time_s)}, attention ${percent(weight)}`;
    const focused = marked && inFocus(time_s);
    const picture = element("img", { src: frameAddress(shown.video_id, time_s, 160, index), alt: "", loading: "lazy", decoding: "async" });
    return element(
      "button",
      {
        type: "button",
        class: focused ? "frame focus" : "frame",
        "aria-label": name,
        title: weight === undefined ? clock(time_s) : `${clock(time_s)} · attention ${percent(weight)}`,
        tabIndex: place === at ? 0 : -1,
        on: {
          pointerenter: (event) => event.pointerType === "mouse" && point(place),
          focus: () => point(place),
          click: () => play?.(time_s),
        },
      },
      picture,
      weight !== undefined && element("span", { class: "bar", "aria-hidden": "true" }, element("span", { css: { "--share": weight / largest } })),
      element("span", { class: "at", "aria-hidden": "true" }, clock(time_s)),
    );
  });
  const node = element("div", { class: dense ? "strip dense" : "strip", role: "group", "aria-label": label }, frames);

  // Cells take the video's own shape, once a picture of it is there.
  frames[0]?.querySelector("img").addEventListener("load", (event) => {
    const { naturalWidth, naturalHeight } = event.target;
    if (naturalHeight) shape?.(naturalWidth / naturalHeight);
    if (naturalHeight) node.style.setProperty("--shape", String(naturalWidth / naturalHeight));
  });

  function point(place) {
    frames[at]?.classList.remove("chosen");
    if (frames[at]) frames[at].tabIndex = -1;
    at = place;
    frames[at].classList.add("chosen");
    frames[at].tabIndex = 0;
    choose?.(times[at]);
  }

  node.addEventListener("keydown", (event) => {
    const last = frames.length - 1;
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    frames[Math.min(last, Math.max(0, next))].focus();
  });

  return {
    node,
    /** One frame on or back, without moving the focus: for the arrow keys of a whole result. */
    move(step) {
      const place = Math.min(frames.length - 1, Math.max(0, at + step));
      if (frames.length) point(place);
      return frames[place]?.getAttribute("aria-label") ?? "";
    },
    time: () => times[at] ?? shown.start_s ?? 0,
  };
}
