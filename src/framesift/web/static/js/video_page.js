// The page of one video: player, searchable timeline, subtitles, captions, tags.

import { get, ofVideo } from "./api.js";
import { describeBox } from "./describe.js";
import { byId, element, fill } from "./dom.js";
import { clock, day, lasting, percent, score, stretch } from "./format.js";
import { listen } from "./keys.js";
import { playIn } from "./playback.js";
import { announce, complain } from "./say.js";
import { openShell } from "./shell.js";
import { subtitlesList } from "./subtitles.js";
import { tagsEditor } from "./tags.js";
import { timeline } from "./timeline.js";

const BEST = 6;

const values = new URLSearchParams(location.search);
const id = decodeURIComponent(location.pathname.split("/").at(-1));
let index = values.get("index") ?? undefined;
let video = null;
let playable = null;
let player = null;
let line = null;
let best = [];
let frames = []; // with their scores for the query
let at = -1;

function goTo(seconds) {
  player.seek(seconds);
  line.at(seconds);
}

/** Where a moment is best: a long one may begin with something else. */
function peak({ start_s, end_s }) {
  const inside = frames.filter(({ time_s }) => time_s >= start_s && time_s < end_s);
  return inside.reduce((top, frame) => (top === null || frame.score > top.score ? frame : top), null)?.time_s ?? start_s;
}

/** Goes to one of the best moments, by its place. */
function goToBest(place) {
  if (!best.length) return false;
  at = Math.min(best.length - 1, Math.max(0, place));
  goTo(peak(best[at]));
  drawBest();
  drawAway(best[at]);
  announce(`${at + 1}. moment, ${stretch(best[at].start_s, best[at].end_s)}`);
  return true;
}

function drawBest() {
  fill(
    byId("best"),
    best.map((moment, place) =>
      element(
        "li",
        {},
        element(
          "button",
          { type: "button", "aria-current": place === at ? "true" : null, on: { click: () => goToBest(place) } },
          stretch(moment.start_s, moment.end_s),
          element("small", {}, moment.relevance === null || moment.relevance === undefined ? score(moment.score) : percent(moment.relevance)),
        ),
      ),
    ),
  );
}

/** What can be taken away of a moment. */
function drawAway(moment) {
  const stretchOf = { start: moment.start_s, end: moment.end_s, index };
  fill(
    byId("away"),
    element("span", { class: "note" }, `${stretch(moment.start_s, moment.end_s)}:`),
    element("a", { class: "button", href: ofVideo(id, "cut", stretchOf), download: "" }, "Cut a clip"),
    element("a", { class: "button", href: ofVideo(id, "sheet", stretchOf), download: "" }, "Contact sheet"),
  );
}

async function find() {
  const q = byId("query").value.trim();
  byId("query-error").textContent = "";
  if (!q) {
    best = [];
    frames = [];
    line.draw(null);
    drawBest();
    return;
  }
  try {
    const found = await get(ofVideo(id, "timeline", { q, index }));
    line.draw(found);
    frames = found.frames;
    best = [...found.moments].sort((a, b) => b.score - a.score).slice(0, BEST);
    at = -1;
    drawBest();
    announce(best.length ? `Best moment ${stretch(best[0].start_s, best[0].end_s)}` : "No moments");
  } catch (error) {
    byId("query-error").textContent = error.message;
  }
}

function drawFacts() {
  document.title = `${video.name} · framesift`;
  byId("name").textContent = video.name;
  const size = video.width ? `${video.width} × ${video.height}` : "";
  byId("facts").textContent = [video.duration_s && lasting(video.duration_s), size, video.codec].filter(Boolean).join(" · ");
  const pairs = {
    Folder: video.folder,
    Path: video.path,
    Length: video.duration_s && clock(video.duration_s),
    "Frames a second": video.fps && String(Math.round(video.fps * 100) / 100),
    Codec: video.codec,
    Changed: day(video.modified_at),
    Added: day(video.added_at),
    Moments: video.moments && String(video.moments.length),
  };
  fill(
    byId("file"),
    Object.entries(pairs)
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

function drawVideo() {
  drawFacts();
  if (video.status === "failed") {
    fill(byId("player"), element("p", { class: "warning" }, `This file could not be indexed: ${video.error}`));
    byId("find").hidden = true;
    return;
  }
  const start_s = Math.max(0, Number(values.get("t")) || 0);
  let lines = null;
  const follow = (seconds) => {
    line?.at(seconds);
    lines?.at(seconds);
  };
  player = playIn(byId("player"), video, playable, { index, start_s, onTime: follow });
  line = timeline(byId("timeline"), { video, index, seek: goTo });
  line.at(start_s);
  if (video.subtitles?.length) {
    byId("subtitles-panel").hidden = false;
    lines = subtitlesList(byId("subtitles"), video.subtitles, goTo);
  }
  describeBox(byId("describe"), { id, index });
  tagsEditor(byId("tags"), { id, index, tags: video.tags ?? [] });
  drawAway((video.moments ?? []).find(({ start_s: from, end_s: to }) => start_s >= from && start_s < to) ?? { start_s: 0, end_s: video.duration_s });
}

function listenToPage() {
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const address = new URL(location.href);
    address.searchParams.set("q", byId("query").value.trim());
    history.pushState(null, "", address);
    find();
  });
  addEventListener("popstate", () => {
    byId("query").value = new URLSearchParams(location.search).get("q") ?? "";
    find();
  });
  listen({
    j: () => goToBest(at + 1),
    k: () => goToBest(at - 1),
    " ": (event) => {
      if (!player || event.target.closest("button, a, video, input")) return false;
      player.toggle();
      return true;
    },
  });
}

async function open() {
  listenToPage();
  try {
    const shell = await openShell({ choose: (name) => location.assign(`/?index=${encodeURIComponent(name)}`) });
    index ??= shell.current?.name;
    video = await get(ofVideo(id, "", { index }));
    if (video.status !== "failed") playable = await get(ofVideo(id, "playable", { index }));
  } catch (error) {
    byId("name").textContent = "No such video";
    complain(error);
    return;
  } finally {
    byId("video").removeAttribute("aria-busy");
  }
  byId("query").value = values.get("q") ?? "";
  if (values.get("q")) {
    const back = new URL(byId("back").href);
    back.searchParams.set("q", values.get("q"));
    byId("back").href = back.pathname + back.search;
    byId("back").textContent = `Search: ${values.get("q")}`;
  }
  drawVideo();
  if (line && byId("query").value) await find();
}

open();
