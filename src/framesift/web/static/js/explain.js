// Why a moment scored as it did: the scores of every part of the system, and where there is one, the words by frames.

import { get, ofVideo } from "./api.js";
import { element } from "./dom.js";
import { clock, score } from "./format.js";
import { withoutFilters } from "./query_text.js";

const NAMES = {
  similarity: "Similarity of the matcher",
  reranker: "Score of the reranker",
  fused: "Both together",
  video_sentence: "Video and sentence",
  video_word: "Video and words",
  sentence_frame: "Sentence and frames",
  frame_word: "Frames and words",
};

/** Fills `place` with the explanation of `result` for the words of the search. */
export async function explain(place, result, state) {
  const words = withoutFilters(state.q);
  if (!words) {
    place.replaceChildren("Only words can be explained, and this search has none.");
    return;
  }
  place.replaceChildren("…");
  try {
    const found = await get(
      ofVideo(result.video_id, "explain", { q: words, start: result.start_s, end: result.end_s, index: state.index }),
    );
    place.replaceChildren(...parts(found));
  } catch (error) {
    place.replaceChildren(element("p", { class: "error" }, error.message));
  }
}

function parts({ scores, contrasts, words, word_frame, frame_times_s, notes }) {
  const made = [pairs(scores)];
  if (contrasts) made.push(pairs(contrasts));
  // A model of fixed length pads short moments: what lies behind the last frame is no frame.
  if (words && word_frame) made.push(wordFrameMap(words, word_frame.map((row) => row.slice(0, frame_times_s.length)), frame_times_s));
  else made.push(element("p", { class: "note" }, "This model compares the whole sentence with each frame: the bars above are all it looks at. A map of words and frames needs X-CLIP."));
  for (const note of notes ?? []) made.push(element("p", { class: "note" }, note));
  return made;
}

const pairs = (values) =>
  element(
    "dl",
    { class: "pairs" },
    Object.entries(values).flatMap(([name, value]) => [element("dt", {}, NAMES[name] ?? name), element("dd", {}, score(value))]),
  );

/** Similarity of every word and frame, `map` as [word][frame]; shaded from the least to the most similar. */
export function wordFrameMap(words, map, times) {
  const values = map.flat();
  const least = Math.min(...values);
  const range = Math.max(...values) - least || 1;
  const table = element(
    "table",
    {},
    element("caption", {}, "Similarity of every word and frame; the stronger the colour, the more similar"),
    element(
      "thead",
      {},
      element("tr", {}, element("td", {}), times.map((time_s) => element("th", { scope: "col" }, clock(time_s)))),
    ),
    element(
      "tbody",
      {},
      words.map((word, row) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, shownWord(word)),
          map[row].map((value) => element("td", { css: { "--share": (value - least) / range } }, value.toFixed(2))),
        ),
      ),
    ),
  );
  return element("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Words and frames" }, table);
}

/** A token as a person reads it: CLIP ends words by `</w>` and frames the text by two special tokens. */
function shownWord(token) {
  if (/^<\|?(?:startoftext|bos)\|?>$/.test(token)) return "(start)";
  if (/^<\|?(?:endoftext|eos)\|?>$/.test(token)) return "(whole sentence)";
  return token.replace(/<\/w>$/, "");
}
