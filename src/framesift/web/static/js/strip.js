// A strip of frames in which every frame shows the attention that the text pays to it.
//
// The frames are buttons of one group with a single tab stop: arrow keys or the pointer move along them ("scrubbing"),
// a click or Enter plays from there. What a bar shows is also the button's name. All frames are one picture, of which
// every cell shows its part: one request, and one pass of decoding.

import { ofVideo } from "./api.js";
import { element } from "./dom.js";
import { clock, percent } from "./format.js";
import { inTurn } from "./pictures.js";

const MOST = 64; // frames in one picture, as the server makes them

/**
 * @param {object} shown `video_id`, `frame_times_s`, `attention` (as long, or empty), `focus_s` [from, to] or null
 * @param {object} options `label` of the group; `index`; `choose(time_s)` when a frame is pointed at; `play(time_s)`
 *   when it is taken
 * @returns {{ node: HTMLElement, move(step): string, time(): number }} `move` returns the name of the frame
 */
export function frameStrip(shown, { label, index, choose, play }) {
  const times = shown.frame_times_s.slice(0, MOST);
  const weights = shown.attention ?? [];
  const largest = Math.max(...weights, 1e-9);
  let at = weights.length ? weights.indexOf(Math.max(...weights)) : 0;
  const inFocus = (time_s) => shown.focus_s && time_s >= shown.focus_s[0] && time_s < shown.focus_s[1];
  const marked = !times.every(inFocus); // where all of it is in focus, there is nothing to point out

  const frames = times.map((time_s, place) => {
    const weight = weights[place];
    const told = weight === undefined ? "" : `attention ${percent(weight)}`;
    return element(
      "button",
      {
        type: "button",
        class: marked && inFocus(time_s) ? "frame focus" : "frame",
        "aria-label": told ? `Frame at ${clock(time_s)}, ${told}` : `Frame at ${clock(time_s)}`,
        title: told ? `${clock(time_s)} · ${told}` : clock(time_s),
        tabIndex: place === at ? 0 : -1,
        on: {
          pointerenter: (event) => event.pointerType === "mouse" && point(place),
          focus: () => point(place),
          click: () => play?.(time_s),
        },
      },
      element("span", { class: "cell", css: { "--at": times.length > 1 ? place / (times.length - 1) : 0 } }),
      told && element("span", { class: "bar" }, element("span", { css: { "--share": weight / largest } })),
      element("span", { class: "at" }, clock(time_s)),
    );
  });
  const node = element("div", { class: "strip", role: "group", "aria-label": label, css: { "--count": times.length } }, frames);
  const address = ofVideo(shown.video_id, "strip", { t: times.map((time_s) => time_s.toFixed(3)).join(","), w: 160, index });
  if (times.length) {
    inTurn(node, address, ({ naturalWidth, naturalHeight }) => {
      node.style.setProperty("--shape", String(naturalWidth / times.length / naturalHeight));
      node.style.setProperty("--picture", `url("${address}")`);
      node.classList.add("loaded");
    });
  }

  function point(place) {
    frames[at].classList.remove("chosen");
    frames[at].tabIndex = -1;
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
      if (!frames.length) return "";
      point(place);
      return frames[place].getAttribute("aria-label");
    },
    time: () => times[at] ?? shown.start_s ?? 0,
  };
}
