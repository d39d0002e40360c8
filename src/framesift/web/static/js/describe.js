// Which of some captions fits a video: the search the other way round.

import { ofVideo, send } from "./api.js";
import { element, fill, meter } from "./dom.js";
import { score } from "./format.js";
import { announce } from "./say.js";

export function describeBox(place, { id, index }) {
  const field = element("textarea", { id: "captions", rows: 4, placeholder: "One caption a line" });
  const problem = element("p", { class: "error", role: "alert" });
  const list = element("ol", { class: "ranked", "aria-label": "Captions, best first" });
  const button = element("button", {}, "Rank these captions");
  const ask = async (event) => {
    event.preventDefault();
    const captions = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
    problem.textContent = captions.length ? "" : "Write at least one caption.";
    if (!captions.length) return;
    button.disabled = true;
    try {
      const { captions: ranked } = await send("POST", ofVideo(id, "describe", { index }), { captions });
      draw(ranked);
      announce(`Best: ${ranked[0].text}`);
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };
  const draw = (ranked) => {
    const scores = ranked.map((caption) => caption.score);
    const low = Math.min(0, ...scores);
    const range = Math.max(...scores) - low || 1;
    fill(
      list,
      ranked.map((caption) =>
        element(
          "li",
          {},
          `${caption.rank}. ${caption.text} `,
          element("small", {}, `score ${score(caption.score)}`),
          element("br"),
          meter((caption.score - low) / range),
        ),
      ),
    );
  };
  fill(
    place,
    element(
      "form",
      { on: { submit: ask } },
      element("p", { class: "note" }, element("label", { htmlFor: "captions" }, "Captions or tags, one a line, are ranked by how well they fit.")),
      field,
      element("p", {}, button),
      problem,
    ),
    list,
  );
}
