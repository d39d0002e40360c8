// Lists of results: drawing them, moving between them by keys, and the two lists of a comparison.

import { writeMoment } from "./address.js";
import { byId, element, fill } from "./dom.js";
import { resultCard } from "./result_card.js";

/** Draws one list; `context` as for `resultCard`, with `feedbackOf(result)` and `isSelected(result)`. */
export function drawResults(place, results, context, { label = "Results" } = {}) {
  const list = element("ol", { class: "results", "aria-label": label });
  addResults(list, results, context);
  place.append(list);
  return list;
}

export function addResults(list, results, context) {
  list.append(
    ...results.map((result) =>
      resultCard(result, {
        ...context,
        feedback: context.feedbackOf(result),
        selected: context.isSelected(result),
        moved: context.movedOf?.(result) ?? null,
      }),
    ),
  );
}

/** With and without reranking side by side; each reranked result says where it came from. */
export function drawComparison(place, reranked, plain, context) {
  place.classList.add("side-by-side");
  const before = new Map(plain.results.map((result) => [writeMoment(result), result.rank]));
  const movedOf = (result) => {
    const rank = before.get(writeMoment(result));
    if (rank === undefined) return { way: "up", text: `was below ${plain.results.length}` };
    if (rank === result.rank) return { way: "same", text: "same place" };
    return rank > result.rank
      ? { way: "up", text: `▲ ${rank - result.rank}, was ${rank}` }
      : { way: "down", text: `▼ ${result.rank - rank}, was ${rank}` };
  };
  const side = (title, answer, more) => {
    const column = element("div", {}, element("h2", {}, title));
    drawResults(column, answer.results, { ...context, ...more }, { label: title });
    return column;
  };
  fill(place, side("With reranking", reranked, { movedOf }), side("Without reranking", plain, {}));
}

const items = () => [...byId("lists").querySelectorAll(".result")];

/** The result that has the focus, in any of its parts. */
export const currentResult = () => document.activeElement?.closest?.(".result") ?? null;

/** Moves the focus to the next or previous result; false where there is none to move to. */
export function step(by) {
  const all = items();
  if (!all.length) return false;
  const at = all.indexOf(currentResult());
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  next.article.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/** Focuses the result of a moment, where it is shown. */
export function focusResult(result) {
  items().find(({ dataset }) => dataset.moment === writeMoment(result))?.article.focus();
}
