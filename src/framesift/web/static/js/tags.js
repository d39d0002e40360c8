// Tags of a video: shown, added, taken away.

import { ofVideo, send } from "./api.js";
import { element, fill } from "./dom.js";
import { announce } from "./say.js";

export function tagsEditor(place, { id, index, tags }) {
  const list = element("ul", { class: "chips", "aria-label": "Tags of this video" });
  const field = element("input", { id: "tag", placeholder: "New tag", maxLength: 100, autocomplete: "off", "aria-label": "New tag" });
  const problem = element("p", { class: "error", role: "alert" });
  let current = [...tags];

  const keep = async (wanted, told) => {
    problem.textContent = "";
    try {
      const answer = await send("PUT", ofVideo(id, "tags", { index }), { tags: wanted });
      current = answer?.tags ?? wanted;
      draw();
      announce(told);
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const draw = () =>
    fill(
      list,
      current.map((tag) =>
        element(
          "li",
          { class: "chip" },
          element("span", {}, tag),
          element(
            "button",
            { type: "button", "aria-label": `Remove tag ${tag}`, on: { click: () => keep(current.filter((other) => other !== tag), `Removed ${tag}`) } },
            "×",
          ),
        ),
      ),
    );
  const add = async (event) => {
    event.preventDefault();
    const tag = field.value.trim();
    if (!tag || current.includes(tag)) return;
    await keep([...current, tag], `Added ${tag}`);
    if (!problem.textContent) field.value = "";
  };
  draw();
  fill(place, list, element("form", { class: "inline", on: { submit: add } }, field, element("button", {}, "Add")), problem);
}
