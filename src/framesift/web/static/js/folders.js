// Adding a folder: choosing it on the server's disk, patterns of what to take, and the start of the job.

import { get, send } from "./api.js";
import { byId, element, fill } from "./dom.js";
import { count, lastFolder } from "./format.js";
import { confirmDone } from "./say.js";

const patterns = (text) => text.split(/[\n,]/).map((line) => line.trim()).filter(Boolean);

/** `started(job)` when a job was queued; `index()` names the index that is added to. */
export function addFolder(place, { index, started }) {
  const shown = element("p", { class: "place" });
  const list = element("ul", { class: "folders", "aria-label": "Folders inside" });
  const problem = element("p", { class: "error", role: "alert" });
  const include = element("input", { id: "include", placeholder: "*.mp4, holiday/**", autocomplete: "off", spellcheck: false });
  const exclude = element("input", { id: "exclude", placeholder: "proxy/**, *.lrv", autocomplete: "off", spellcheck: false });
  const retry = element("input", { type: "checkbox" });
  const button = element("button", { class: "primary", disabled: true }, "Choose a folder");
  let here = null;

  const show = async (path, focusIn = false) => {
    problem.textContent = "";
    try {
      const found = await get("/api/folders", { path });
      here = found.path;
      button.disabled = !found.path;
      button.textContent = found.path ? `Add ${lastFolder(found.path)}` : "Choose a folder";
      fill(
        shown,
        found.path && element("button", { type: "button", "aria-label": "Folder above", on: { click: () => show(found.parent ?? "", true) } }, "↑"),
        found.path ? element("code", {}, found.path) : element("span", { class: "note" }, "Folders that this server may read:"),
      );
      fill(list, found.folders.map(entry), !found.folders.length && element("li", { class: "note" }, "No folders inside."));
      if (focusIn) (list.querySelector("button") ?? shown.querySelector("button"))?.focus();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const entry = ({ name, path, videos }) =>
    element(
      "li",
      {},
      element(
        "button",
        { type: "button", on: { click: () => show(path, true) } },
        element("span", {}, name),
        videos > 0 && element("small", {}, count(videos, "video")),
      ),
    );
  const add = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    button.disabled = true;
    try {
      const job = await send("POST", "/api/jobs", {
        index: index(),
        paths: [here],
        include: patterns(include.value),
        exclude: patterns(exclude.value),
        retry_failed: retry.checked,
      });
      started(job);
      confirmDone(`Added: ${here}. Its progress is below.`);
      byId("jobs-section").scrollIntoView({ block: "nearest" });
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };

  fill(
    place,
    element(
      "div",
      { class: "adding" },
      element("div", { class: "browser" }, shown, list),
      element(
        "form",
        { on: { submit: add } },
        element("label", {}, "Only files like these (optional)", include),
        element("label", {}, "But not these (optional)", exclude),
        element("label", { class: "switch" }, retry, "Try files again that failed before"),
        button,
        problem,
      ),
    ),
  );
  show("");
}
