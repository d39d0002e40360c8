// The benchmark page, after X-Pool's demo: a caption, its video, and what was ranked first.

import { get, withValues } from "./api.js";
import { byId, element, fill } from "./dom.js";
import { count, score } from "./format.js";
import { listen } from "./keys.js";
import { openPlayer } from "./play_dialog.js";
import { announce, complain } from "./say.js";
import { openShell } from "./shell.js";
import { frameStrip } from "./strip.js";

const LISTED = 50;

let index;
let total = 0;
let captions = [];
let at = 0;

const listedFrom = () => Math.floor(at / LISTED) * LISTED;

async function list() {
  const found = await get("/api/benchmark", { index, offset: listedFrom(), limit: LISTED });
  total = found.total;
  captions = found.captions;
  return found.available;
}

async function turnTo(place, { push = true } = {}) {
  if (!total) return false;
  const before = listedFrom();
  at = (place + total) % total;
  if (push) history.pushState(null, "", withValues("/benchmark", { index, n: at }));
  try {
    if (listedFrom() !== before) await list();
    const n = captions[at - listedFrom()]?.n ?? at;
    const shown = await get(`/api/benchmark/${n}`, { index });
    draw(shown, shown.can_rerank ? await get(`/api/benchmark/${n}`, { index, rerank: false }) : null);
    announce(`Caption ${at + 1} of ${total}: ${shown.text}. Its video is ranked ${ranked(shown.truth)}.`);
  } catch (error) {
    complain(error);
  }
  return true;
}

const pageOf = ({ video_id, found_start_s }) => withValues(`/video/${encodeURIComponent(video_id)}`, { index, t: found_start_s });

/** The place as words: the server looks for it down to some depth only. */
const ranked = ({ rank, behind }) => rank ?? `behind ${behind}`;

function video(shown, { truth, title }) {
  const page = pageOf(shown);
  const moment = { ...shown, start_s: shown.found_start_s, end_s: shown.found_end_s, video: shown.name };
  const strip = frameStrip(moment, {
    label: `Frames of ${shown.name}; arrow keys move along them`,
    index,
    play: (time_s) => openPlayer(moment, { at: time_s, index, page }),
  });
  return element(
    "figure",
    { class: truth ? "shown truth" : "shown" },
    element(
      "figcaption",
      {},
      element("b", {}, title),
      element("a", { href: page }, shown.name),
      element("small", {}, `score ${score(shown.score)}`),
      truth && element("span", { class: "true-word" }, "ground truth"),
    ),
    strip.node,
  );
}

function ranking(title, top) {
  return element(
    "section",
    { "aria-label": title },
    element("h2", {}, title),
    element("ol", {}, top.map((shown) => element("li", {}, video(shown, { truth: shown.truth, title: `${shown.rank}.` })))),
  );
}

/** The caption and its answers; `plain` are those without reranking, where the model can rerank. */
function draw(shown, plain) {
  const { truth, top } = shown;
  const choice = element(
    "select",
    { "aria-label": "Caption", on: { change: (event) => turnTo(Number(event.target.value)) } },
    captions.map(({ text }, place) => element("option", { value: String(listedFrom() + place) }, text)),
  );
  choice.value = String(at);
  const button = (text, click) => element("button", { type: "button", on: { click } }, text);
  fill(
    byId("benchmark"),
    element(
      "div",
      { class: "asked" },
      button("Previous", () => turnTo(at - 1)),
      button("Next", () => turnTo(at + 1)),
      button("By chance", () => turnTo(Math.floor(Math.random() * total))),
      choice,
      element("span", { class: "note" }, `${at + 1} of ${count(total, "caption")}`),
    ),
    element("blockquote", {}, shown.text),
    element("h2", {}, "Its own video"),
    truth.rank === null
      ? element("p", { class: "note" }, element("a", { href: pageOf(truth) }, truth.name), ` is ranked ${ranked(truth)}.`)
      : video(truth, { truth: true, title: `Ranked ${truth.rank}` }),
    plain
      ? element("div", { class: "side-by-side" }, ranking("Ranked first, with reranking", top), ranking("Ranked first, without reranking", plain.top))
      : ranking("Ranked first", top),
  );
}

async function open() {
  const turn = (by) => () => turnTo(at + by);
  listen({ j: turn(1), k: turn(-1), r: () => turnTo(Math.floor(Math.random() * total)) });
  const wanted = () => Math.max(0, Math.floor(Number(new URLSearchParams(location.search).get("n")) || 0));
  try {
    const shell = await openShell();
    index = shell.current?.name;
    at = wanted();
    if (!(await list()) || !total) {
      fill(byId("benchmark"), element("p", { class: "warning" }, "This index has no captions beside its videos. framesift serve --demo brings a library that has; for your own, put captions.jsonl into the folder of the videos."));
      return;
    }
    await turnTo(at, { push: false });
  } catch (error) {
    complain(error);
  } finally {
    byId("benchmark").removeAttribute("aria-busy");
  }
  addEventListener("popstate", () => turnTo(wanted(), { push: false }));
}

open();
