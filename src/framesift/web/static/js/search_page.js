// The search page: what is asked stands in the address, what is answered in the list.

import { send } from "./api.js";
import { asksSomething, blank, readAddress, searchBody, videoAddress, writeAddress, writeMoment } from "./address.js";
import { listenForExamples } from "./attach.js";
import { byId, element, fill } from "./dom.js";
import { drawChips, Feedback } from "./example_chips.js";
import { filtersPanel } from "./filters.js";
import { count } from "./format.js";
import { listen } from "./keys.js";
import { openPlayer } from "./play_dialog.js";
import { remember } from "./recent.js";
import { addResults, currentResult, drawComparison, drawResults, step } from "./results_list.js";
import { announce, complain } from "./say.js";
import { Selection } from "./selection.js";
import { openShell, showIndex } from "./shell.js";
import { drawStart } from "./start.js";

const PAGE = 10; // results at a time: each brings a dozen pictures
const KEPT_ANSWERS = 20;

let state = readAddress();
let shell = { indexes: [], current: null };
let answer = null;
let running = null;
const rerankers = new Set(); // names of the indexes whose model can rerank, as far as answers told
const answers = new Map(); // by address: going back shows at once what was there
const previews = new Map(); // addresses of chosen pictures, by upload
const feedback = new Feedback();
const selection = new Selection({ state: () => state, shown: () => answer?.results ?? [] });
const filters = filtersPanel({ read: () => byId("query").value, write: (q) => go({ q }) });

/** Searches for something else: the address changes, and with it the page. */
function go(changes, { replace = false } = {}) {
  state = { ...state, shown: 0, q: byId("query").value.trim(), ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", writeAddress(state));
  show();
}

/** Makes the page show `state`. */
function show() {
  byId("query").value = state.q;
  byId("unit").value = state.unit;
  byId("sources").value = state.sources;
  byId("fold").checked = state.fold;
  byId("rerank").checked = state.rerank;
  byId("compare").checked = state.compare;
  for (const name of ["rerank", "compare"]) byId(name).closest("label").hidden = !rerankers.has(shell.current?.name);
  byId("sources").closest("label").hidden = !shell.current?.subtitles && state.sources === blank().sources;
  byId("query-error").textContent = "";
  byId("query").removeAttribute("aria-invalid");
  document.title = state.q ? `${state.q} · framesift` : "Search · framesift";
  filters.show(state.q);
  feedback.begin(state);
  drawChips(state, { previews, change: go });
  feedback.draw(go);
  const asked = asksSomething(state) && shell.current !== null;
  byId("answer").hidden = !asked;
  byId("start").hidden = asked;
  if (asked) run();
  else {
    running?.abort();
    answer = null;
    drawStart(shell);
  }
}

async function run() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  const address = writeAddress({ ...state, shown: 0 });
  const kept = answers.get(address);
  if (kept) {
    draw(kept);
    return;
  }
  byId("lists").classList.add("busy");
  byId("summary").textContent = "Searching…";
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const found = await ask(mine.signal);
    answers.set(address, found);
    if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
    remember(state.q, address);
    draw(found);
    announce(summary(found));
  } catch (error) {
    if (error.name !== "AbortError") refuse(error);
  } finally {
    if (running === mine) {
      byId("lists").classList.remove("busy");
      byId("answer").removeAttribute("aria-busy");
    }
  }
}

async function ask(signal) {
  const search = (options) => send("POST", "/api/search", searchBody(state, { k: PAGE, ...options }), { signal });
  if (!state.compare) {
    // Page by page, as they were shown: an answer of twenty joins neighbouring moments that two of ten do not.
    let found = await search({});
    while (found.results.length < state.shown && isMore(found)) found = joined(found, await search({ offset: found.next_offset }));
    return found;
  }
  const [reranked, plain] = await Promise.all([search({ rerank: true }), search({ rerank: false })]);
  return reranked.can_rerank ? { ...reranked, plain } : reranked;
}

const isMore = ({ next_offset }) => next_offset !== null && next_offset !== undefined;

const joined = (found, next) => ({ ...found, results: [...found.results, ...next.results], next_offset: next.next_offset });

function refuse(error) {
  answer = null;
  fill(byId("lists"));
  fill(byId("notes"));
  byId("summary").textContent = "";
  byId("more").hidden = true;
  byId("query-error").textContent = error.message;
  if (error.status === 400 || error.status === 422) byId("query").setAttribute("aria-invalid", "true");
}

const context = {
  get state() {
    return state;
  },
  feedbackOf: (result) => feedback.of(result),
  isSelected: (result) => selection.has(result),
  on: {
    play: (result, at) => openPlayer(result, { at, index: state.index, page: videoAddress(result, state) }),
    moreLike: ({ video_id, start_s, end_s }) => {
      go({ q: "", upload: null, like: [{ video_id, start_s, end_s }], liked: [], disliked: [] });
      scrollTo({ top: 0 });
      byId("query").focus({ preventScroll: true });
    },
    like: (result) => judge(result, "liked"),
    dislike: (result) => judge(result, "disliked"),
    select: (result, selected) => selection.set(result, selected),
  },
};

function judge(result, given) {
  const now = feedback.toggle(result, given);
  for (const item of document.querySelectorAll(".result")) {
    if (item.dataset.moment !== writeMoment(result)) continue;
    const [like, dislike] = item.querySelectorAll(".actions button[aria-pressed]");
    like.setAttribute("aria-pressed", String(now === "liked"));
    dislike.setAttribute("aria-pressed", String(now === "disliked"));
  }
  feedback.draw(go);
  announce(now ? `${now}; Refine takes it into account` : "feedback taken back");
}

