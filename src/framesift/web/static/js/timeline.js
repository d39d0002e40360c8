// A video as a line: the score of every frame as a curve, moments as bands, and where the player is.
//
// The line is a slider: a click or the arrow keys move the player along it.

import { frameAddress } from "./api.js";
import { drawn, element, fill } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 1000;
const HEIGHT = 100;
const HEADROOM = 8;

/**
 * @param {object} options `video` as of /api/videos/{id}; `index`; `seek(seconds)`
 * @returns {{ draw(found): void, at(seconds): void }} `found` as of .../timeline, or null where nothing is looked for
 */
export function timeline(place, { video, index, seek }) {
  const length = Math.max(video.duration_s ?? 0, 0.1);
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const head = element("span", { class: "head", "aria-hidden": "true" });
  const still = element("img", { alt: "" });
  const told = element("span", {});
  const peek = element("span", { class: "peek", hidden: true, "aria-hidden": "true" }, still, told);
  const line = element(
    "div",
    {
      class: "timeline",
      role: "slider",
      tabIndex: 0,
      "aria-label": "Timeline",
      "aria-valuemin": "0",
      "aria-valuemax": String(length),
    },
    picture,
    head,
    peek,
  );
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" }, [0, 0.25, 0.5, 0.75, 1].map((share) => element("span", {}, clock(share * length, { tenths: length < 60 }))));
  fill(place, line, ticks);

  let now = 0;
  let moments = video.moments ?? [];
  let frames = [];
  let waiting = null;

  const timeAt = (event) => {
    const box = line.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * length;
  };
  const show = (seconds) => {
    now = Math.min(length, Math.max(0, seconds));
    head.style.left = `${(100 * now) / length}%`;
    line.setAttribute("aria-valuenow", now.toFixed(1));
    const near = nearest(frames, now);
    line.setAttribute("aria-valuetext", near ? `${clock(now)}, score ${near.score.toFixed(2)}` : clock(now));
  };

  line.addEventListener("click", (event) => seek(timeAt(event)));
  line.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const seconds = timeAt(event);
    const near = nearest(frames, seconds);
    told.textContent = near ? `${clock(seconds)} · score ${near.score.toFixed(2)}` : clock(seconds);
    peek.hidden = false;
    const box = line.getBoundingClientRect();
    const half = peek.offsetWidth / 2;
    peek.style.left = `${Math.min(box.width - half, Math.max(half, event.clientX - box.left)) - half}px`;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      still.src = frameAddress(video.video_id, seconds, 320, index);
    }, 60);
  });
  line.addEventListener("pointerleave", () => {
    clearTimeout(waiting);
    peek.hidden = true;
  });
  line.addEventListener("keydown", (event) => {
    const starts = [0, ...moments.map(({ start_s }) => start_s), length];
    const moves = {
      ArrowRight: event.shiftKey ? (starts.find((start) => start > now + 0.05) ?? length) : now + 1,
      ArrowLeft: event.shiftKey ? (starts.findLast((start) => start < now - 0.05) ?? 0) : now - 1,
      PageUp: now + length / 10,
      PageDown: now - length / 10,
      Home: 0,
      End: length,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    seek(moves[event.key]);
  });

  function draw(found) {
    moments = found?.moments ?? video.moments ?? [];
    frames = [...(found?.frames ?? [])].sort((a, b) => a.time_s - b.time_s);
    const x = (seconds) => (WIDTH * seconds) / length;
    const best = Math.max(...moments.map(({ relevance, score }) => relevance ?? score ?? 0), 1e-9);
    const bands = moments.flatMap(({ start_s, end_s, relevance, score }) => {
      const share = Math.max(0, (relevance ?? score ?? 0) / best);
      const band = drawn("rect", { class: "band", x: x(start_s), y: 0, width: Math.max(0, x(end_s) - x(start_s)), height: HEIGHT });
      band.style.setProperty("--share", found ? share : 0);
      return [band, drawn("line", { class: "edge", x1: x(start_s), x2: x(start_s), y1: 0, y2: HEIGHT })];
    });
    const curve = [];
    if (frames.length) {
      const scores = frames.map(({ score }) => score);
      const low = Math.min(...scores);
      const range = Math.max(...scores) - low || 1;
      const y = (score) => HEIGHT - HEADROOM - ((HEIGHT - 2 * HEADROOM) * (score - low)) / range;
      const points = frames.map(({ time_s, score }) => `${x(time_s).toFixed(1)},${y(score).toFixed(1)}`);
      const ends = [x(frames[0].time_s), x(frames.at(-1).time_s)].map((end) => end.toFixed(1));
      curve.push(
        drawn("polygon", { class: "under", points: `${ends[0]},${HEIGHT} ${points.join(" ")} ${ends[1]},${HEIGHT}` }),
        drawn("polyline", { class: "curve", points: points.join(" ") }),
      );
    }
    picture.replaceChildren(...bands, ...curve);
    show(now);
  }

  draw(null);
  return { draw, at: show };
}

const nearest = (frames, seconds) =>
  frames.reduce((best, frame) => (best === null || Math.abs(frame.time_s - seconds) < Math.abs(best.time_s - seconds) ? frame : best), null);
