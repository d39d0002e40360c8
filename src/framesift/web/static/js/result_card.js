// One result: which moment it is, why it was found, and what can be done with it.

import { frameAddress } from "./api.js";
import { videoAddress, writeMoment } from "./address.js";
import { element, meter, playIcon } from "./dom.js";
import { clock, lastFolder, percent, score, stretch } from "./format.js";
import { explain } from "./explain.js";
import { inTurn } from "./pictures.js";
import { frameStrip } from "./strip.js";

const SOURCES = { frames: "Frames", subtitles: "Subtitles" };

/**
 * @param {object} result as of /api/search
 * @param {object} context `state` of the search; `on`: play, moreLike, like, dislike, select (each takes the result);
 *   `feedback`: "liked", "disliked" or null; `selected`; `moved`: a sentence on its place without reranking, or null
 * @returns {HTMLLIElement & { act: object }} `act`: what keys do, by name
 */
export function resultCard(result, { state, on, feedback = null, selected = false, moved = null }) {
  const label = `${result.rank}. ${result.video}, ${stretch(result.start_s, result.end_s)}`;
  const { strips, preview } = pictures(result, { state, on });
  const explanation = element("div", { class: "explanation", hidden: true });
  const toggle = (name, text, given) =>
    element("button", { type: "button", "aria-pressed": String(feedback === given), on: { click: () => on[name](result) } }, text);
  const explainer = element("button", { type: "button", "aria-expanded": "false", on: { click: () => explainHere() } }, "Explain");
  const select = element("input", { type: "checkbox", checked: selected, on: { change: () => on.select(result, select.checked) } });
  const explainHere = () => {
    explanation.hidden = !explanation.hidden;
    explainer.setAttribute("aria-expanded", String(!explanation.hidden));
    if (!explanation.hidden && !explanation.firstChild) explain(explanation, result, state);
  };

  const article = element(
    "article",
    { tabIndex: 0, "aria-label": label },
    heading(result, state, moved),
    element("div", { class: "result-body" }, preview, element("div", {}, element("div", { class: "steps" }, strips.map(({ node }) => node)), said(result))),
    element(
      "div",
      { class: "actions" },
      element("button", { type: "button", on: { click: () => on.play(result, result.focus_s?.[0] ?? result.start_s) } }, playIcon(), "Play"),
      element("button", { type: "button", on: { click: () => on.moreLike(result) } }, "More like this"),
      toggle("like", "Like", "liked"),
      toggle("dislike", "Dislike", "disliked"),
      explainer,
      element("label", {}, select, "Select"),
    ),
    duplicates(result, state),
    explanation,
  );
  const item = element("li", { class: "result", data: { moment: writeMoment(result) } }, article);
  item.article = article;
  item.act = {
    scrub: (step) => strips[0]?.strip.move(step),
    play: () => on.play(result, strips[0]?.strip.time() ?? result.start_s),
    moreLike: () => on.moreLike(result),
    like: () => on.like(result),
    dislike: () => on.dislike(result),
    select: () => select.click(),
    explain: explainHere,
    video: () => location.assign(videoAddress(result, state)),
  };
  return item;
}

function heading(result, state, moved) {
  return element(
    "div",
    { class: "result-head" },
    element("span", { class: "rank", "aria-hidden": "true" }, result.rank),
    element("h3", {}, element("a", { href: videoAddress(result, state) }, result.video)),
    element("span", { class: "when" }, stretch(result.start_s, result.end_s)),
    result.folder && element("span", { class: "folder", title: result.folder }, `in ${lastFolder(result.folder)}`),
    moved && element("span", { class: `moved ${moved.way}` }, moved.text),
    element(
      "span",
      { class: "scores" },
      result.relevance !== null &&
        result.relevance !== undefined &&
        element("span", { title: "How far this stands out from what this library answers to anything" }, "Relevance ", element("b", {}, percent(result.relevance)), " ", meter(result.relevance)),
      element("span", {}, "Score ", element("b", {}, score(result.score))),
    ),
  );
}

/** The large preview, and a strip for the moment or for every step of an "A then B" query. */
function pictures(result, { state, on }) {
  const { index } = state;
  const steps = result.parts?.length > 1 ? result.parts : [result];
  const best = bestFrame(steps[0]);
  const image = inTurn(element("img", { alt: "", decoding: "async" }), frameAddress(result.video_id, best, 320, index));
  const at = element("span", {}, clock(best));
  let time = best;
  let waiting = null;
  // The pointer may run along a strip faster than pictures come: only where it rests is asked for.
  const show = (seconds) => {
    time = seconds;
    at.textContent = clock(seconds);
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      image.src = frameAddress(result.video_id, seconds, 320, index);
    }, 40);
  };
  const preview = element(
    "button",
    { type: "button", class: "preview", "aria-label": `Play ${result.video}`, tabIndex: -1, on: { click: () => on.play(result, time) } },
    image,
    element("span", { class: "time" }, playIcon(), at),
  );
  image.addEventListener("load", () => {
    if (image.naturalHeight) preview.style.setProperty("--shape", String(image.naturalWidth / image.naturalHeight));
  });
  const strips = steps.map((step, place) => {
    const what = steps.length > 1 ? `step ${place + 1}` : "moment";
    const strip = frameStrip(
      { ...step, video_id: result.video_id, focus_s: step.focus_s ?? null },
      { label: `Frames of the ${what}; arrow keys move along them`, index, choose: show, play: (seconds) => on.play(result, seconds) },
    );
    if (steps.length === 1) return { strip, node: strip.node };
    const title = element("p", {}, `${place === 0 ? "First" : "Then"} · ${stretch(step.start_s, step.end_s)} · score ${score(step.score)}`);
    return { strip, node: element("div", { class: "step" }, title, strip.node) };
  });
  return { strips, preview };
}

function bestFrame(step) {
  const weights = step.attention ?? [];
  const at = weights.length ? weights.indexOf(Math.max(...weights)) : Math.floor((step.frame_times_s?.length ?? 0) / 2);
  return step.frame_times_s?.[at] ?? step.start_s;
}

/** Where it was found: the subtitle that matched, and the place in each list where there are several. */
function said(result) {
  const lines = (result.sources ?? []).filter(({ text }) => text);
  const places = (result.sources ?? []).map(({ name, rank }) => `${SOURCES[name] ?? name}: place ${rank}`);
  if (!lines.length && places.length < 2) return null;
  return element(
    "p",
    { class: "said" },
    lines.map(({ text }) => element("span", {}, text)),
    element("small", {}, places.join(" · ")),
  );
}

function duplicates(result, state) {
  if (!result.duplicates?.length) return null;
  const many = result.duplicates.length;
  return element(
    "details",
    { class: "duplicates" },
    element("summary", {}, `${many} near-duplicate${many === 1 ? "" : "s"} folded`),
    element(
      "ul",
      {},
      result.duplicates.map((moment) =>
        element("li", {}, element("a", { href: videoAddress(moment, state) }, moment.video), ` ${stretch(moment.start_s, moment.end_s)}`),
      ),
    ),
  );
}
