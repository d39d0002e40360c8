// Playing a video from a moment: the file itself where the browser can, else a stretch that the server converts, else
// its frames, with the reason.

import { frameAddress, ofVideo } from "./api.js";
import { element, fill } from "./dom.js";
import { clock } from "./format.js";

const STRETCH_S = 60; // converted at once: long enough to watch, short enough to wait for
const END_MARGIN_S = 0.05; // no frame begins at the very end of a file
const MAY_PLAY = new Set(["direct", "remux", "transcode"]);

/**
 * Puts a player of `video` (as of /api/videos/{id}) into `place`.
 *
 * @param {object} playable as of .../playable
 * @param {object} options `index`, `start_s` where it begins, `autoplay`, `onTime(seconds)` while it plays or is moved
 * @returns {{ seek(seconds): void, toggle(): void, time(): number, stop(): void }} seconds are those of the whole video
 */
export function playIn(place, video, playable, { index, start_s = 0, autoplay = false, onTime = () => {} }) {
  const how = element("p", { class: "note how" });
  let player = null;

  const asFrames = (reason) => {
    player?.stop();
    player = framesOf(video, { index, start_s: player?.time() ?? start_s, onTime });
    how.textContent = `Only single frames can be shown: ${reason}.`;
    place.replaceChildren(...player.nodes, how);
  };
  const asConverted = (reason) => {
    player?.stop();
    player = converted(video, { index, start_s: player?.time() ?? start_s, autoplay, onTime, failed: asFrames });
    how.textContent = reason ? `The server converts this video for the browser: ${reason}.` : "";
    place.replaceChildren(player.node, how);
  };
  const { how: way, reason } = playable;
  if (way === "none") fill(place, element("p", { class: "warning" }, `This file cannot be shown: ${reason}.`));
  else if (!MAY_PLAY.has(way)) asFrames(reason || "no decoder of this machine plays it");
  else if (way !== "direct") asConverted(reason);
  else {
    player = direct(video, { index, start_s, autoplay, onTime, failed: () => asConverted("this browser does not play the file itself") });
    place.replaceChildren(player.node, how);
  }
  return {
    seek: (seconds) => player?.seek(Math.min(Math.max(0, seconds), Math.max(0, (video.duration_s ?? seconds) - END_MARGIN_S))),
    toggle: () => player?.toggle(),
    time: () => player?.time() ?? start_s,
    stop: () => player?.stop(),
  };
}

const videoElement = (video) =>
  element("video", { controls: true, playsInline: true, preload: "auto", "aria-label": `Player: ${video.name}` });

// A browser may refuse to begin by itself; the controls are there.
const begin = (node) => node.play().catch(() => {});

const release = (node) => {
  node.pause();
  node.removeAttribute("src");
  node.load();
};

function direct(video, { index, start_s, autoplay, onTime, failed }) {
  const node = videoElement(video);
  node.addEventListener("timeupdate", () => onTime(node.currentTime));
  node.addEventListener("seeking", () => onTime(node.currentTime));
  const giveUp = () => {
    if (node.error) failed();
  };
  node.addEventListener("error", giveUp);
  node.src = `${ofVideo(video.video_id, "media", { index })}#t=${start_s.toFixed(3)}`;
  if (autoplay) begin(node);
  return {
    node,
    seek: (seconds) => {
      node.currentTime = seconds;
    },
    toggle: () => (node.paused ? begin(node) : node.pause()),
    time: () => (node.readyState ? node.currentTime : start_s),
    stop: () => {
      node.removeEventListener("error", giveUp);
      release(node);
    },
  };
}

function converted(video, { index, start_s, autoplay, onTime, failed }) {
  const node = videoElement(video);
  const length = video.duration_s ?? start_s + STRETCH_S;
  let from = 0;
  let to = 0;
  const load = (seconds, play) => {
    from = Math.max(0, seconds);
    to = Math.min(length, from + STRETCH_S);
    node.src = ofVideo(video.video_id, "play", { start: from.toFixed(3), end: to.toFixed(3), index });
    if (play) begin(node);
  };
  node.addEventListener("timeupdate", () => onTime(from + node.currentTime));
  node.addEventListener("ended", () => {
    if (to < length - 1) load(to, true);
  });
  const giveUp = () => {
    if (node.error) failed("the server could not convert it");
  };
  node.addEventListener("error", giveUp);
  load(start_s, autoplay);
  return {
    node,
    seek: (seconds) => {
      if (seconds >= from && seconds < to) node.currentTime = seconds - from;
      else load(seconds, !node.paused);
      onTime(seconds);
    },
    toggle: () => (node.paused ? begin(node) : node.pause()),
    time: () => from + node.currentTime,
    stop: () => {
      node.removeEventListener("error", giveUp);
      release(node);
    },
  };
}

function framesOf(video, { index, start_s, onTime }) {
  const id = video.video_id;
  const picture = element("img", { class: "still", alt: `Frame of ${video.name}` });
  const slider = element("input", { type: "range", min: "0", max: String(video.duration_s ?? 0), step: "0.1", "aria-label": "Time" });
  const at = element("output", { class: "note" });
  let time = start_s;
  const show = (seconds) => {
    time = seconds;
    slider.value = String(seconds);
    slider.setAttribute("aria-valuetext", clock(seconds));
    at.textContent = clock(seconds);
    picture.src = frameAddress(id, seconds, 640, index);
    onTime(seconds);
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(start_s);
  return { nodes: [picture, slider, at], seek: show, toggle: () => {}, time: () => time, stop: () => {} };
}