function draw(found) {
  answer = found;
  if (found.can_rerank) {
    rerankers.add(shell.current.name);
    for (const name of ["rerank", "compare"]) byId(name).closest("label").hidden = false;
  }
  const lists = byId("lists");
  lists.classList.remove("side-by-side", "busy");
  fill(lists);
  byId("summary").textContent = summary(found);
  fill(
    byId("notes"),
    found.nothing_fits && found.results.length > 0 && element("p", { class: "warning" }, "Nothing in this index stands out for this query. What is shown is the nearest there is, and probably not what you mean."),
    found.results.length === 0 && element("p", { class: "warning" }, found.searched === 0 ? "No video is left after these filters." : "There are no results."),
    (found.notes ?? []).map((note) => element("p", { class: "note" }, note.charAt(0).toUpperCase() + note.slice(1))),
  );
  if (found.plain) drawComparison(lists, found, found.plain, context);
  else {
    lists.append(element("h2", { class: "unseen" }, "Results"));
    drawResults(lists, found.results, context);
  }
  byId("more").hidden = found.plain !== undefined || !isMore(found);
}

function summary({ results, searched, moments, reranked, took_s }) {
  const among = searched === moments ? count(moments, "moment") : `${searched.toLocaleString("en")} of ${count(moments, "moment")} (filtered)`;
  const time = took_s < 10 ? `${Math.round(took_s * 1000)} ms` : `${took_s.toFixed(0)} s`;
  return `${count(results.length, "result")} from ${among} · ${time}${reranked ? " · reranked" : ""}`;
}

async function more() {
  const button = byId("more");
  button.disabled = true;
  try {
    const next = await send("POST", "/api/search", searchBody(state, { k: PAGE, offset: answer.next_offset }));
    answer = joined(answer, next);
    answers.set(writeAddress({ ...state, shown: 0 }), answer);
    state.shown = answer.results.length;
    history.replaceState(null, "", writeAddress(state));
    const list = byId("lists").querySelector(".results");
    addResults(list, next.results, context);
    button.hidden = !isMore(next);
    byId("summary").textContent = summary(answer);
    announce(`${count(next.results.length, "more result", "more results")}`);
    list.children[list.children.length - next.results.length]?.article.focus({ preventScroll: true });
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
  }
}

function placePopover(event) {
  if (event.newState !== "open") return;
  const from = byId("show-syntax").getBoundingClientRect();
  const popover = byId("syntax");
  const width = Math.min(672, document.documentElement.clientWidth - 32);
  const left = Math.max(16, Math.min(from.left, document.documentElement.clientWidth - width - 16));
  popover.style.left = `${left + scrollX}px`;
  popover.style.top = `${from.bottom + scrollY + 8}px`;
}

function onResult(name) {
  return () => {
    const item = currentResult();
    if (!item) return false;
    item.act[name]();
    return true;
  };
}

// Arrow keys and Enter belong to the result as a whole; inside it, to whichever part has the focus.
const onArticle = (act) => (event) => (event.target.matches?.(".result article") ? act(event.target.closest(".result")) : false);

function scrub(by) {
  return onArticle((item) => {
    announce(item.act.scrub(by));
    return true;
  });
}

function listenToForm() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    // A search that is asked for again is made again: videos may have come meanwhile.
    answers.delete(writeAddress({ ...state, q: byId("query").value.trim(), shown: 0 }));
    go({});
  });
  for (const name of ["unit", "sources"]) byId(name).addEventListener("change", () => go({ [name]: byId(name).value }));
  for (const name of ["fold", "rerank", "compare"]) byId(name).addEventListener("change", () => go({ [name]: byId(name).checked }));
  byId("query").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && step(1)) event.preventDefault();
  });
  byId("more").addEventListener("click", more);
  byId("syntax").addEventListener("toggle", placePopover);
  byId("syntax").addEventListener("beforetoggle", placePopover);
  listenForExamples((example) => {
    if (example.preview) previews.set(example.id, example.preview);
    go({ upload: { id: example.id, name: example.name, kind: example.kind } });
  });
  addEventListener("popstate", () => {
    state = readAddress();
    if (state.index !== (shell.current?.name ?? "")) offerIndex(state.index);
    show();
  });
  const next = () => step(1);
  const previous = () => step(-1);
  const byArrow = (move) => (event) => (event.target.closest(".result") ? move() : false); // elsewhere they scroll
  listen({
    j: next,
    k: previous,
    ArrowDown: byArrow(next),
    ArrowUp: byArrow(previous),
    ArrowRight: scrub(1),
    ArrowLeft: scrub(-1),
    Enter: onArticle((item) => {
      item.act.play();
      return true;
    }),
    m: onResult("moreLike"),
    l: onResult("like"),
    d: onResult("dislike"),
    x: onResult("select"),
    e: onResult("explain"),
    v: onResult("video"),
  });
}

function offerIndex(name) {
  showIndex(shell, name);
  if (shell.current) filters.offer(shell.current);
}

async function open() {
  listenToForm();
  try {
    shell = await openShell({
      choose: (name) => {
        offerIndex(name);
        go({ ...blank(), q: byId("query").value, index: name === shell.indexes[0]?.name ? "" : name });
      },
    });
  } catch (error) {
    complain(error);
    return;
  }
  offerIndex(state.index);
  show();
  if (!asksSomething(state)) byId("query").focus();
}

open();
