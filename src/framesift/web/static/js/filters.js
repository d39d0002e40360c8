// The filters panel. It edits the query's text, and reads it: what is filtered always stands in words, too.

import { byId, element, setOptions } from "./dom.js";
import { filtersOf, lengthInSeconds, withFilter, withoutFilters } from "./query_text.js";

const DATES = ["after", "before"];
const LENGTHS = ["longer", "shorter"];

/** `read()` gives the query's text, `write(text)` takes another one and searches. */
export function filtersPanel({ read, write }) {
  const panel = byId("filters");
  const opener = byId("show-filters");
  const field = (name) => byId(`filter-${name}`);
  const tags = byId("filter-tags");

  const open = (shown) => {
    panel.hidden = !shown;
    opener.setAttribute("aria-expanded", String(shown));
  };
  opener.addEventListener("click", () => open(panel.hidden));
  field("folder").addEventListener("change", () => write(withFilter(read(), "folder", [field("folder").value])));
  for (const name of DATES) field(name).addEventListener("change", () => write(withFilter(read(), name, [field(name).value])));
  for (const name of LENGTHS) {
    field(name).addEventListener("change", () => {
      const seconds = Number(field(name).value);
      write(withFilter(read(), name, [seconds > 0 ? `${seconds}s` : ""]));
    });
  }
  byId("clear-filters").addEventListener("click", () => write(withoutFilters(read())));

  return {
    /** What the index has to filter by. */
    offer({ folders = [], tags: known = [] }) {
      setOptions(field("folder"), [["", "any"], ...folders.map((folder) => [folder, folder])]);
      tags.replaceChildren(
        ...known.map((tag) =>
          element(
            "button",
            {
              type: "button",
              "aria-pressed": "false",
              data: { tag },
              on: {
                click: () => {
                  const chosen = new Set(filtersOf(read()).tag);
                  if (!chosen.delete(tag)) chosen.add(tag);
                  write(withFilter(read(), "tag", [...chosen]));
                },
              },
            },
            tag,
          ),
        ),
      );
    },
    /** Shows what a query's text filters by. */
    show(text) {
      const found = filtersOf(text);
      const [folder = ""] = found.folder;
      if (folder && ![...field("folder").options].some(({ value }) => value === folder)) {
        field("folder").append(element("option", { value: folder }, folder));
      }
      field("folder").value = folder;
      for (const name of DATES) field(name).value = /^\d{4}-\d{2}-\d{2}$/.test(found[name][0] ?? "") ? found[name][0] : "";
      for (const name of LENGTHS) field(name).value = lengthInSeconds(found[name][0] ?? "") ?? "";
      for (const button of tags.children) button.setAttribute("aria-pressed", String(found.tag.includes(button.dataset.tag)));
      const used = Object.values(found).flat().length;
      opener.textContent = used ? `Filters (${used})` : "Filters";
      if (used && panel.hidden && !panel.dataset.seen) open(true);
      panel.dataset.seen = "yes";
    },
  };
}
